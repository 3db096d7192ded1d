"""Moderation: may this be shown, or not."""

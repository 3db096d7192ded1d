"""The blog itself: one folder, one service."""

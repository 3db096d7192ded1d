"""Replicas as Docker containers."""

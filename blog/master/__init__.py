"""Desired state to running instances."""

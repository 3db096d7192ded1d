"""The running blog as pytest fixtures."""

"""The processes that serve the public port."""

"""The client of an instance for its registries."""

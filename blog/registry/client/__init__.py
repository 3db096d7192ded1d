"""How an instance meets its registries."""

"""One door: a reverse proxy over whoever is alive."""

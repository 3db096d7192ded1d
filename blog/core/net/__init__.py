"""HTTP clients, servers and addresses, made in one place."""

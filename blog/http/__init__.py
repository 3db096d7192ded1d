"""HTTP/1.1, strictly: servers, client connections, and their limits."""

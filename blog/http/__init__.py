"""HTTP/1.1 at our doors: what goes in, and how much of it."""

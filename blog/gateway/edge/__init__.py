"""What the public port does itself: the client, the limits, and local responses."""

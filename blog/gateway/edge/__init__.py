"""What the public port does itself: who asks, what is allowed, what is answered here."""

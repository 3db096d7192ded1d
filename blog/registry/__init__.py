"""Who is alive, and whose turn it is."""

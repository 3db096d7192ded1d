"""The registry: who is alive, and who has to know it."""

"""The server: which instances are alive, and the followers that must know it."""

"""The registry: which instances are alive, their addresses, and a client for it."""

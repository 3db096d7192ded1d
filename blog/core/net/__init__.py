"""The network: addresses, and calls between instances."""

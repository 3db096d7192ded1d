"""The network: addresses, HTTP clients and servers, and calls between instances."""

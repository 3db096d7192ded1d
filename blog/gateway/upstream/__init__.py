"""Which upstream gets a request, and the connections to it."""

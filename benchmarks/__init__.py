"""What this costs, measured: the gateway, the bus and the registry, each beside others of its kind."""

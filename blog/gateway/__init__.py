"""The gateway: a reverse proxy over the instances that are alive."""

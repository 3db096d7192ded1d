"""Bind, join, ready, drain, leave: shared by services, gateway and bus."""

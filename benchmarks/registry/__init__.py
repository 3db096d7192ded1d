"""The registry with many simulated instances."""

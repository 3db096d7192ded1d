"""How many replicas should run."""

"""From how many replicas should run to those that do."""

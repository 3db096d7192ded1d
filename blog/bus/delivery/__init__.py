"""Events on their way to reactions."""

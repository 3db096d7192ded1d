"""How one service process lives."""

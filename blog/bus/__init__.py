"""One log; each reaction goes to one live instance."""

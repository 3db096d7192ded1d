"""Files that survive what happens to a machine."""

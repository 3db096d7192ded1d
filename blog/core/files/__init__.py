"""Files: written whole, and locked."""

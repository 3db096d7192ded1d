"""Files: written whole, locked, and looked after."""

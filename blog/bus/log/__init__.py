"""The log: one writer, one SQLite file."""

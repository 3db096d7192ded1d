"""The bus's HTTP API."""

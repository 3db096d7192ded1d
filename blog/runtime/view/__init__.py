"""The file behind a service's view."""

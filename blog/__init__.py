"""A blog made of services that anyone can copy, kill and restart at any time."""

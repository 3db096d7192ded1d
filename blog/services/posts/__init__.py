"""Posts: somebody writes one."""

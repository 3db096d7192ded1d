"""What bus and services both know of the log's API."""

"""Comments: readers comment on posts."""

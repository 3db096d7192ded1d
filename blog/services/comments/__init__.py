"""Comments: readers answer posts."""

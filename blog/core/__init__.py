"""What everyone may know; imports nothing of ours."""

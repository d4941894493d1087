"""What travels between processes, as bytes: pure functions from bytes to records and back."""

"""Document files: requests, file types, integrity, export."""

"""History: objects as of an earlier time, and the provenance of their fields."""

"""Changes: topics, stream messages, and the loop of change log consumers."""

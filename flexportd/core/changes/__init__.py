"""Changes: topics, stream messages, and the consumers of the change log."""

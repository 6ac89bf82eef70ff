"""Access: API keys, share links, audiences."""

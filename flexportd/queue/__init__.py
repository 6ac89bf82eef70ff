"""The durable queue: one mechanism for all work. Knows no domain, no HTTP and no terminal."""

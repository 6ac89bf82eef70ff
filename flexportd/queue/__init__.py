"""The durable queue: one mechanism for all work. It depends on no resource, no HTTP and no terminal."""

"""The Flexport resources: one module each, and the registry that events and lists are routed by."""

"""Writes to Flexport, each exactly once: operations, their validation, sending and look-ups."""

"""The commands: one module a group, each command parse, one call, one render."""

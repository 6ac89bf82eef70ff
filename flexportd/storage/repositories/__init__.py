"""Repositories: one a table family. Each joins a transaction and never begins or ends one."""

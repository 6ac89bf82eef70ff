"""The syncs: full and incremental, one list at a time, removals, results."""

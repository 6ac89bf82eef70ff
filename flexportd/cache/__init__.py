"""Finished answers: in memory, and behind that on disk; dropped the moment that what they show changes.

May import only the leaves of ours (`answers`, `clock`, `logs`). What is exported here is all that others use.
"""

from flexportd.cache.disk_cache import DiskCache, DiskStats
from flexportd.cache.memory import ResponseCache, kind_of
from flexportd.cache.tiered import Cache

__all__ = ["Cache", "DiskCache", "DiskStats", "ResponseCache", "kind_of"]

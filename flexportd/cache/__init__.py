"""The response cache: in memory, with a disk cache behind it; invalidated when what a response shows changes.

Other packages use only what is exported here.
"""

from flexportd.cache.disk_cache import DiskCache, DiskStats
from flexportd.cache.memory import ResponseCache, kind_of
from flexportd.cache.tiered import Cache

__all__ = ["Cache", "DiskCache", "DiskStats", "ResponseCache", "kind_of"]

"""The response cache: in memory, with a disk cache behind it; invalidated when what a response shows changes.

Other packages use only what is exported here.
"""

from flexportd.cache.disk_cache import DiskCache, DiskStats
from flexportd.cache.tiered import Cache, kind_of

__all__ = ["Cache", "DiskCache", "DiskStats", "kind_of"]

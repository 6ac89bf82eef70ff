"""Compression of responses: content negotiation by Accept-Encoding (RFC 9110); zstd is preferred to gzip."""

import functools
import gzip
from collections.abc import Callable, Hashable

import zstandard

_COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "zstd": lambda body: zstandard.ZstdCompressor(level=6).compress(body),
    "gzip": lambda body: gzip.compress(body, 5, mtime=0),
}


@functools.lru_cache(maxsize=256)
def negotiate(accepted: str) -> str | None:
    """The content coding for a value of Accept-Encoding; None for no compression."""
    if not accepted:
        return None
    weights: dict[str, float] = {}
    for part in accepted[:1000].lower().split(","):
        name, _, rest = part.partition(";")
        weights[name.strip()] = _weight(rest)
    others = weights.get("*", 0.0)
    best = max(_COMPRESSORS, key=lambda name: weights.get(name, others))
    return best if weights.get(best, others) > 0 else None


def _weight(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


def compress(body: bytes, coding: str) -> bytes:
    """Compress a body with a coding that `negotiate` returned."""
    return _COMPRESSORS[coding](body)


def cache_key(path: str, accepted: str) -> Hashable:
    """The cache key of a response: its path with the query, and its content coding."""
    coding = negotiate(accepted)
    return path if coding is None else (path, coding)

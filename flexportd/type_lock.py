"""A lock for msgspec's decoders that are made at run time, in any thread.

msgspec publishes the description of a struct before it is complete: a thread that needs the same struct at that moment
reads a null pointer, which ends the process. What a module makes when it is imported needs no lock.
"""

import functools
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

TYPE_LOCK = threading.RLock()
"""Held while msgspec inspects a type."""

_decoder: Callable[[Any], Any] = functools.cache(msgspec.json.Decoder)


def decode_as(text: bytes | str | msgspec.Raw, kind: type[T]) -> T:
    """As `msgspec.json.decode(text, type=kind)`, whose errors it raises, but safe in any thread."""
    with TYPE_LOCK:
        decoder = _decoder(kind)
    found: T = decoder.decode(text)
    return found

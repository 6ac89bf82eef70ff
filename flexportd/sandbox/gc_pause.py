"""Garbage collection while a world is made, and of a large one afterwards."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def gc_paused(*, keep: bool) -> Iterator[None]:
    """No garbage is made while a world is, and looking for it again and again takes as long as making the world.

    With `keep` all that is there afterwards is left out of later collections too: each would take seconds of a world
    of millions of objects, and every answer would wait for it.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
        if keep:
            gc.freeze()
    finally:
        if was_on:
            gc.enable()

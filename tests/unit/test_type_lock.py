"""Decoders that are made at run time are safe in any thread."""

import subprocess
import sys
from pathlib import Path

# In a process of its own: without the lock it ends by SIGSEGV, with msgspec 0.22 within some hundred rounds.
RACE = """
import sys, threading
import msgspec
from flexportd.type_lock import TYPE_LOCK, decode_as

sys.setswitchinterval(1e-6)
TEXT = b'{"middle": {"inner": {"a0": 1, "a29": 2}, "b29": "y"}, "inner": {"a5": 5, "a28": 1}}'


def used_at_once(start, kind, found):
    start.wait()
    found.append(decode_as(TEXT, kind).inner.a28)


for _ in range(600):
    inner = msgspec.defstruct("Inner", [(f"a{n}", int | None, None) for n in range(30)])
    middle = msgspec.defstruct("Middle", [("inner", inner | None, None), *((f"b{n}", str | None, None) for n in range(30))])
    start, found = threading.Barrier(2), []
    kinds = [msgspec.defstruct(f"Outer{n}", [("middle", middle | None, None), ("inner", inner | None, None)]) for n in (1, 2)]
    threads = [threading.Thread(target=used_at_once, args=(start, kind, found)) for kind in kinds]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert found == [1, 1], found
"""


def test_two_threads_that_need_the_same_struct_for_the_first_time_do_not_end_the_process():
    found = subprocess.run(
        [sys.executable, "-c", RACE],
        check=False,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert found.returncode == 0, (found.returncode, found.stderr[-500:])

"""How a real process lays out its memory."""

import platform
import re
import signal
import sys
from pathlib import Path

import pytest

from tests.integration.test_crash import LoadedProcess

_ARENA = 64 << 20  # glibc reserves as much for the arena of a thread, and lays it so


@pytest.mark.skipif(sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="as glibc does it on Linux")
async def test_the_threads_of_a_daemon_have_no_arenas_of_their_own(tmp_path, unused_tcp_port):
    process = LoadedProcess(tmp_path, unused_tcp_port)
    await process.start()
    try:
        maps = Path(f"/proc/{process.process.pid}/maps").read_text()
    finally:
        await process.end(signal.SIGTERM)
    reserved = re.findall(r"^([0-9a-f]+)-([0-9a-f]+) ---p 00000000 00:00 0\s*$", maps, re.MULTILINE)
    sizes = [int(end, 16) - int(start, 16) for start, end in reserved if int(end, 16) % _ARENA == 0]
    assert [size for size in sizes if size > 1 << 20] == []

"""Ports for daemons in processes of their own, which bind them some time after they were chosen."""

import itertools
import os
import socket

_FIRST = 20_000 + 1_000 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_ports = itertools.cycle(range(_FIRST, _FIRST + 1_000))


def free_port() -> int:
    """A free port on 127.0.0.1.

    It is below those that the kernel gives out (32768 and up), so that no connection takes it meanwhile, and of this
    worker's own thousand.
    """
    while True:
        port = next(_ports)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port

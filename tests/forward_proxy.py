"""A forward proxy on loopback: CONNECT and absolute addresses, with a user and password if asked for; and its faults."""

import asyncio
import base64
import contextlib
from contextlib import asynccontextmanager
from urllib.parse import urlsplit


class ForwardProxy:
    """`seen` holds the heads of all requests; `fault` is bytes to answer instead, or a word (see `_serve`).

    Names are looked up in `hosts` (to a port on loopback) before they are connected to.
    """

    def __init__(self, user: str | None = None, password: str = ""):
        self.needed = None if user is None else base64.b64encode(f"{user}:{password}".encode()).decode()
        self.seen: list[bytes] = []
        self.hosts: dict[str, int] = {}
        self.fault: bytes | str | None = None
        self._tasks: set[asyncio.Task] = set()

    @property
    def lines(self) -> list[str]:
        """The first line of each request."""
        return [head.split(b"\r\n")[0].decode() for head in self.seen]

    async def _serve(self, reader, writer):
        self._tasks.add(asyncio.current_task())
        with contextlib.closing(writer), contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.seen.append(head)
            if isinstance(self.fault, bytes):
                writer.write(self.fault)
            elif self.fault == "hang":
                await reader.read()
            elif (
                self.fault is None and self.needed and f"Proxy-Authorization: Basic {self.needed}".encode() not in head
            ):
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n" + head)
            elif self.fault is None:
                await self._forward(head, reader, writer)
            await writer.drain()

    async def _forward(self, head, reader, writer):
        method, target, _ = head.split(b" ", 2)
        parts = urlsplit("//" + target.decode() if method == b"CONNECT" else target.decode())
        port = self.hosts.get(parts.hostname, parts.port)
        there, onward = await asyncio.open_connection("127.0.0.1", port)
        if method == b"CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            path = parts.path + (f"?{parts.query}" if parts.query else "")
            lines = head.split(b"\r\n")
            kept = [line for line in lines[1:] if not line.lower().startswith(b"proxy-")]
            onward.write(b"\r\n".join([b"%b %b HTTP/1.1" % (method, path.encode()), *kept]))
        with contextlib.closing(onward):
            await asyncio.gather(_pipe(reader, onward), _pipe(there, writer))

    @asynccontextmanager
    async def running(self):
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await server.wait_closed()


async def _pipe(reader, writer):
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError, RuntimeError):
        writer.close()

"""The log of requests that write: what arrived, and what was made of it."""

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from flexportd.errors import InvalidError

LOGGED_WRITES = 10_000
_LARGE_BODY = 2**20


@dataclass(slots=True)
class ReceivedWrite:
    """One request as it arrived.

    `body` is the decoded JSON, without the file of a document, or None if it is none. `fault` is the injected one.
    `made` is the `_object` and id of what the request made or changed, None if it did neither. `status` is None until
    the response is sent, and 0 when the connection was reset.
    """

    method: str
    path: str
    body: Any = None
    fault: str | None = None
    made: tuple[str, int | str] | None = None
    status: int | None = None


RECEIVED_WRITE = web.RequestKey("received_write", ReceivedWrite)


async def receive_write(request: web.Request) -> ReceivedWrite:
    """Read a request to its end."""
    try:
        body = await decode_json(request)
    except InvalidError:
        body = None
    if isinstance(body, dict):
        body = {name: value for name, value in body.items() if name != "document"}
    return ReceivedWrite(request.method, request.raw_path, body)


async def decode_json(request: web.Request) -> Any:
    """The body of a request; a large one is decoded beside the event loop. Raises InvalidError."""
    raw = await request.read()
    try:
        return await asyncio.to_thread(msgspec.json.decode, raw) if len(raw) > _LARGE_BODY else msgspec.json.decode(raw)
    except msgspec.DecodeError:
        raise InvalidError("The body is not JSON.", "body") from None


class WriteLog:
    """The last ten thousand writes, in the order in which they arrived."""

    def __init__(self) -> None:
        self._writes: deque[ReceivedWrite] = deque(maxlen=LOGGED_WRITES)

    def __iter__(self) -> Iterator[ReceivedWrite]:
        return iter(tuple(self._writes))

    def __len__(self) -> int:
        return len(self._writes)

    def record(self, write: ReceivedWrite) -> None:
        """Add one."""
        self._writes.append(write)

    def created(self, kind: str) -> list[int | str]:
        """The ids of the objects of that `_object` that POST requests made, in order."""
        return [
            write.made[1] for write in self._writes if write.made and write.made[0] == kind and write.method == "POST"
        ]

    def clear(self) -> None:
        """Remove all."""
        self._writes.clear()

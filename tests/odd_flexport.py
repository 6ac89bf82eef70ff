"""A Flexport whose lists are given byte by byte, and a mirror of it."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from flexportd.flexport.client import Client, ClientRules
from flexportd.flexport.oauth.auth import ApiKeyAuth
from flexportd.storage.database import Database
from tests.flexport_double import FlexportDouble, HurriedClock, envelope
from tests.mirrored import Mirror

Row = bytes | dict[str, Any]
Page = tuple[Sequence[Row], bool, Any]
"""(rows, whether another page follows, total_count)"""
ABSENT = object()


def encoded(row: Row) -> bytes:
    return row if isinstance(row, bytes) else json.dumps(row).encode()


def page_of(rows: Sequence[Row], following: bytes = b"null", total: Any = None, extra: bytes = b"") -> bytes:
    """An answer with these rows, each as it is; `total` may be bytes too, ABSENT leaves it out."""
    said = total if isinstance(total, bytes) else json.dumps(None if total is ABSENT else total).encode()
    count = b"" if total is ABSENT else b'"total_count":' + said + b","
    return (
        b'{"_object":"/api/response","self":"x",' + extra + b'"version":2,"error":null,"data":{"_object":'
        b'"/api/collections/paginated","prev":null,"next":' + following + b"," + count + b'"data":['
        + b",".join(map(encoded, rows)) + b"]}}"
    )  # fmt: skip


class OddFlexport(FlexportDouble):
    """`pages` says what a page number of `/shipments` (or `path`) is; every other list is empty.

    `shown` are the bytes of single objects by path.
    """

    def __init__(self, path: str = "/shipments") -> None:
        super().__init__()
        self.path = path
        self.pages: Callable[[int], Page] = lambda _: ([], False, 0)
        self.shown: dict[str, bytes] = {}
        self.usual = self._answer
        self.numbers: list[int] = []

    def lists(self, rows: Sequence[Row], per: int = 100, total: Any = None) -> None:
        """The list holds these rows, `per` a page."""
        count = len(rows) if total is None else total

        def page(number: int) -> Page:
            return rows[(number - 1) * per : number * per], number * per < len(rows), count

        self.pages = page

    def _answer(self, request: web.Request) -> web.Response:
        if request.path in self.shown:
            return _json(self.shown[request.path])
        if request.path != self.path:
            known = request.path.count("/") == 1 or request.path.startswith(("/ocean", "/network"))
            body = page_of([], total=0) if known else json.dumps(envelope(None, {"code": "not_found"})).encode()
            return _json(body, 200 if known else 404)
        number = int(request.query["page"])
        self.numbers.append(number)
        rows, more, total = self.pages(number)
        link = f"https://api.flexport.com{self.path}?page={number + 1}&per=100"
        return _json(page_of(rows, json.dumps(link).encode() if more else b"null", total))


def _json(body: bytes, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, content_type="application/json")


@asynccontextmanager
async def odd_mirror(folder: Path, *names: str, path: str = "/shipments") -> AsyncIterator[tuple[OddFlexport, Mirror]]:
    """A Flexport and a mirror that reads these resources of it."""
    clock, flexport = HurriedClock(), OddFlexport(path)
    async with (
        flexport.running(),
        Database.open(folder / "data") as db,
        Client(ClientRules(flexport.url, 10_000, 8), ApiKeyAuth("key-for-tests"), clock) as client,
    ):
        yield flexport, Mirror(db, client, clock, names or ("shipments",))

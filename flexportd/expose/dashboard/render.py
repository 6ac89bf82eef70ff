"""Jinja templates: a view model in, the bytes of a page out; and the static files that pages load."""

import functools
import gzip
import hashlib
import re
from importlib.resources import files
from typing import Any

import jinja2
from aiohttp import hdrs, web

from flexportd.expose.security.csrf import TOKEN_FIELD
from flexportd.http.responses import PreparedResponse, PreparedStreamResponse, if_none_match

_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}

_WORTH_COMPRESSING = 1400
_FOREVER = "public, max-age=31536000, immutable"

_POST_FORM = re.compile(r'<form\b[^>]*\bmethod="post"[^>]*>')
_WITH_TOKEN = rf'\g<0><input type="hidden" name="{TOKEN_FIELD}" value="{{{{ layout.form_token }}}}">'


@functools.cache
def environment() -> jinja2.Environment:
    """The templates, read once and each compiled at its first use. Every form that changes something gets the token."""
    folder = files(__package__) / "templates"
    sources = {
        file.name: _POST_FORM.sub(_WITH_TOKEN, file.read_text(encoding="utf-8"))
        for file in folder.iterdir()
        if file.name.endswith(".html")
    }
    made = jinja2.Environment(
        loader=jinja2.DictLoader(sources),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals["assets"] = {name: asset.url for name, asset in assets().items()}
    return made


def render(template: str, page: Any, layout: Any = None) -> bytes:
    """The page as UTF-8. Pages of share links and the API reference have no layout: they have no navigation."""
    return environment().get_template(template).render(layout=layout, page=page).encode()


class Asset:
    """One file, plain and compressed."""

    def __init__(self, name: str, body: bytes) -> None:
        self.version = hashlib.blake2b(body, digest_size=6).hexdigest()
        self.url = f"/static/{name}?v={self.version}"
        content_type = _TYPES[name.rpartition(".")[2]]
        self._forms: dict[tuple[bool, bool], PreparedResponse] = {}
        for zipped in (False, True):
            small = len(body) < _WORTH_COMPRESSING
            sent = gzip.compress(body, 9, mtime=0) if zipped and not small else body
            for is_versioned in (False, True):
                headers = {
                    "etag": f'"{self.version}{"-gz" if zipped else ""}"',
                    "cache_control": _FOREVER if is_versioned else "no-cache",
                    "vary": "Accept-Encoding",
                }
                if sent is not body:
                    headers["content_encoding"] = "gzip"
                self._forms[zipped, is_versioned] = PreparedResponse(200, sent, content_type, **headers)

    def answer(self, request: web.Request) -> PreparedResponse:
        """The file, or 304 if the browser has it; cached forever under the URL with its version."""
        zipped = "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, "")
        is_versioned = request.query.get("v") == self.version
        answer = self._forms[zipped, is_versioned]
        if if_none_match(request, answer.etag):
            return PreparedResponse(
                304, b"", None, etag=answer.etag or "", cache_control=_FOREVER if is_versioned else "no-cache"
            )
        return answer


@functools.cache
def assets() -> dict[str, Asset]:
    """Every file of the folder `static`."""
    folder = files(__package__) / "static"
    return {file.name: Asset(file.name, file.read_bytes()) for file in folder.iterdir() if file.is_file()}


async def serve_asset(request: web.Request) -> web.StreamResponse:
    """`GET /static/{name}`."""
    asset = assets().get(request.match_info["name"])
    if asset is None:
        raise web.HTTPNotFound
    return PreparedStreamResponse(asset.answer(request))

"""Client of the daemon: JSON over HTTP on its control socket, with the standard library only."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from flexportd.cli.output import DaemonResponse, Output
from flexportd.errors import (
    ConflictError,
    FlexportdError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    NotRunningError,
    UnavailableError,
)

if TYPE_CHECKING:
    from http.client import HTTPResponse

    from flexportd.cli.connections import UnixConnection

TIMEOUT = 30.0
START = "flexportd serve"
_LARGEST = 1 << 30
_CHUNK = 256 << 10
_ERRORS: dict[int, type[FlexportdError]] = {
    400: InvalidError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    503: UnavailableError,
}


class RefusedBodyError(InvalidError):
    """A body that the daemon does not accept; `problems` has a sentence for each: `/cargo/weight: weight is …`."""

    def __init__(self, errors: Sequence[Mapping[str, str]]) -> None:
        self.problems = [f"{one['pointer'] or 'the body'}: {one['detail']}" for one in errors]
        super().__init__("\n".join(self.problems))


class DaemonClient:
    """Calls the API of the daemon on a control socket. Raises NotRunningError if none is running."""

    def __init__(self, path: Path, *, timeout: float = TIMEOUT, most_rows: int = 500, start: str = START) -> None:
        """`most_rows` is the page size limit; `start` is the command suggested if no daemon runs."""
        self.path = path
        self.timeout = timeout
        self.most_rows = most_rows
        self._start = start

    def get(self, path: str, **parameters: Any) -> DaemonResponse:
        """GET an API path such as `/shipments`; parameters that are None are omitted."""
        return self._call("GET", _target(path, parameters))

    def post(self, path: str, body: dict[str, Any] | None = None, **parameters: Any) -> DaemonResponse:
        """POST to an API path."""
        return self.write("POST", path, body, **parameters)

    def write(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        **parameters: Any,
    ) -> DaemonResponse:
        """POST to an API path, or PATCH it. Raises RefusedBodyError if the daemon reports problems of the body."""
        content = None if body is None else json.dumps(body).encode()
        return self._call(method, _target(path, parameters), content, headers)

    def delete(self, path: str) -> DaemonResponse:
        """DELETE an API path."""
        return self._call("DELETE", _target(path, {}))

    def get_list(self, path: str, *, everything: bool = False, **parameters: Any) -> DaemonResponse:
        """One page of a list; with `everything` all of them, as one document of the same shape."""
        if not everything:
            return self.get(path, **parameters)
        pages = list(self.pages(path, **parameters))
        rows = [row for page in pages for row in page["data"]]
        whole = {"data": rows, "next": None, "as_of": pages[0]["as_of"]}
        return DaemonResponse(
            json.dumps(whole, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
        )

    def pages(self, path: str, **parameters: Any) -> Iterator[Any]:
        """Every page of a list."""
        parameters = {"limit": self.most_rows, **{name: v for name, v in parameters.items() if v is not None}}
        while True:
            page = self.get(path, **parameters).document
            yield page
            if page["next"] in (None, parameters.get("cursor")):
                return
            parameters["cursor"] = page["next"]

    def _call(
        self, method: str, target: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> DaemonResponse:
        with self._request(method, target, body, headers) as response:
            raw = response.read(_LARGEST)
            Output.sync_clock(response.getheader("Date"))
        return _parse_response(response.status, raw)

    def stream(self, path: str) -> Iterator[bytes]:
        """The bytes at an API path, in pieces as they arrive."""
        with self._request("GET", _target(path, {})) as response:
            if response.status >= 300:
                _parse_response(response.status, response.read(_LARGEST))
            while piece := response.read(_CHUNK):
                yield piece

    @contextmanager
    def _request(
        self, method: str, target: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Iterator["HTTPResponse"]:
        from http.client import HTTPException

        from flexportd.cli.connections import UnixConnection

        connection = UnixConnection(self.path, self.timeout)
        sent = {"Accept": "application/json", "Connection": "close", **(headers or {})}
        if body is not None:
            sent["Content-Type"] = "application/json"
        try:
            self._connect(connection)
            connection.request(method, target, body, sent)
            yield connection.getresponse()
        except TimeoutError:
            raise UnavailableError(f"The daemon did not respond within {self.timeout:g} s") from None
        except (OSError, HTTPException) as error:
            reason = str(error) or type(error).__name__
            raise UnavailableError(f"The daemon's response was interrupted: {reason}") from error
        finally:
            connection.close()

    def _connect(self, connection: "UnixConnection") -> None:
        try:
            connection.connect()
        except TimeoutError:
            raise
        except PermissionError:
            closed = FlexportdError(f"No permission to open the daemon's control socket {self.path}")
            closed.add_note("run the command as the user that runs the daemon")
            raise closed from None
        except OSError as error:
            stopped = NotRunningError(
                f"The daemon is not running: cannot connect to {self.path} ({error.strerror or error})"
            )
            stopped.add_note(self._start)
            raise stopped from None


def _parse_response(status: int, raw: bytes) -> DaemonResponse:
    """The response. Raises the error that its problem document describes."""
    if status < 300:
        return DaemonResponse(raw)
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        document = None
    problem = document if isinstance(document, dict) else {}
    if status == 400 and problem.get("errors"):
        raise RefusedBodyError(problem["errors"])
    detail = str(problem.get("detail") or f"The daemon responded with HTTP status {status}")
    # Sentences begin with a capital, but the name of a parameter is kept as it is.
    starts_with_name = detail.startswith(str(problem.get("parameter") or "\0"))
    raise _ERRORS.get(status, FlexportdError)(detail if starts_with_name else detail[:1].upper() + detail[1:])


def _target(path: str, parameters: dict[str, Any]) -> str:
    texts = {name: _text(value) for name, value in parameters.items() if value is not None}
    # Arguments may contain bytes that are not UTF-8; the daemon reports what is wrong with them.
    query = urlencode(texts, errors="backslashreplace")
    return f"/api/v1{path}" + (f"?{query}" if query else "")


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def quote_id(name: str) -> str:
    """An id as a path segment, whatever characters it has."""
    return quote(name, safe="", errors="backslashreplace")

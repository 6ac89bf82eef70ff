"""Origins: web sites whose pages may read our answers, as a browser names them."""

import re
from collections.abc import Sequence
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator

from flexportd.settings.value_types import ValueType, show_list

ANY = "*"
_EXPECTED = "expected an origin such as https://app.example.com (scheme, host and port, without a path)"
_ORIGIN = re.compile(r"https?://[^/?#@\s\\]{1,260}")
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?|\[[0-9a-f:.]{2,45}\]")
_USUAL = {"http": 80, "https": 443}


def parse_origin(value: object) -> str:
    """Read one origin, spelled as browsers send it: lower case, without the usual port. Raises ValueError."""
    if value == ANY:
        return ANY
    if not isinstance(value, str) or not value.isascii() or not _ORIGIN.fullmatch(value.lower()):
        raise ValueError(_EXPECTED)
    try:
        parts = urlsplit(value.lower())
        port = parts.port
    except ValueError:
        raise ValueError(_EXPECTED) from None
    host = parts.netloc if port is None else parts.netloc.removesuffix(f":{port}")
    if not _HOST.fullmatch(host) or port == 0:
        raise ValueError(_EXPECTED)
    return f"{parts.scheme}://{host}" + ("" if port in (None, _USUAL[parts.scheme]) else f":{port}")


def _any_alone(value: Sequence[str]) -> Sequence[str]:
    if ANY in value and len(value) > 1:
        raise ValueError('"*" allows every origin; remove the others')
    return value


Origins = Annotated[
    tuple[Annotated[str, BeforeValidator(parse_origin)], ...],
    AfterValidator(_any_alone),
    ValueType("list of origins", kind="list", show=show_list, missing="none"),
]

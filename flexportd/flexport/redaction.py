"""What is ours and secret, taken out of answers before anything of them is kept, logged or shown.

An answer may repeat what it was asked with: an error page that prints the headers of the request, a field that echoes
the secret of a webhook. The bytes of an answer are kept, so this happens before anybody reads them.
"""

import functools
import json
from collections.abc import Iterable
from dataclasses import replace
from urllib.parse import quote

from flexportd.flexport.errors import FlexportError

HIDDEN = "***"
# What JSON writers escape though they need not: some the slash, Rails what HTML and JavaScript would read.
_ESCAPED = (
    {ord("/"): "\\/"},
    {ord(char): f"\\u{ord(char):04x}" for char in "&<>"},
    {ord(char): f"\\u{ord(char):04x}" for char in "&<>'+=/"},
    {ord(char): f"\\u{ord(char):04X}" for char in "&<>'+=/"},
)
_MIN_LENGTH = 8  # characters: a shorter secret would be found in ordinary words, and data would be spoilt


class Secrets:
    """Takes secrets out of texts and bytes; `values` are those of the configuration."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._values = tuple(dict.fromkeys(value for value in values if len(value) >= _MIN_LENGTH))

    def clean(self, content: bytes, bearer: str = "") -> bytes:
        """The same without secrets, nor this bearer, however they are written. JSON stays JSON."""
        for form in self._forms(bearer):
            if form in content:
                content = content.replace(form, HIDDEN.encode())
        return content

    def clean_text(self, text: str, bearer: str = "") -> str:
        """As `clean`."""
        return self.clean(text.encode("utf-8", "surrogatepass"), bearer).decode("utf-8", "surrogatepass")

    def clean_error(self, error: FlexportError, bearer: str = "") -> None:
        """Take secrets out of what an error tells."""
        error.args = (self.clean_text(str(error), bearer),)
        error.detail = self.clean_text(error.detail, bearer)
        said = error.response_details
        named = None if said.request_id is None else self.clean_text(said.request_id, bearer)
        error.response_details = replace(said, body=self.clean(said.body, bearer), request_id=named)

    def longest(self, bearer: str = "") -> int:
        """How many bytes the longest form of any has."""
        return max(map(len, self._forms(bearer)), default=0)

    def _forms(self, bearer: str) -> tuple[bytes, ...]:
        return _forms((*self._values, bearer) if len(bearer) >= _MIN_LENGTH else self._values)


@functools.lru_cache(maxsize=64)
def _forms(values: tuple[str, ...]) -> tuple[bytes, ...]:
    """How secrets may be written: as they are, in JSON, in an address; the longest first."""
    found: dict[bytes, None] = {}
    for value in values:
        escaped = json.dumps(value)[1:-1]
        readable = json.dumps(value, ensure_ascii=False)[1:-1]
        texts = (value, escaped, readable, *(one.translate(marks) for one in (escaped, readable) for marks in _ESCAPED))
        addressed = quote(value, safe="", errors="replace")
        lowered = "".join(part.lower() if part[:1] == "%" else part for part in _percent_parts(addressed))
        found |= dict.fromkeys(text.encode("utf-8", "surrogatepass") for text in (*texts, addressed, lowered))
    return tuple(sorted(found, key=len, reverse=True))


def _percent_parts(text: str) -> Iterable[str]:
    at = 0
    while at < len(text):
        size = 3 if text[at] == "%" else 1
        yield text[at : at + size]
        at += size

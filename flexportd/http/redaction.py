"""Removes our secrets from the responses of other servers before anything of them is stored, logged or shown.

A response may repeat parts of its request: an error page that prints the request's headers, a field that echoes the
secret of a webhook.
"""

import functools
import json
import re
from collections.abc import Iterable
from urllib.parse import quote

HIDDEN = "***"
# Characters that some JSON writers escape without need: the slash, or (Rails) those special in HTML and JavaScript.
_ESCAPED = (
    {ord("/"): "\\/"},
    {ord(char): f"\\u{ord(char):04x}" for char in "&<>"},
    {ord(char): f"\\u{ord(char):04x}" for char in "&<>'+=/"},
    {ord(char): f"\\u{ord(char):04X}" for char in "&<>'+=/"},
)
_MIN_LENGTH = 8  # characters: a shorter secret occurs in ordinary words, and data would be damaged


class Secrets:
    """Removes secrets from texts and bytes; `values` are those of the configuration."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._values = tuple(dict.fromkeys(value for value in values if len(value) >= _MIN_LENGTH))

    def clean(self, content: bytes, bearer: str = "") -> bytes:
        """The content without the secrets and this bearer, in any notation. JSON remains JSON."""
        for form in self._forms(bearer):
            if form in content:
                content = content.replace(form, HIDDEN.encode())
        return content

    def clean_text(self, text: str, bearer: str = "") -> str:
        """As `clean`."""
        return self.clean(text.encode("utf-8", "surrogatepass"), bearer).decode("utf-8", "surrogatepass")

    def longest(self, bearer: str = "") -> int:
        """The length of the longest notation of any secret, in bytes."""
        return max(map(len, self._forms(bearer)), default=0)

    def _forms(self, bearer: str) -> tuple[bytes, ...]:
        return _forms((*self._values, bearer) if len(bearer) >= _MIN_LENGTH else self._values)


@functools.lru_cache(maxsize=64)
def _forms(values: tuple[str, ...]) -> tuple[bytes, ...]:
    """The notations of secrets: as they are, in JSON, in a URL; the longest first."""
    forms: set[bytes] = set()
    for value in values:
        escaped = json.dumps(value)[1:-1]
        readable = json.dumps(value, ensure_ascii=False)[1:-1]
        texts = {value, *(text.translate(marks) for text in (escaped, readable) for marks in ({}, *_ESCAPED))}
        quoted = quote(value, safe="", errors="replace")
        lowered = re.sub("%..", lambda match: match[0].lower(), quoted)
        forms.update(text.encode("utf-8", "surrogatepass") for text in (*texts, quoted, lowered))
    return tuple(sorted(forms, key=lambda form: (-len(form), form)))

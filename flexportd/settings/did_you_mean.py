"""Names that were mistyped: the nearest one that is known."""

import difflib
import re
from collections.abc import Iterable

from flexportd.settings.value_types import quote

_BARE = re.compile(r"[A-Za-z0-9_-]{1,64}")


def quote_key(*parts: str) -> str:
    """A key as the user wrote it, dots between its parts, unless its characters could disturb the terminal or log."""
    return ".".join(part if _BARE.fullmatch(part) else quote(part[:64]) for part in parts)


def suggest(name: str, known: Iterable[str], *, knows: str = "known names are") -> str:
    """`did you mean X?`, or all that there is."""
    choices = list(known)
    near = difflib.get_close_matches(name[:100], choices, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else f"{knows} {', '.join(choices)}"

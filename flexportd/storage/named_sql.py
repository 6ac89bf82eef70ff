"""Named SQL: one file a table family in `sql/`, each statement under a `-- name: what it answers` line."""

import functools
import re
from collections.abc import Mapping
from importlib import resources

_NAME = re.compile(r"^-- (\w+): .*$", re.MULTILINE)


@functools.cache
def queries(family: str) -> Mapping[str, str]:
    """The statements of one family by name."""
    text = resources.files("flexportd.storage").joinpath("sql", f"{family}.sql").read_text("utf-8")
    parts = _NAME.split(text)[1:]
    return {name: sql.strip().rstrip(";") for name, sql in zip(parts[::2], parts[1::2], strict=True)}


def families() -> list[str]:
    """The names of all families."""
    folder = resources.files("flexportd.storage").joinpath("sql")
    return sorted(entry.name[:-4] for entry in folder.iterdir() if entry.name.endswith(".sql"))

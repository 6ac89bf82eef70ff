"""The index over parts of texts: FTS5 over groups of three characters.

A text is marked where it begins and ends, so that the whole of one, or its beginning, is a part like any other:
`mscu1` is indexed as `__mscu1.`, and `__ms` finds what begins so. Behind it are the marks of its shipment, a character
each, such as `__mscu1.X.Y.`: what the audience of X may see is found by `.X.`, without a look at anything else.
"""

import contextlib
import re
import sqlite3
from collections.abc import Iterable

from flexportd.storage.statements import bulk_insert

Text = tuple[str, str]
"""A folded text, and the marks of the shipment that it belongs to, as `storage.audiences.coded` makes them."""

# FTS5 keeps no texts: what indexes them otherwise needs another name, and is filled from the beginning.
NAME = "spaced_trigrams"
TABLE = f"search_{NAME}"
_FORMER_TABLES = ("search_trigrams", "search_spelt_trigrams", "search_spelt_spaced_trigrams")
_COLUMNS = "fts5(folded, content='', columnsize=0, tokenize=\"trigram case_sensitive 1\")"

_BEGIN, _END = "__", "."  # no folded text holds them, nor a quotation mark
_MERGE_PAGES = 32  # pages of the index that are written in one step of merging
_EDGE_LENGTH = 16  # characters of each end of a long text
_MIN_LENGTH = 3  # characters that a part has at least
_SPACER = "-"  # no folded text holds it either
_IDEOGRAPHS = (  # kana, radicals, ideographs; Hangul is folded to its letters, of which two syllables have enough
    "\u2e80-\u2fdf\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_BETWEEN = re.compile(f"(?<=[{_IDEOGRAPHS}])(?=.)|(?<=.)(?=[{_IDEOGRAPHS}])", re.DOTALL)


def is_supported() -> bool:
    """Whether this SQLite has FTS5 with its tokenizer for trigrams."""
    with contextlib.closing(sqlite3.connect(":memory:")) as raw:
        try:
            create(raw)
        except sqlite3.OperationalError:
            return False
    return True


def is_short(folded: str) -> bool:
    """Whether a text is too short to be found anywhere but at the beginning of another."""
    return len(_separate_ideographs(folded)) < _MIN_LENGTH


def create(raw: sqlite3.Connection) -> None:
    """Make the table, empty, instead of any that there is. Raises sqlite3.OperationalError where this SQLite cannot."""
    for table in (TABLE, *_FORMER_TABLES):
        raw.execute(f"DROP TABLE IF EXISTS {table}")
    raw.execute(f"CREATE VIRTUAL TABLE {TABLE} USING {_COLUMNS}")


def add(raw: sqlite3.Connection, entries: Iterable[tuple[int, Text]]) -> None:
    """Index these (id, text)."""
    rows = [(number, _indexed(*text)) for number, text in sorted(entries)]  # else each step back is a piece
    bulk_insert(raw, f"INSERT INTO {TABLE} (rowid, folded) VALUES (?, ?)", rows)  # noqa: S608 (declared name)


def remove(raw: sqlite3.Connection, entries: Iterable[tuple[int, Text]]) -> None:
    """Take these (id, text) out. The texts must be those that were indexed: FTS5 keeps none of its own."""
    rows = [(number, _indexed(*text)) for number, text in sorted(entries)]
    sql = f"INSERT INTO {TABLE} ({TABLE}, rowid, folded) VALUES ('delete', ?, ?)"  # noqa: S608 (as above)
    raw.executemany(sql, rows)


def merge(raw: sqlite3.Connection, *, begin: bool) -> bool:
    """Do a little of what makes one piece of the pieces that the index was written in; whether more is to do."""
    before = raw.total_changes
    sql = f"INSERT INTO {TABLE} ({TABLE}, rank) VALUES ('merge', ?)"  # noqa: S608 (declared name)
    raw.execute(sql, (-_MERGE_PAGES if begin else _MERGE_PAGES,))
    return raw.total_changes - before >= 2  # as FTS5 documents


def newest(raw: sqlite3.Connection, phrase: str, ids: tuple[int, int], limit: int) -> list[int]:
    """The highest ids within a range whose text has this part, from the highest down."""
    sql = (
        f"SELECT rowid FROM {TABLE} WHERE {TABLE} MATCH ? AND rowid BETWEEN ? AND ? "  # noqa: S608 (declared name)
        "ORDER BY rowid DESC LIMIT ?"
    )
    return [row[0] for row in raw.execute(sql, (phrase, *ids, limit))]


def match_phrase(folded: str, *, begins: bool = False, ends: bool = False, marks: str = "") -> str:
    """What to look for: this text anywhere, at the beginning, or (both) as the whole.

    Anywhere takes a text that is not `is_short`; else it finds nothing. Of a long text the beginning and the end
    are looked for: what is found may hold it, and has to be looked at. `marks`: only what bears one of them.
    """
    text = _separate_ideographs(folded)
    mark = _BEGIN[: max(1, _MIN_LENGTH - len(text))] if begins else ""
    sought = mark + text + (_END if ends else "")
    ends_of = (sought,) if len(sought) <= 2 * _EDGE_LENGTH else (sought[:_EDGE_LENGTH], sought[-_EDGE_LENGTH:])
    wanted = [f'"{one}"' for one in ends_of]
    if marks:
        wanted.append("({})".format(" OR ".join(f'"{_END + mark + _END}"' for mark in marks)))
    return " AND ".join(wanted)


def _indexed(folded: str, marks: str) -> str:
    return _BEGIN + _separate_ideographs(folded) + _END + "".join(mark + _END for mark in marks)


def _separate_ideographs(folded: str) -> str:
    return folded if folded.isascii() else _BETWEEN.sub(_SPACER, folded)

"""The index over parts of texts: FTS5 over groups of three characters, by SQLite's tokenizer for them or spelt out.

A text is marked where it begins and ends, so that the whole of one, or its beginning, is a part like any other:
`mscu1` is indexed as `__mscu1.`, and `__ms` finds what begins so. Behind it are the marks of its shipment, a character
each, such as `__mscu1.X.Y.`: what the audience of X may see is found by `.X.`, without a look at anything else.
"""

import functools
import re
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from flexportd.storage.statements import bulk_insert

Text = tuple[str, str]
"""A folded text, and the marks of the shipment that it belongs to, as `storage.audiences.coded` makes them."""

_BEGIN, _END = "__", "."  # no folded text holds them, nor a quotation mark
_MERGE_PAGES = 32  # pages of the index that are written in one step of merging
_EDGE_LENGTH = 16  # characters of each end of a long text
_MIN_LENGTH = 3  # characters that a part has at least
_SPACER = "-"  # no folded text holds it either
_IDEOGRAPHS = (  # kana, radicals, ideographs; Hangul is folded to its letters, of which two syllables have enough
    "\u2e80-\u2fdf\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_BETWEEN = re.compile(f"(?<=[{_IDEOGRAPHS}])(?=.)|(?<=.)(?=[{_IDEOGRAPHS}])", re.DOTALL)


def is_short(folded: str) -> bool:
    """Whether a text is too short to be found anywhere but at the beginning of another."""
    return len(_separate_ideographs(folded)) < _MIN_LENGTH


@dataclass(frozen=True, slots=True)
class SubstringIndex:
    """One way to index parts.

    `spelt`, for an SQLite before 3.34: each group of three characters is written as a word of its own, so that a row of
    words is a part. It takes more room and finds the same.
    """

    name: str
    tokenizer: str
    spelled_out: bool

    @property
    def table(self) -> str:
        """The table of the index; one of each way may exist."""
        return f"search_{self.name}"

    def create(self, raw: sqlite3.Connection) -> None:
        """Make the table, empty. Raises sqlite3.OperationalError where this SQLite cannot."""
        raw.execute(
            f"CREATE VIRTUAL TABLE {self.table} "
            f"USING fts5(folded, content='', columnsize=0, tokenize=\"{self.tokenizer}\")"
        )

    def drop(self, raw: sqlite3.Connection) -> None:
        """Take the table away, if there is one."""
        raw.execute(f"DROP TABLE IF EXISTS {self.table}")

    def add(self, raw: sqlite3.Connection, entries: Iterable[tuple[int, Text]]) -> None:
        """Index these (id, text)."""
        rows = [(number, self._text(*text)) for number, text in sorted(entries)]  # else each step back is a piece
        bulk_insert(raw, f"INSERT INTO {self.table} (rowid, folded) VALUES (?, ?)", rows)  # noqa: S608 (declared name)

    def remove(self, raw: sqlite3.Connection, entries: Iterable[tuple[int, Text]]) -> None:
        """Take these (id, text) out. The texts must be those that were indexed: FTS5 keeps none of its own."""
        rows = [(number, self._text(*text)) for number, text in sorted(entries)]
        sql = f"INSERT INTO {self.table} ({self.table}, rowid, folded) VALUES ('delete', ?, ?)"  # noqa: S608 (as above)
        raw.executemany(sql, rows)

    def merge(self, raw: sqlite3.Connection, *, begin: bool) -> bool:
        """Do a little of what makes one piece of the pieces that the index was written in; whether more is to do."""
        before = raw.total_changes
        sql = f"INSERT INTO {self.table} ({self.table}, rank) VALUES ('merge', ?)"  # noqa: S608 (declared name)
        raw.execute(sql, (-_MERGE_PAGES if begin else _MERGE_PAGES,))
        return raw.total_changes - before >= 2  # so FTS5 tells it

    def newest(self, raw: sqlite3.Connection, phrase: str, ids: tuple[int, int], limit: int) -> list[int]:
        """The highest ids within a range whose text has this part, from the highest down."""
        sql = (
            f"SELECT rowid FROM {self.table} WHERE {self.table} MATCH ? AND rowid BETWEEN ? AND ? "  # noqa: S608
            "ORDER BY rowid DESC LIMIT ?"
        )
        return [row[0] for row in raw.execute(sql, (phrase, *ids, limit))]

    def phrase(self, folded: str, *, begins: bool = False, ends: bool = False, marks: str = "") -> str:
        """What to look for: this text anywhere, at the beginning, or (both) as the whole.

        Anywhere takes a text that is not `is_short`; else it finds nothing. Of a long text the beginning and the end
        are looked for: what is found may hold it, and has to be looked at. `marks`: only what bears one of them.
        """
        text = _separate_ideographs(folded)
        mark = _BEGIN[: max(1, _MIN_LENGTH - len(text))] if begins else ""
        sought = mark + text + (_END if ends else "")
        ends_of = (sought,) if len(sought) <= 2 * _EDGE_LENGTH else (sought[:_EDGE_LENGTH], sought[-_EDGE_LENGTH:])
        wanted = [self._quote(one) for one in ends_of]
        if marks:
            wanted.append(f"({' OR '.join(self._quote(_END + mark + _END) for mark in marks)})")
        return " AND ".join(wanted)

    def _quote(self, part: str) -> str:
        return f'"{_spell_out(part) if self.spelled_out else part}"'

    def _text(self, folded: str, marks: str) -> str:
        whole = _BEGIN + _separate_ideographs(folded) + _END + "".join(mark + _END for mark in marks)
        return _spell_out(whole) if self.spelled_out else whole


# FTS5 keeps no texts: what indexes them otherwise needs another name, and is filled from the beginning.
TRIGRAM = SubstringIndex("spaced_trigrams", "trigram case_sensitive 1", spelled_out=False)
SPELLED_OUT = SubstringIndex("spelt_spaced_trigrams", "ascii", spelled_out=True)
INDEXES = (TRIGRAM, SPELLED_OUT)  # the best first
FORMER_INDEXES = (
    SubstringIndex("trigrams", "", spelled_out=False),
    SubstringIndex("spelt_trigrams", "", spelled_out=True),
)  # of earlier versions


def _separate_ideographs(folded: str) -> str:
    return folded if folded.isascii() else _BETWEEN.sub(_SPACER, folded)


def _spell_out(text: str) -> str:
    return " ".join(text[at : at + 3].encode().hex() for at in range(len(text) - 2))


@functools.cache
def supported_index() -> SubstringIndex | None:
    """The first of the ways that this SQLite can do; None where it has no FTS5 at all."""
    return next((way for way in INDEXES if _is_supported(way)), None)


def _is_supported(way: SubstringIndex) -> bool:
    raw = sqlite3.connect(":memory:")
    try:
        way.create(raw)
    except sqlite3.OperationalError:
        return False
    finally:
        raw.close()
    return True

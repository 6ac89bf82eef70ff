"""Parsing a search text into terms: words that must all match, some of them numbers of a known kind.

`PO 4471`, `po#4471` and `P.O. no. 4471` are the number 4471 of an order: the label before a number says its kind, and
need not occur in the text. `maersk savannah` are two words in any order.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from flexportd.core.search.fields import KIND_NUMBERS, EntryKind
from flexportd.core.search.normalise import normalise
from flexportd.storage.search_index import MAX_TERMS, Term
from flexportd.storage.substring_index import is_short

MAX_TEXT_LENGTH = 1000  # characters of a search text that are read
_MAX_WORDS = 32  # words of it that are read
_MAX_LABEL_WORDS = 4  # words of `master bill of lading`

_ROUTE: tuple[EntryKind, ...] = ("transport",)
_PLACE: tuple[EntryKind, ...] = ("transport", "port", "location", "booking")
_PARTY: tuple[EntryKind, ...] = ("shipment", "party", "company", "booking", "po", "commercial_invoice")

LABELS: Mapping[str, tuple[EntryKind, ...]] = {
    **dict.fromkeys(("po", "pos", "purchaseorder", "purchaseorders", "order"), ("po",)),
    **dict.fromkeys(("sku", "skus", "item", "product", "article"), ("sku",)),
    **dict.fromkeys(("container", "containers", "cntr", "ctr", "box", "seal"), ("container",)),
    **dict.fromkeys(
        (
            "bl", "bol", "hbl", "mbl", "hbol", "mbol", "awb", "hawb", "mawb", "swb", "bill", "waybill", "billoflading",
            "housebill", "masterbill", "housebl", "masterbl", "housebilloflading", "masterbilloflading",
            "seawaybill", "airwaybill", "houseairwaybill", "masterairwaybill", "houseawb", "masterawb",
        ),
        ("bill",),
    ),
    **dict.fromkeys(("booking", "bookings", "bkg", "carrierbooking"), ("booking",)),
    **dict.fromkeys(("invoice", "invoices", "inv"), ("invoice", "commercial_invoice")),
    **dict.fromkeys(("commercialinvoice", "ci"), ("commercial_invoice",)),
    **dict.fromkeys(("freightinvoice",), ("invoice",)),
    **dict.fromkeys(("entry", "customsentry"), ("customs_entry",)),
    **dict.fromkeys(("document", "file"), ("document",)),
    **dict.fromkeys(("tracking",), ("leg",)),
    **dict.fromkeys(("shipment",), ("shipment",)),
    **dict.fromkeys(("vessel", "ship", "voyage", "voy", "imo", "flight", "carrier", "airline", "scac"), _ROUTE),
    **dict.fromkeys(("port", "airport", "terminal", "ramp", "warehouse", "city", "place"), _PLACE),
    **dict.fromkeys(("shipper", "consignee", "buyer", "seller", "importer", "company"), _PARTY),
}  # fmt: skip
"""Normalised labels -> the kinds of entries in which the text after them is searched."""

_NUMBER_WORDS = frozenset({"no", "nr", "num", "number", "numbers", "id", "ref", "reference"})
_FLEX = "flex"
_SEPARATORS = re.compile("[\\s,;\u3001\uff0c\uff1b]+")  # also the commas of Chinese and Japanese
_END_OF_LABEL = re.compile(r"[\d#:=_-]")  # within a word: `po#4471`, `po4471`


class QueryWord(NamedTuple):
    """A normalised text that must match: after a label in entries of `kinds`, or together with the label in any."""

    folded: str
    kinds: tuple[EntryKind, ...] = ()
    with_label: str = ""


def terms_of(words: Iterable[QueryWord], visible: Sequence[int]) -> list[Term]:
    """The terms for the index; `visible` are the numbers of the kinds that may be searched."""
    found = []
    for word in words:
        numbers = [KIND_NUMBERS[kind] for kind in word.kinds if KIND_NUMBERS[kind] in visible]
        found.append(Term(word.folded, numbers if word.kinds else visible, word.with_label or word.folded, visible))
    return found


def interpretations(text: str) -> list[tuple[QueryWord, ...]]:
    """What a text may mean, the most specific first; each is a list of words that must all match. Empty for no words.

    First, labels count only before a number; then before anything; then not at all. Words of one or two letters are in
    very many texts, so a match of the whole text comes before a match of such words.
    """
    tokens = list(_tokens(text[:MAX_TEXT_LENGTH]))
    if not tokens:
        return []
    whole = (QueryWord(normalise(text[:MAX_TEXT_LENGTH])),)
    words = _words(tokens, numbers_only=True)
    found = [
        *_as_one_number(tokens),
        *([whole] if any(is_short(word.folded) and not word.kinds for word in words) else []),
        words,
        _words(tokens, numbers_only=False),
        _words(tokens, numbers_only=False, is_labelled=False),
    ]
    usable = (some if len(some) == 1 or any(not is_short(word.folded) for word in some) else whole for some in found)
    return list(dict.fromkeys(some for some in usable if some))


def _tokens(text: str) -> Iterator[str]:
    """The normalised words; `po#4471` are two: a label and a number."""
    count = 0
    for part in _SEPARATORS.split(text):
        for folded in _split(part):
            if folded:
                yield folded
                count += 1
                if count == _MAX_WORDS:
                    return


def _split(part: str) -> Sequence[str]:
    if end := _END_OF_LABEL.search(part):
        label, number = normalise(part[: end.start()]), normalise(part[end.start() :])
        if _is_label(label) and _is_number(number):
            return label, number
    return (normalise(part),)


def _is_label(folded: str) -> bool:
    return folded in LABELS or folded == _FLEX


def _label(tokens: Sequence[str], start: int) -> tuple[str, int]:
    """The label that begins at a token (empty for none), and the token after it and its `no.`."""
    for count in range(min(_MAX_LABEL_WORDS, len(tokens) - start), 0, -1):
        folded = "".join(tokens[start : start + count])
        if _is_label(folded):
            end = start + count
            while end < len(tokens) - 1 and tokens[end] in _NUMBER_WORDS:
                end += 1
            return folded, end
    return "", start


def _labelled(label: str, spelt: Sequence[str], folded: str) -> QueryWord:
    if label == _FLEX:
        return QueryWord(_FLEX + folded.removeprefix(_FLEX))
    return QueryWord(folded, LABELS[label], "".join(spelt) + folded)


def _as_one_number(tokens: Sequence[str]) -> Iterator[tuple[QueryWord, ...]]:
    """A label and a number with blanks in it: `container MSCU 123456-7`."""
    label, start = _label(tokens, 0)
    rest = "".join(tokens[start:])
    if label and _is_number(rest):
        yield (_labelled(label, tokens[:start], rest),)


def _words(tokens: Sequence[str], *, numbers_only: bool, is_labelled: bool = True) -> tuple[QueryWord, ...]:
    """The words, those after a label with its kinds; without `is_labelled`, all labels are left out."""
    found: list[QueryWord] = []
    at = 0
    while at < len(tokens) and len(found) < MAX_TERMS:
        label, follows = _label(tokens, at)
        if label and not is_labelled:
            at = follows
        elif label and follows < len(tokens) and (_is_number(tokens[follows]) or not numbers_only):
            found.append(_labelled(label, tokens[at:follows], tokens[follows]))
            at = follows + 1
        else:
            if is_labelled or tokens[at] not in _NUMBER_WORDS:
                found.append(QueryWord(tokens[at]))
            at += 1
    return tuple(dict.fromkeys(found))


def _is_number(folded: str) -> bool:
    return any(char.isdigit() for char in folded)

"""What people type into a search, as words and numbers of a known kind."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flexportd.core.search.fields import KIND_NUMBERS
from flexportd.core.search.normalise import MAX_LENGTH, normalise
from flexportd.core.search.terms import LABELS, QueryWord, interpretations
from flexportd.storage.search_index import MAX_TERMS


@pytest.mark.parametrize(
    ("text", "kinds", "number"),
    [
        ("PO 4471", ("po",), "4471"),
        ("po#4471", ("po",), "4471"),
        ("P.O. no. 4471", ("po",), "4471"),
        ("PO-4471", ("po",), "4471"),
        ("po4471", ("po",), "4471"),
        ("purchase order: 4471/A", ("po",), "4471a"),
        ("container MSCU 123456-7", ("container",), "mscu1234567"),
        ("B/L EXA1", ("bill",), "exa1"),
        ("HBL#EXA1", ("bill",), "exa1"),
        ("master bill of lading MAEU99", ("bill",), "maeu99"),
        ("AWB160-12345675", ("bill",), "16012345675"),
        ("booking number 99", ("booking",), "99"),
        ("invoice #12", ("invoice", "commercial_invoice"), "12"),
        ("SKU: LAMP-1", ("sku",), "lamp1"),
        ("IMO9811000", ("transport",), "9811000"),
        ("flex-123", (), "flex123"),
        ("FLEX 123", (), "flex123"),
        ("FLEX id: 123", (), "flex123"),
        ("\uff30\uff2f\u30004471", ("po",), "4471"),
        ("BLXU1234567", (), "blxu1234567"),
        ("BKG", (), "bkg"),
        ("post 1234", (), None),
        ("PO", (), "po"),
    ],
)
def test_a_label_before_a_number_says_what_it_is_the_number_of(text, kinds, number):
    first = interpretations(text)[0]
    assert (first[0].kinds, first[0].folded if len(first) == 1 else None) == (kinds, number)


def test_words_and_numbers_go_together_in_any_order():
    words = ("maersk", "savannah", ("4471", ("po",), "po4471"))
    expected = tuple(QueryWord(one) if isinstance(one, str) else QueryWord(*one) for one in words)
    assert expected in interpretations("Maersk, Savannah; PO 4471")


def test_without_a_number_a_label_is_a_word_like_any_other_at_first():
    assert interpretations("Container ship parts")[0] == (QueryWord("container"), QueryWord("ship"), QueryWord("parts"))
    assert (QueryWord("mscu", ("container",), "containermscu"),) in interpretations("container mscu")


def test_what_says_no_more_than_that_a_number_follows_may_be_left_out():
    assert interpretations("ref. no. 4471 maersk")[-1] == (QueryWord("4471"), QueryWord("maersk"))


def test_every_label_is_folded_and_leads_to_kinds_that_exist():
    for label, kinds in LABELS.items():
        assert normalise(label) == label
        assert set(kinds) <= KIND_NUMBERS.keys()


@given(
    st.text(max_size=200)
    | st.lists(st.sampled_from([*LABELS, "flex", "no", "#", "12", "a", "上海", "/", "."])).map(" ".join)
)
@example("a" * 100_000)
@example("po" * 5000 + "#")
@example("a/" * 50_000)
@example("po 1 " * 20_000)
@example("(" * 1000 + "1" * 1000)
def test_whatever_is_typed_means_few_things_of_few_words(text):
    found = interpretations(text)
    assert len(found) <= 5
    assert len(set(found)) == len(found)
    assert bool(found) == bool(normalise(text[:1000]))
    for words in found:
        assert 1 <= len(words) <= MAX_TERMS
        for word in words:
            assert 0 < len(word.folded) <= 4 * MAX_LENGTH
            assert normalise(word.folded)[:MAX_LENGTH] == word.folded[:MAX_LENGTH]

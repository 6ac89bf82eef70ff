"""Opaque ids: what a key was given comes back as it was, and nothing else is taken."""

from hypothesis import given
from hypothesis import strategies as st

from flexportd.core.access.keys import Signer
from flexportd.expose.security.authorization import MAX_NUMBER, OpaqueCodec

SIGNER = Signer(b"s" * 32)
ONE, OTHER = OpaqueCodec(SIGNER, "one"), OpaqueCodec(SIGNER, "other")
places = st.builds(lambda entry, number: f"{entry}-{number}", st.integers(0, 10**15), st.integers(0, 999))


@given(st.one_of(places, st.text(st.characters(exclude_categories=["Cs"]), max_size=200)), st.booleans())
def test_a_text_comes_back_to_its_key_alone(text, vary):
    token = ONE.encode(text, vary=vary)
    assert ONE.decode(token) == text
    assert OTHER.decode(token) is None
    assert token.isascii()
    assert token.replace("-", "").replace("_", "").isalnum()


@given(places, places)
def test_the_same_place_has_the_same_id_and_others_have_others_of_the_same_length(one, other):
    found = ONE.encode(one), ONE.encode(other)
    assert (found[0] == found[1]) == (one == other)
    assert len(found[0]) == len(found[1])
    assert ONE.encode(one, vary=True) != ONE.encode(one, vary=True)
    assert OTHER.encode(one) != found[0]


@given(places, st.data())
def test_what_was_altered_is_not_taken(text, data):
    token = ONE.encode(text)
    at = data.draw(st.integers(0, len(token) - 2))  # the last character has bits that do not count
    other = data.draw(st.sampled_from("ABCabc012-_").filter(lambda char: char != token[at]))
    assert ONE.decode(token[:at] + other + token[at + 1 :]) is None


@given(st.text(max_size=120))
def test_other_text_is_not_taken(text):
    assert ONE.decode(text) is None


@given(st.integers(0, MAX_NUMBER), st.integers(0, MAX_NUMBER))
def test_numbers_are_exchanged_one_for_one(one, other):
    assert ONE.decode_number(ONE.encode_number(one)) == one
    assert 0 <= ONE.encode_number(one) <= MAX_NUMBER
    assert (ONE.encode_number(one) == ONE.encode_number(other)) == (one == other)

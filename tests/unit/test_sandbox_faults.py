"""Faults are read strictly and made the same way for the same seed (design §8: `--faults`)."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexportd.errors import InvalidError
from flexportd.sandbox import Faults, SandboxOptions, parse_faults
from flexportd.sandbox.deliveries import backoff
from flexportd.sandbox.dice import Dice, Question, Script
from flexportd.sandbox.faults import ANSWER_FAULTS, NAMES, PAGE_FAULTS, WEBHOOK_FAULTS
from flexportd.sandbox.spoiling import SPOILING, spoilt

LIST, OBJECT = Question("GET", "/shipments?page=2", 2), Question("GET", "/shipments/1")


def events(count):
    return [{"id": number} for number in range(count)]


def test_every_fault_has_its_name():
    names = [name for name in NAMES if name != "latency"]
    text = ",".join(f"{name}={1 + at / 10}%" for at, name in enumerate(names))
    assert parse_faults(f"latency=200ms, {text}") == Faults(
        0.2, {name: pytest.approx((1 + at / 10) / 100) for at, name in enumerate(names)}
    )


def test_no_text_is_no_faults():
    assert parse_faults("") == parse_faults(" , ") == Faults()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("429", "'429' is not a fault: write name=value, as in 429=5%."),
        ("429=5%,429=6%", "The fault '429' is given twice."),
        ("429=101%", "429=101% is more than 100%."),
        ("429=5", "429=5 is not a share: write it as 5%."),
        ("drop=-1%", "drop=-1% is not a share: write it as 5%."),
        ("drop=nan%", "drop=nan% is not a share: write it as 5%."),
        ("latency=5%", "latency=5% is not a duration: write it as 200ms or 1.5s."),
        ("trunkate=1%", "There is no fault 'trunkate': did you mean 'truncate'?"),
        ("zzz=1%", f"There is no fault 'zzz': known are {', '.join(NAMES)}."),
        ("429=60%,5xx=60%", "The shares of 429, 5xx add up to 120%: more than 100%."),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(text, sentence):
    with pytest.raises(InvalidError) as caught:
        parse_faults(text)
    assert str(caught.value) == sentence
    assert caught.value.parameter == "faults"


@given(
    st.text(max_size=40)
    | st.lists(st.sampled_from([*NAMES, "=", "%", ",", "5", "200ms", " "]), max_size=12).map("".join)
)
def test_any_text_is_read_or_refused_with_a_sentence(text):
    faults, sentence = Faults(), "read"
    try:
        faults = parse_faults(text)
    except InvalidError as error:
        sentence = str(error)
    assert sentence
    assert all(share >= 0 for share in faults.shares.values())


@given(st.dictionaries(st.sampled_from([name for name in NAMES if name != "latency"]), st.integers(0, 3)))
def test_written_shares_are_read_back(shares):
    faults = parse_faults(",".join(f"{name}={share}%" for name, share in shares.items()))
    assert faults.shares == {name: share / 100 for name, share in shares.items()}


@given(st.integers(), st.lists(st.integers(0, 30), max_size=5))
def test_the_same_seed_makes_the_same_faults(seed, sizes):
    faults = parse_faults("429=20%,5xx=20%,duplicate=20%,reorder=20%,drop=20%")
    one, other = Dice(faults, seed), Dice(faults, seed)
    for size in sizes:
        assert one.arrange(events(size)) == other.arrange(events(size))
        assert one.answer(OBJECT) == other.answer(OBJECT)


@given(st.integers(), st.integers(2, 60))
def test_without_drops_every_event_is_sent(seed, count):
    dice = Dice(parse_faults("duplicate=30%,reorder=50%"), seed)
    sent = Counter(event["id"] for event in dice.arrange(events(count)))
    assert set(sent) == set(range(count))
    assert sent.total() == count + dice.mishaps.duplicated


def test_without_faults_nothing_is_changed():
    dice = Dice(Faults(), 1)
    assert dice.arrange(events(5)) == events(5)
    assert {dice.answer(OBJECT) for _ in range(100)} == {None}


def test_certain_faults_are_certain():
    assert Dice(parse_faults("drop=100%"), 1).arrange(events(9)) == []
    assert Dice(parse_faults("429=100%"), 1).answer(OBJECT) == "429"
    assert len(Dice(parse_faults("duplicate=100%"), 1).arrange(events(9))) == 18


def test_a_single_event_held_back_waits_for_the_next():
    dice = Dice(parse_faults("reorder=100%"), 1)
    assert dice.arrange([{"id": 1}]) == []
    assert [event["id"] for event in dice.arrange([{"id": 2}, {"id": 3}])] == [1, 2, 3]
    assert dice.mishaps.reordered == 3


def test_shares_come_true_in_the_long_run():
    dice = Dice(parse_faults("429=10%,5xx=20%"), 5)
    seen = Counter(dice.answer(OBJECT) for _ in range(5000))
    assert 0.08 < seen["429"] / 5000 < 0.12
    assert 0.17 < seen["5xx"] / 5000 < 0.23


@given(st.integers(1, 10), st.floats(0, 1))
def test_backoff_is_between_a_second_and_a_minute(attempt, chance):
    assert 1 <= backoff(attempt, chance) <= 60


@pytest.mark.parametrize(
    ("wrong", "parameter"),
    [
        ({"shipments": -1}, "shipments"),
        ({"speed": -1.0}, "speed"),
        ({"speed": float("nan")}, "speed"),
        ({"rate_limit": 0.0}, "rate_limit"),
        ({"in_flight": 0}, "in_flight"),
        ({"webhook_url": "ftp://x", "webhook_secret": "s"}, "webhook_url"),
        ({"webhook_url": "http://x"}, "webhook_secret"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(wrong, parameter):
    with pytest.raises(InvalidError) as caught:
        SandboxOptions(**wrong)
    assert caught.value.parameter == parameter


def test_keys_are_generated_and_never_shown():
    one, other = SandboxOptions(), SandboxOptions()
    assert one.api_key != other.api_key
    assert one.api_key not in repr(one)
    assert one.client_secret not in repr(one)

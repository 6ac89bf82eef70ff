"""Ten token requests a day: what the disk keeps, and when a token may be asked for."""

import stat
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexportd.clock import stamp
from flexportd.flexport.errors import FlexportUnavailableError, TokensExhaustedError
from flexportd.flexport.oauth.client_credentials import Credentials
from flexportd.flexport.oauth.token_store import (
    REQUESTS_ALLOWED,
    Token,
    TokenFile,
    TokenRequest,
    TokenState,
    is_usable,
    refusal_reason,
)

NOW = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)
TOKEN = Token("eyJ.x.y", NOW, NOW + timedelta(hours=24))


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_token_and_requests_come_back_and_are_private(tmp_path):
    file = TokenFile(tmp_path / "token.json", "a")
    file.count(NOW, "start")
    file.save(TOKEN, "form")
    kept = TokenFile(tmp_path / "token.json", "a").load(NOW)
    assert (kept.token, kept.form, kept.requests) == (TOKEN, "form", (TokenRequest(NOW, "start"),))
    assert {mode(path) for path in tmp_path.iterdir()} == {0o600}
    assert "eyJ" not in repr(kept)


def test_a_readable_file_that_lay_there_is_made_private(tmp_path):
    for name in ("token.json", "token.json.new"):
        (tmp_path / name).write_text("{}")
        (tmp_path / name).chmod(0o644)
    TokenFile(tmp_path / "token.json", "a").save(TOKEN, "json")
    assert mode(tmp_path / "token.json") == 0o600


def test_other_credentials_see_neither_token_nor_requests(tmp_path):
    file = TokenFile(tmp_path / "token.json", "a")
    file.count(NOW, "start")
    file.save(TOKEN, "json")
    other = TokenFile(tmp_path / "token.json", "b")
    assert other.load(NOW) == TokenState(None, None, ())
    other.count(NOW, "start")
    other.save(TOKEN, "json")
    assert len(TokenFile(tmp_path / "token.json", "a").load(NOW).requests) == 1


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"null", b"[" * 100_000, b'{"bound":"a"}', b"\xff\xfe"]
    + [
        b'{"bound":"a","access_token":"%b","obtained":"%b","expires":"2026-03-05T12:00:00.000Z","form":"json"}' % pair
        for pair in [(b"a b", b"2026-03-04T12:00:00.000Z"), (b"", b"2026-03-04T12:00:00.000Z"), (b"x", b"yesterday")]
    ],
)
def test_a_damaged_token_file_is_as_if_absent_and_the_requests_still_count(tmp_path, text):
    file = TokenFile(tmp_path / "token.json", "a")
    file.count(NOW, "start")
    (tmp_path / "token.json").write_bytes(text)
    kept = file.load(NOW)
    assert (kept.token, len(kept.requests)) == (None, 1)


def test_damaged_lines_of_the_requests_hide_no_others(tmp_path):
    file = TokenFile(tmp_path / "token.json", "a")
    file.count(NOW, "start")
    with (tmp_path / "token.requests").open("ab") as log:
        log.write(b"\xff garbage\na 2026-99-99 start\na b\n")
    file.count(NOW, "age")
    assert [one.why for one in file.load(NOW).requests] == ["start", "age"]


def test_requests_from_the_future_count_and_stop_counting_a_day_after_they_were_noticed(tmp_path):
    file = TokenFile(tmp_path / "token.json", "a")
    file.count(NOW + timedelta(days=300), "start")
    assert len(file.load(NOW).requests_within_day(NOW)) == 1
    later = NOW + timedelta(hours=23)
    assert len(file.load(later).requests_within_day(later)) == 1
    later = NOW + timedelta(hours=25)
    assert file.load(later).requests_within_day(later) == []


def test_a_request_that_never_left_is_taken_back_alone(tmp_path):
    file, other = (TokenFile(tmp_path / "token.json", name) for name in "ab")
    file.count(NOW, "start")
    file.count(NOW, "age")
    other.count(NOW, "start")
    file.uncount()
    assert [one.why for one in file.load(NOW).requests] == ["start"]
    assert len(other.load(NOW).requests) == 1


def test_requests_that_cannot_be_read_are_an_error(tmp_path):
    (tmp_path / "token.requests").mkdir()
    with pytest.raises(OSError):
        TokenFile(tmp_path / "token.json", "a").load(NOW)


@given(st.text(max_size=20))
def test_a_usable_token_fits_into_a_header(text):
    assert is_usable(text) == (text != "" and all(32 < ord(char) < 127 for char in text))


def test_a_token_is_due_at_nine_tenths_of_its_life():
    assert not TOKEN.is_due(NOW + timedelta(hours=21.5))
    assert TOKEN.is_due(NOW + timedelta(hours=21.7))


def requests(*ages, why="start"):
    return tuple(TokenRequest(NOW - timedelta(seconds=age), why) for age in sorted(ages, reverse=True))


GOOD = Token("t", NOW, NOW + timedelta(hours=24))


@pytest.mark.parametrize(("why", "limit"), [("start", 8), ("age", 8), ("refused", 6)])
def test_each_reason_has_its_share_of_the_ten(why, limit):
    assert refusal_reason(TokenState(GOOD, None, requests(*range(1000, 1000 + limit - 1))), why, NOW) is None
    refusal = refusal_reason(TokenState(GOOD, None, requests(*range(1000, 1000 + limit))), why, NOW)
    assert isinstance(refusal, TokensExhaustedError)
    assert refusal.response.retry_after == pytest.approx(86_400 - (1000 + limit - 1))
    assert str(REQUESTS_ALLOWED) in str(refusal)


def test_a_401_renews_at_most_every_ten_minutes():
    kept = TokenState(GOOD, None, requests(599, why="refused"))
    assert refusal_reason(kept, "refused", NOW).response.retry_after == pytest.approx(1)
    assert refusal_reason(kept, "age", NOW) is None
    assert refusal_reason(TokenState(GOOD, None, requests(601, why="refused")), "refused", NOW) is None
    assert refusal_reason(TokenState(GOOD, None, requests(1)), "refused", NOW) is None


def test_after_failures_the_next_request_waits_longer_each_time():
    waits = []
    for failures in range(1, 8):
        refusal = refusal_reason(TokenState(None, None, requests(*range(failures))), "start", NOW)
        assert isinstance(refusal, FlexportUnavailableError)
        waits.append(refusal.response.retry_after)
    assert waits == sorted(waits)
    assert waits[0] == 5
    assert sum(waits) > 10 * 3600


@given(st.lists(st.tuples(st.sampled_from(["start", "age", "refused"]), st.integers(1, 40_000)), max_size=80))
def test_whatever_happens_no_24_hours_see_more_than_ten_requests(happenings):
    asked, now = (), NOW
    for why, pause in happenings:
        now += timedelta(seconds=pause)
        if refusal_reason(TokenState(None, None, asked), why, now) is None:
            asked = (*asked, TokenRequest(now, why))
    for number, one in enumerate(asked):
        assert sum(one.at <= other.at < one.at + timedelta(hours=24) for other in asked[number:]) <= 10


def test_credentials_have_a_name_that_a_new_secret_does_not_change():
    made = Credentials("id", "secret-1", "https://h/oauth/token", "https://h")
    assert made.fingerprint() == Credentials("id", "secret-2", "https://h/oauth/token", "https://h").fingerprint()
    assert made.fingerprint() != Credentials("id", "secret-1", "https://h/oauth/token", "https://other").fingerprint()
    assert "secret" not in repr(made) + made.fingerprint()


def test_the_stored_line_is_plain(tmp_path):
    TokenFile(tmp_path / "token.json", "a").count(NOW, "start")
    assert (tmp_path / "token.requests").read_text() == f"a {stamp(NOW)} start\n"

"""Keys: made once, known at once, refused in words that help their owner and nobody else."""

import base64
import logging
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from flexportd.clock import stamp
from flexportd.core.access import keys
from flexportd.core.access.keys import UNRESTRICTED, NewKey, Signer
from flexportd.errors import ConflictError, InvalidError, NotFoundError, RefusedError, UnavailableError
from flexportd.expose.security.authentication import (
    BEARER_CHALLENGE,
    MAX_CACHED_KEYS,
    KeyAuthenticator,
    UsageCounter,
    require_scope,
)
from flexportd.settings import Rate
from flexportd.storage.database import Database
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.repositories.access import StoredKey
from flexportd.storage.repositories.audiences import Audience

NOW = datetime(2026, 3, 4, 2, 41, 9, 377000, tzinfo=UTC)
HERE = "203.0.113.7"


class Desk:
    """A store and its gate, at a time that stands still."""

    def __init__(self, db, gate):
        self.db = db
        self.gate = gate
        self.now = NOW

    async def make(self, name="Screen", scope="read", **more):
        wanted = NewKey(name, scope, **more)
        key, token, known = await self.db.write(
            lambda tx: (*keys.create(tx, wanted, "local", self.now), tx.keys.with_digests(MAX_CACHED_KEYS))
        )
        self.gate.reload(known)
        return key, token

    async def revoke(self, key):
        known = await self.db.write(
            lambda tx: (keys.revoke(tx, key.id, "local", self.now), tx.keys.with_digests(MAX_CACHED_KEYS))[1]
        )
        self.gate.reload(known)

    def admit(self, *headers):
        given = CIMultiDict(("Authorization", header) for header in headers)
        return self.gate.authenticate(given, self.now, HERE)

    def refused(self, *headers):
        with pytest.raises(RefusedError) as caught:
            self.admit(*headers)
        return caught.value

    async def rows(self):
        return await self.db.read(lambda tx: tx.keys.page(PageRequest(100, "created_at")))


@pytest.fixture
async def desk(tmp_path, clock):
    async with Database.open(tmp_path / "data") as db:
        yield Desk(db, await KeyAuthenticator.open(db, clock, required=True))


def _basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


# --- making ---


async def test_a_key_opens_what_its_scope_says_at_once(desk):
    key, token = await desk.make("Screen", "write", rate_limit="60/1m", expires="90d")
    viewer = desk.admit(f"Bearer {token}")
    assert (viewer.key_id, viewer.name, viewer.scopes) == (key.id, "Screen", {"read", "write"})
    assert (viewer.audience, viewer.rate) == (None, Rate(60, 60))
    assert key.expires_at == "2026-06-02T02:41:09.000Z"
    require_scope(viewer, "read")
    require_scope(viewer, "write")
    with pytest.raises(RefusedError, match="requires a key with the scope admin; this key has read, write") as caught:
        require_scope(viewer, "admin")
    assert (caught.value.status, caught.value.slug) == (403, "insufficient-scope")


async def test_nothing_that_is_stored_opens_anything(desk):
    key, token = await desk.make()
    text = await desk.db.read(lambda tx: "\n".join(tx.raw.iterdump()))
    assert key.id in text
    secret = token.rpartition("_")[2]
    assert secret not in text
    assert len(secret) == 43
    assert token not in repr((key, desk.admit(f"Bearer {token}"), desk.gate, desk.gate._cached_keys, desk.gate.signer))
    assert keys.digest(token).hex() not in repr((key, desk.gate._cached_keys))


async def test_a_key_for_some_shipments(desk):
    _, token = await desk.make("A", consignees=["Acme GmbH", "Acme GmbH", " Other "])
    assert desk.admit(f"Bearer {token}").audience == Audience("consignee", ("Acme GmbH", "Other"))
    _, token = await desk.make("B", metadata={"customer": ["7"]})
    assert desk.admit(f"Bearer {token}").audience == Audience("metadata:customer", ("7",))
    shown = [keys.document(row, stamp(NOW)) for row in await desk.rows()]
    assert {(row["name"], str(row["consignees"]), str(row["metadata"])) for row in shown} == {
        ("A", "['Acme GmbH', 'Other']", "None"), ("B", "None", "{'customer': ['7']}"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "parameter", "words"),
    [
        ({"name": ""}, "name", "1 to 80 characters"),
        ({"name": "  "}, "name", "1 to 80 characters"),
        ({"name": "x" * 81}, "name", "1 to 80 characters"),
        ({"name": "two\nlines"}, "name", "one line"),
        ({"scope": "write", "consignees": ["Acme"]}, "scope", "only have the scope read"),
        ({"scope": "admin", "metadata": {"a": ["b"]}}, "scope", "only have the scope read"),
        ({"consignees": ["Acme"], "metadata": {"a": ["b"]}}, "metadata", "cannot be combined"),
        ({"metadata": {"a": ["b"], "c": ["d"]}}, "metadata", "exactly one is allowed"),
        ({"metadata": {"a": []}}, "metadata", "0 values"),
        ({"metadata": {"": ["b"]}}, "metadata", "1 to 300 characters, no NUL"),
        ({"consignees": [" "]}, "consignees", "1 to 300 characters"),
        ({"consignees": ["x\0"]}, "consignees", "1 to 300 characters"),
        ({"consignees": ["x"] * 201}, "consignees", "201 values"),
        ({"expires": "soon"}, "expires", "'soon'; allowed is a duration"),
        ({"expires": "0s"}, "expires", "not in the future"),
        ({"expires": "2026-03-03"}, "expires", "not in the future"),
        ({"expires": "2027-02-30"}, "expires", "allowed is"),
        ({"expires": "3651d"}, "expires", "at most 3650d"),
        ({"expires": "9" * 5000 + "d"}, "expires", "allowed is"),
        ({"expires": "9999-12-31"}, "expires", "allowed is"),
        ({"rate_limit": "fast"}, "rate_limit", "expected a rate such as"),
        ({"rate_limit": "0/1m"}, "rate_limit", "from 1 to 1000000"),
        ({"rate_limit": "5/500ms"}, "rate_limit", "from 1s to 1d"),
    ],
)
async def test_what_is_wrong_is_named_and_changes_nothing(desk, wanted, parameter, words):
    with pytest.raises(InvalidError, match=words) as caught:
        await desk.make(**{"name": "Screen", **wanted})
    assert caught.value.parameter == parameter
    assert await desk.rows() == []


async def test_live_keys_have_names_of_their_own(desk):
    first, _ = await desk.make("Screen")
    with pytest.raises(ConflictError, match=f"a key named 'screen' already exists \\({first.id}\\)"):
        await desk.make("screen ")
    await desk.revoke(first)
    second, _ = await desk.make("Screen", expires="1h")
    desk.now += timedelta(hours=2)
    await desk.make("Screen")
    states = {row["id"]: keys.document(row, stamp(desk.now))["state"] for row in await desk.rows()}
    assert sorted(states.values()) == ["expired", "live", "revoked"]
    assert (states[first.id], states[second.id]) == ("revoked", "expired")


async def test_the_number_of_keys_is_bounded(desk, monkeypatch):
    monkeypatch.setattr(keys, "MAX_KEYS", 2)
    await desk.make("A")
    await desk.make("B")
    with pytest.raises(ConflictError, match="limit of 2 keys"):
        await desk.make("C")


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("90d", "2026-06-02T02:41:09.000Z"),
        ("1h30m", "2026-03-04T04:11:09.000Z"),
        ("2026-03-04", "2026-03-05T00:00:00.000Z"),
        ("2027-01-31T12:00:00+01:00", "2027-01-31T11:00:00.000Z"),
        ("2027-01-31T12:00:00", "2027-01-31T12:00:00.000Z"),
    ],
)
async def test_an_end_is_a_span_a_last_day_or_a_time(desk, text, at):
    key, token = await desk.make(expires=text)
    assert key.expires_at == at
    desk.now = datetime.fromisoformat(at) - timedelta(milliseconds=1)
    assert desk.admit(f"Bearer {token}").key_id == key.id
    desk.now = datetime.fromisoformat(at)
    assert desk.refused(f"Bearer {token}").slug == "key-expired"


# --- coming in ---


async def test_a_browser_sends_the_key_as_a_password(desk):
    key, token = await desk.make()
    for user in ("", "anna", "ännä"):
        assert desk.admit(_basic(user, token)).key_id == key.id
    assert desk.admit(f"bearer  {token} ").key_id == key.id
    assert desk.refused(_basic(token, "")).slug == "key-unknown"


async def test_who_brings_no_key_is_told_that_one_is_needed_unless_none_is(desk):
    error = desk.refused()
    assert (error.status, error.slug, error.headers) == (401, "key-missing", {"www_authenticate": BEARER_CHALLENGE})
    desk.gate.required = False
    assert desk.admit() is UNRESTRICTED
    assert desk.refused("Bearer fxd_x").slug == "key-unknown"  # a wrong one is wrong all the same


async def test_why_a_key_opens_nothing_is_told_to_its_owner_alone(desk):
    key, token = await desk.make()
    await desk.revoke(key)
    assert desk.refused(f"Bearer {token}").slug == "key-revoked"
    forged = token[:-1] + ("a" if token[-1] != "a" else "b")
    assert desk.refused(f"Bearer {forged}").slug == "key-unknown"
    with pytest.raises(NotFoundError):
        await desk.revoke(StoredKey("nokeyhas", "x", "[]", None, None, "", "", None))


@pytest.mark.parametrize(
    "headers",
    [
        ("",), ("Bearer",), ("Bearer ",), ("Bearer fxd_abc",), ("Basic",), ("Basic !!!",), ("Basic YWJj",), ("Digest x",),
        ("Bearer " + "x" * 100_000,), ("Basic " + "A" * 100_000,), ("Bearer fxd_\0",), ("Bearer fxd_é",),
        ("Bearer \udcff\udcfe",), ("Basic /////w==",), ("Bearer fxd_aaaaaaaa_" + "a" * 43,),
    ],
)  # fmt: skip
async def test_whatever_is_no_key_is_refused_without_repeating_it(desk, headers):
    error = desk.refused(*headers)
    assert (error.status, error.slug) == (401, "key-unknown")
    assert len(str(error)) < 100


async def test_two_keys_are_none(desk):
    _, token = await desk.make()
    assert desk.refused(f"Bearer {token}", f"Bearer {token}").slug == "key-unknown"


async def test_wrong_keys_are_slowed_down_and_right_ones_from_there_are_not(desk):
    _, token = await desk.make()
    slugs = [desk.refused("Bearer fxd_wrong").slug for _ in range(25)]
    assert slugs == ["key-unknown"] * 20 + ["too-many-invalid-keys"] * 5
    assert desk.refused("Bearer fxd_wrong").status == 429
    assert desk.admit(f"Bearer {token}").name == "Screen"


async def test_who_comes_without_a_key_is_no_failure(desk):
    assert {desk.refused().slug for _ in range(50)} == {"key-missing"}


@given(st.text(max_size=80), st.sampled_from(["", "Bearer ", "Basic ", "bearer fxd_", "Basic Zm9v"]))
def test_any_header_is_let_in_or_refused(text, start):
    gate = KeyAuthenticator(Signer(b"x" * 32), None, required=True)
    with pytest.raises(RefusedError):
        gate.authenticate(CIMultiDict(Authorization=start + text), NOW, HERE)


# --- calendars ---


async def test_a_calendar_has_a_token_that_ends_with_its_key(desk):
    key, token = await desk.make("Screen", "admin")
    feed = desk.gate.feed_token(key.id)
    assert token not in feed
    viewer = desk.gate.authenticate_feed(feed, NOW, HERE)
    assert (viewer.key_id, viewer.scopes) == (key.id, {"read"})
    assert desk.refused(f"Bearer {feed}").slug == "key-unknown"
    await desk.revoke(key)
    with pytest.raises(RefusedError, match="revoked"):
        desk.gate.authenticate_feed(feed, NOW, HERE)


@pytest.mark.parametrize("change", [lambda t: t[:-1], lambda t: t + "A", lambda t: t[:-2] + "..", lambda t: "", lambda t: "fxc_zzzzzzzz" + t[12:], lambda t: t + "\n", lambda t: "é" * 45])  # fmt: skip
async def test_a_forged_token_opens_no_calendar(desk, change):
    key, _ = await desk.make()
    with pytest.raises(RefusedError) as caught:
        desk.gate.authenticate_feed(change(desk.gate.feed_token(key.id)), NOW, HERE)
    assert caught.value.slug == "key-unknown"


async def test_the_tokens_of_calendars_last_longer_than_the_daemon(tmp_path, clock):
    async with Database.open(tmp_path / "data") as db:
        key, _ = await (desk := Desk(db, await KeyAuthenticator.open(db, clock, required=True))).make()
        feed = desk.gate.feed_token(key.id)
    async with Database.open(tmp_path / "data") as db:
        gate = await KeyAuthenticator.open(db, clock, required=True)
        assert gate.feed_token(key.id) == feed
        assert gate.authenticate_feed(feed, NOW, HERE).key_id == key.id
    async with Database.open(tmp_path / "other") as db:
        assert (await KeyAuthenticator.open(db, clock, required=True)).feed_token(key.id) != feed


# --- uses ---


async def test_uses_are_counted_and_written_together(desk):
    key, token = await desk.make()
    for _ in range(3):
        desk.admit(f"Bearer {token}")
    desk.now += timedelta(minutes=1)
    desk.gate.authenticate_feed(desk.gate.feed_token(key.id), desk.now, HERE)
    desk.refused("Bearer nonsense")
    assert desk.gate.usage.keys.pending(key.id) == (stamp(desk.now), 4)
    assert [row["uses"] for row in await desk.rows()] == [0]
    await desk.gate.usage.flush()
    await desk.gate.usage.flush()
    assert [(row["uses"], row["last_used_at"]) for row in await desk.rows()] == [(4, stamp(desk.now))]
    assert desk.gate.usage.keys.pending(key.id) is None


async def test_uses_that_the_disk_refuses_are_kept_for_later(desk, monkeypatch):
    key, token = await desk.make()
    desk.admit(f"Bearer {token}")
    with monkeypatch.context() as patched:

        async def refuse(work):
            desk.admit(f"Bearer {token}")  # meanwhile
            raise UnavailableError("the disk is full")

        patched.setattr(desk.db, "write", refuse)
        await desk.gate.usage.flush()
    assert desk.gate.usage.keys.pending(key.id) == (stamp(NOW), 2)
    await desk.gate.usage.flush()
    assert [row["uses"] for row in await desk.rows()] == [2]


def test_put_back_keeps_the_later_time():
    tally = UsageCounter()
    tally.record("a", NOW + timedelta(hours=1))
    tally.restore([("a", stamp(NOW), 3), ("b", stamp(NOW), 1)])
    assert tally.pending("a") == (stamp(NOW + timedelta(hours=1)), 4)
    assert tally.pending("b") == (stamp(NOW), 1)


async def test_no_secret_reaches_the_log(desk, caplog):
    caplog.set_level(logging.DEBUG)
    _, token = await desk.make()
    desk.admit(f"Bearer {token}")
    desk.refused(f"Bearer {token[:-1]}")
    assert token[:-1] not in caplog.text

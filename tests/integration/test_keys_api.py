"""Keys and share links over HTTP: made on the control socket, asked for over the network."""

import json
from contextlib import asynccontextmanager

import aiohttp
import pytest

from flexportd.core.access import keys, shares
from flexportd.errors import RefusedError
from flexportd.settings import Settings
from tests import events
from tests.under_test import start

ACME = {"_object": "/company_entity", "id": 1, "name": "Acme GmbH", "ref": "x"}


class Office:
    """A daemon where keys are needed, and its control socket, where none is."""

    def __init__(self, under_test, control):
        self.daemon = under_test
        self.control = control

    async def ask(self, method, path, body=None, status=200, token=None, **headers):
        """Over the network, or by the control socket with `token="local"`."""
        http, url = (self.control, "http://local") if token == "local" else (self.daemon.http, self.daemon.url)
        if token not in (None, "local"):
            headers["Authorization"] = f"Bearer {token}"
        async with http.request(method, url + path, json=body, headers=headers) as answer:
            text = await answer.text()
            assert answer.status == status, text
            self.headers = answer.headers
            return json.loads(text)

    async def key(self, name="Screen", **more):
        return await self.ask("POST", "/api/v1/keys", {"name": name, **more}, 201, "local")

    async def share(self, status=201, **more):
        return await self.ask("POST", "/api/v1/shipments/910233/shares", more or None, status, "local")


@asynccontextmanager
async def _office(settings, clock):
    connector = aiohttp.UnixConnector(str(settings.storage.control_socket))
    async with start(settings, clock) as under_test, aiohttp.ClientSession(connector=connector) as control:
        yield Office(under_test, control)


@pytest.fixture
def settings(tmp_path):
    return Settings.for_tests(
        tmp_path, **{"api.require_key": True, "server.public_url": "https://freight.example.com/"}
    )  # fmt: skip


@pytest.fixture
async def office(settings, clock):
    async with _office(settings, clock) as office:
        await office.daemon.receive(
            events.event(events.shipment()), events.event(events.shipment(910_234, consignees=[ACME]))
        )
        await office.daemon.settled()
        yield office


# --- keys ---


async def test_a_key_is_good_at_once_until_it_is_revoked(office):
    made = await office.key(scope="read", expires="90d", rate_limit="5/1m")
    assert office.headers["Location"] == f"/api/v1/keys/{made['id']}"
    assert office.headers["Cache-Control"] == "no-store"
    assert (made["state"], made["scopes"], made["uses"], made["created_by"]) == ("live", ["read"], 0, "local")
    assert made["calendar_url"] == f"https://freight.example.com{made['calendar_path']}"
    assert (await office.ask("GET", "/api/v1/shipments", token=made["token"]))["data"]
    assert office.headers["RateLimit-Policy"] == '"default";q=5;w=60'
    assert office.headers["RateLimit"] == '"default";r=4;t=12'
    shown = await office.ask("GET", f"/api/v1/keys/{made['id']}", token="local")
    assert shown["uses"] == 1
    assert "token" not in shown
    for _ in range(2):
        gone = await office.ask("DELETE", f"/api/v1/keys/{made['id']}", token="local")
        assert gone["state"] == "revoked"
    problem = await office.ask("GET", "/api/v1/shipments", None, 401, made["token"])
    assert problem["type"] == "urn:flexportd:problem:key-revoked"
    assert office.headers["WWW-Authenticate"] == 'Bearer realm="flexportd"'


async def test_keys_and_links_are_in_the_audit_log_without_their_tokens(office):
    admin = await office.key("Ana", scope="admin")
    share = await office.share(expires="7d")
    for path, token in ((f"shares/{share['id']}", admin["token"]), (f"keys/{admin['id']}", "local")):
        for _ in range(2):  # the second time changes nothing
            await office.ask("DELETE", f"/api/v1/{path}", token=token)
    await office.ask("DELETE", "/api/v1/keys/nobody", None, 404, "local")
    entries = (await office.ask("GET", "/api/v1/audit", token="local"))["data"]
    assert [(one["actor"], one["action"], one["subject"]) for one in reversed(entries)] == [
        ("local", "key.create", f"key {admin['id']}"),
        ("local", "share.create", f"share link {share['id']}"),
        ("Ana", "share.revoke", f"share link {share['id']}"),
        ("local", "key.revoke", f"key {admin['id']}"),
    ]
    assert entries[-1]["detail"] == "Ana: scope admin"
    assert admin["token"] not in json.dumps(entries)
    assert share["path"] not in json.dumps(entries)


async def test_only_an_administrator_sees_and_makes_keys(office, clock):
    tokens = {}
    for scope in ("read", "write", "admin"):
        tokens[scope] = (await office.key(scope, scope=scope))["token"]
        clock.turn(milliseconds=1)  # two keys of the same millisecond may be listed in any order
    for scope in ("read", "write"):
        for method, path, body in (
            ("GET", "/api/v1/keys", None), ("POST", "/api/v1/keys", {"name": "x"}), ("DELETE", "/api/v1/keys/x", None),
        ):  # fmt: skip
            problem = await office.ask(method, path, body, 403, tokens[scope])
            assert problem["type"] == "urn:flexportd:problem:insufficient-scope"
    made = await office.ask("POST", "/api/v1/keys", {"name": "by admin"}, 201, tokens["admin"])
    assert made["created_by"] == "admin"
    listed = await office.ask("GET", "/api/v1/keys?sort=created_at&revoked=false", token=tokens["admin"])
    assert [row["name"] for row in listed["data"]] == ["read", "write", "admin", "by admin"]
    assert not [row for row in listed["data"] if "token" in row or "hash" in row]
    await office.ask("GET", "/api/v1/keys", None, 401)


async def test_a_key_for_some_shipments_says_how_many_there_are(office):
    assert (await office.key("A", consignees=["acme gmbh"]))["shipments"] == 1
    made = await office.key("B", metadata={"PO #": ["4471"]})
    assert (made["shipments"], made["metadata"]) == (2, {"PO #": ["4471"]})
    assert (await office.key("C"))["shipments"] is None


async def test_keys_are_listed_page_by_page(office):
    for number in range(5):
        await office.key(f"key {number}")
    names, cursor = [], ""
    while cursor is not None:
        page = await office.ask("GET", f"/api/v1/keys?limit=2{cursor}", token="local")
        names += [row["name"] for row in page["data"]]
        cursor = page["next"] and f"&cursor={page['next']}"
    assert sorted(names) == [f"key {number}" for number in range(5)]
    found = await office.ask("GET", "/api/v1/keys?name=KEY%203", token="local")
    assert [row["name"] for row in found["data"]] == ["key 3"]


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": " "}, "name"),
        ({"name": "x" * 81}, "name"),
        ({"name": "x", "scope": "root"}, "scope"),
        ({"name": "x", "scope": "write", "consignees": ["a"]}, "scope"),
        ({"name": "x", "expires": "2020-01-01"}, "expires"),
        ({"name": "x", "consignees": []}, "consignees"),
        ({"name": "x", "metadata": {"a": ["b"], "c": ["d"]}}, "metadata"),
        ({"name": "x", "metadata": {"a": "b"}}, "metadata"),
        ({"name": "x", "rate_limit": "many"}, "rate_limit"),
        ({"name": "x", "colour": "blue"}, "colour"),
    ],
)
async def test_what_is_wrong_with_a_key_is_named(office, body, parameter):
    problem = await office.ask("POST", "/api/v1/keys", body, 400, "local")
    assert parameter in problem["parameter"]
    assert (await office.ask("GET", "/api/v1/keys", token="local"))["data"] == []


async def test_a_name_in_use_is_a_conflict(office):
    await office.key("Screen")
    problem = await office.ask("POST", "/api/v1/keys", {"name": "screen"}, 409, "local")
    assert "Screen" not in problem["type"]
    await office.ask("DELETE", "/api/v1/keys/nosuchid", None, 404, "local")


async def test_uses_and_views_outlive_the_daemon(settings, clock):
    async with _office(settings, clock) as office:
        await office.daemon.receive(events.event(events.shipment()))
        await office.daemon.settled()
        key, share = await office.key(), await office.share()
        await office.ask("GET", "/api/v1/shipments", token=key["token"])
        await office.ask("GET", share["path"].replace("/s/", "/api/v1/shared/"))
    async with _office(settings, clock) as office:
        assert (await office.ask("GET", f"/api/v1/keys/{key['id']}", token="local"))["uses"] == 1
        assert (await office.ask("GET", f"/api/v1/shares/{share['id']}", token="local"))["views"] == 1
        await office.ask("GET", "/api/v1/shipments", token=key["token"])  # and so do the keys themselves
        await office.ask("GET", share["path"].replace("/s/", "/api/v1/shared/"))


# --- share links ---


async def test_a_link_shows_its_shipment_to_anybody_until_it_is_revoked(office):
    share = await office.share(expires="7d", label="Acme")
    assert share["url"] == f"https://freight.example.com{share['path']}"
    path = share["path"].replace("/s/", "/api/v1/shared/")
    for _ in range(2):
        seen = await office.ask("GET", path)
        assert (seen["shipment"]["id"], seen["expires_at"]) == ("910233", share["expires_at"])
    text = json.dumps(seen)
    assert "Example Imports" not in text
    assert "4471" in text
    assert (await office.ask("GET", f"/api/v1/shares/{share['id']}", token="local"))["views"] == 2
    gone = await office.ask("DELETE", f"/api/v1/shares/{share['id']}", token="local")
    assert (gone["state"], gone["path"], gone["url"]) == ("revoked", None, None)
    problem = await office.ask("GET", path, None, 410)
    assert problem["type"] == "urn:flexportd:problem:share-revoked"


async def test_a_link_ends_with_the_key_that_made_it(office, clock):
    maker = await office.key("Maker", scope="write", expires="1d")
    other = await office.key("Other", scope="write")

    async def link(token):
        made = await office.ask("POST", "/api/v1/shipments/910233/shares", None, 201, token)
        return made["id"], made["path"].replace("/s/", "/api/v1/shared/")

    of_maker, of_other, of_nobody = [await link(token) for token in (maker["token"], other["token"], "local")]
    clock.turn(days=2)  # a key that expires is no reason to distrust its links: they have an end of their own
    await office.ask("GET", of_maker[1])
    await office.ask("DELETE", f"/api/v1/keys/{maker['id']}", token="local")
    for path in (of_maker[1], of_maker[1].replace("/api/v1/shared/", "/s/")):
        async with office.daemon.http.get(office.daemon.url + path) as answer:
            assert answer.status == 410, path
    assert (await office.ask("GET", f"/api/v1/shares/{of_maker[0]}", token="local"))["state"] == "revoked"
    for _, path in (of_other, of_nobody):
        await office.ask("GET", path)


async def test_a_revoked_key_makes_no_link_any_more(office, clock):
    maker = await office.key("Maker", scope="write")
    viewer = keys.principal(await office.daemon.daemon.db.read(lambda tx: keys.get_key(tx, maker["id"])))
    await office.ask("DELETE", f"/api/v1/keys/{maker['id']}", token="local")
    with pytest.raises(RefusedError, match="revoked"):  # a request that was let in just before
        await office.daemon.daemon.db.write(
            lambda tx: shares.create(tx, 910_233, shares.NewShare(), viewer, clock.now())
        )


async def test_a_link_ends_by_itself(office, clock):
    share = await office.share()
    clock.turn(days=30)
    path = share["path"].replace("/s/", "/api/v1/shared/")
    problem = await office.ask("GET", path, None, 410)
    assert problem["type"] == "urn:flexportd:problem:share-expired"
    await office.ask("GET", path[:-1] + ("A" if path[-1] != "A" else "B"), None, 404)
    await office.ask("GET", "/api/v1/shared/fxs_", None, 404)


async def test_links_are_made_by_those_who_may_write(office):
    read = (await office.key("read"))["token"]
    write = (await office.key("write", scope="write"))["token"]
    await office.ask("POST", "/api/v1/shipments/910233/shares", {}, 403, read)
    await office.ask("GET", "/api/v1/shares", None, 403, read)
    share = await office.ask("POST", "/api/v1/shipments/FLEX-910233/shares", {}, 201, write)
    assert share["created_by"] == "write"
    other = await office.ask("POST", "/api/v1/shipments/910234/shares", {}, 201, write)
    listed = await office.ask("GET", "/api/v1/shares?shipment=910234", token=write)
    assert [row["id"] for row in listed["data"]] == [other["id"]]
    assert len((await office.ask("GET", "/api/v1/shares", token=write))["data"]) == 2


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        ({"expires": "2y"}, "expires"),
        ({"expires": "366d"}, "expires"),
        ({"label": "x" * 121}, "label"),
        ({"to": "x"}, "to"),
    ],
)
async def test_what_is_wrong_with_a_link_is_named(office, body, parameter):
    problem = await office.ask("POST", "/api/v1/shipments/910233/shares", body, 400, "local")
    assert parameter in problem["parameter"]
    await office.ask("POST", "/api/v1/shipments/1/shares", {}, 404, "local")


async def test_no_token_is_logged(office, capfd):
    access = office.daemon.daemon.security.access_log
    access.enabled = True
    key, share = await office.key(), await office.share()
    await office.ask("GET", "/api/v1/shipments", token=key["token"])
    await office.ask("GET", share["path"].replace("/s/", "/api/v1/shared/"))
    await access.flush()
    said = "".join(capfd.readouterr())
    assert "/api/v1/shared/***" in said
    assert key["token"] not in said
    assert share["path"].rpartition("/")[2] not in said


async def test_a_customers_key_learns_no_word_of_anothers_shipments(office):
    await office.daemon.receive(
        events.event(events.shipment(2, status="beamed_up")),
        events.event(events.shipment(3, status="held_for_acme", consignees=[ACME])),
    )
    await office.daemon.settled()
    token = (await office.key("Acme", scope="read", consignees=["Acme GmbH"]))["token"]
    path = "/api/v1/shipments?status="
    assert len((await office.ask("GET", path + "held_for_acme", token=token))["data"]) == 1
    told = await office.ask("GET", path + "beamed_up", status=400, token=token)
    assert told["detail"] == (await office.ask("GET", path + "beamed_ux", status=400, token=token))["detail"].replace(
        "beamed_ux", "beamed_up"
    )

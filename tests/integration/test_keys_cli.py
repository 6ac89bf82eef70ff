"""`flexportd keys` and `flexportd shares`, against a daemon of their own."""

import re
import urllib.request

import pytest

from flexportd.cli.commands.webhook import SHIPMENT
from tests.integration.test_cli_daemon import Place


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    place = Place(tmp_path_factory.mktemp("keys"))
    place.run("init", "--data-dir", "data", "--listen", "127.0.0.1:0")
    place.environ |= {"FLEXPORTD_API__REQUIRE_KEY": "true"}
    with place.started("serve") as (process, _, err):
        err.until('"daemon_started"')
        place.run("webhook", "send", "--example")
        for _ in range(50):  # each look takes as long as a process does
            if place.json("shipments", "list")["data"]:
                break
        yield place
        assert place.interrupt(process) == 0


def test_a_key_is_printed_alone_and_listed_and_revoked_by_name(here):
    made = here.run("keys", "create", "Warehouse screen", "--scope", "read", "--expires", "90d")
    token = made.stdout.strip()
    assert made.stdout == f"{token}\n"
    assert token.startswith("fxd_")
    assert token not in made.stderr
    for part in ("Warehouse screen", "scope read, expires ", "shown only once", "Calendar: http://127.0.0.1:"):
        assert part in made.stderr
    listed = here.run("keys", "list").stdout
    assert "Warehouse screen" in listed
    assert "everything" in listed
    assert token.rpartition("_")[2] not in listed
    assert "revoked" in here.run("keys", "revoke", "warehouse screen").stdout
    assert "Warehouse screen" not in here.run("keys", "list").stdout
    assert "Warehouse screen" in here.run("keys", "list", "--revoked").stdout
    again = here.run("keys", "revoke", "nobody", code=4)
    assert "No key has the ID or name 'nobody'" in again.stderr


def test_a_key_for_a_customer(here):
    made = here.run("keys", "create", "Acme", "--scope", "read", "--consignee", "Acme GmbH", "--consignee", "Acme Ltd")
    assert "It currently gives access to 0 shipments: consignee Acme GmbH, Acme Ltd." in made.stderr
    assert "consignee Acme GmbH, Acme Ltd" in here.run("keys", "list", "--all").stdout
    made = here.json("keys", "create", "Team", "--scope", "read", "--metadata", "team=a", "--metadata", "team=b=c")
    assert made["metadata"] == {"team": ["a", "b=c"]}
    assert here.run("keys", "revoke", made["id"], "--json").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("X", "--scope", "root"), 2, "'root' is not one of"),
        ((), 2, "Missing argument 'NAME'"),
        (("X", "--scope", "all"), 2, "'all' is not one of 'read', 'write', 'admin'"),
        (("X", "--scope", "read", "--metadata", "team"), 2, "expected KEY=VALUE"),
        (("X", "--scope", "read", "--expires", "soon"), 2, "allowed is a duration"),
        (("X", "--scope", "write", "--consignee", "A"), 2, "only have the scope read"),
        (("", "--scope", "read"), 2, "name"),
        (("X", "--scope", "read", "--rate-limit", "fast"), 2, "expected a rate such as"),
    ],
)
def test_what_is_wrong_with_a_key_is_said(here, arguments, code, words):
    assert words in here.run("keys", "create", *arguments, code=code).stderr


def test_a_link_is_printed_alone_and_listed_and_revoked(here):
    made = here.run("shares", "create", f"FLEX-{SHIPMENT}", "--expires", "7d", "--label", "Acme")
    url = made.stdout.strip()
    assert re.fullmatch(r"http://127\.0\.0\.1:[1-9]\d+/s/fxs_\S+", url)
    with urllib.request.urlopen(url) as page:
        assert page.status == 200
    assert "set [server] public_url" in made.stderr
    assert f"shows shipment {SHIPMENT} until " in made.stderr
    (row,) = here.json("shares", "list", "--shipment", str(SHIPMENT))["data"]
    assert row["label"] == "Acme"
    assert "Acme" in here.run("shares", "list").stdout
    assert "revoked" in here.run("shares", "revoke", row["id"]).stdout
    assert here.run("shares", "list").stdout == "No links.\n"
    here.run("shares", "revoke", "nosuchid", code=4)
    here.run("shares", "create", "1", code=4)

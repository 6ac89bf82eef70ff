"""`flexportd products|invoices|... list|show|refresh` against a running daemon that mirrors a small Flexport."""

import asyncio
import json

import pytest

from flexportd.cli.main import run
from flexportd.cli.resource_specs import RESOURCES
from flexportd.core.resources.registry import Registry
from tests.events import shipment
from tests.odd_events import followed
from tests.small_flexport import SmallFlexport, mirroring, one_of_each
from tests.wire_goods import invoice, product
from tests.wire_orders import document

REGISTRY = Registry()
WORDS = {
    ("commercial-invoices", "status"): "digitization_status",
    ("customs-entries", "state"): "release_state",
    ("customs-entries", "status"): "release_status",
    ("documents", "type"): "document_type",
}


class Terminal:
    """Commands as a person types them, in a thread beside the daemon."""

    def __init__(self, folder, capsys):
        self._config = folder / "flexportd.toml"
        self._config.write_text(
            f'[storage]\ndata_dir = "{folder}/data"\ncontrol_socket = "{folder}/control.sock"\n', encoding="utf-8"
        )
        self._capsys = capsys

    async def run(self, *arguments, code=0):
        """(standard output, standard error)."""
        self._capsys.readouterr()
        found = await asyncio.to_thread(run, ["--config", str(self._config), *arguments])
        said = self._capsys.readouterr()
        assert found == code, (arguments, said)
        return said.out, said.err

    async def said(self, *arguments, code=0):
        return (await self.run(*arguments, code=code))[0]

    async def json(self, *arguments):
        return json.loads(await self.said(*arguments, "--json"))


@pytest.fixture
async def small():
    return SmallFlexport(*one_of_each(), document("--x", memo="two dashes"), document("-h", memo="like help"))


@pytest.fixture
async def daemon(small, tmp_path, clock):
    async with mirroring(small, tmp_path, clock) as found:
        yield found


@pytest.fixture
def terminal(tmp_path, capsys):
    return Terminal(tmp_path, capsys)


async def test_every_resource_is_listed_and_shown_in_words_and_as_json(daemon, terminal):
    for resource in RESOURCES:
        api = await daemon.get(f"/{resource.route}")
        assert await terminal.json(resource.route, "list") == api
        row = api["data"][-1]
        listed = await terminal.said(resource.route, "list", "--all", "--no-removed")
        assert len(listed.splitlines()) == len(api["data"]) + 1
        assert str(row["id"]) in listed
        assert "DELETED" not in listed
        assert json.loads(await terminal.said(resource.route, "show", "--json", "--", str(row["id"]))) == row
        shown = await terminal.said(resource.route, "show", "--", str(row["id"]))
        assert shown.splitlines()[0].split() == [*resource.label.split(), *str(row["id"]).split()]
        assert "data as of" in shown
        assert "{" not in shown


async def test_every_filter_is_taken(daemon, terminal):
    examples = {"text": "x", "substring": "x", "id": "7", "time": "2026-03-04", "day": "2026-03-04"}
    for resource in RESOURCES:
        options = []
        for name, takes, _ in resource.filters:
            option = name.replace("_", "-")
            if takes == "words":
                domain = REGISTRY[resource.route.replace("-", "_")]
                known = domain.known_values(WORDS.get((resource.route, name), name))
                options += [f"--{option}", ",".join(known[:2])]
            else:
                options += [f"--{option}"] if takes == "boolean" else [f"--{option}", examples[takes]]
        for sort in resource.sorts:
            found = await terminal.said(resource.route, "list", *options, "--sort", f"-{sort}", "--limit", "3")
            assert found == f"No {resource.route.replace('-', ' ')}.\n"


async def test_a_filter_filters_and_a_bad_one_is_wrong_usage(daemon, terminal):
    assert "FLEX-910233-1" in await terminal.said("invoices", "list", "--open", "--shipment", "FLEX-910233")
    assert await terminal.said("invoices", "list", "--no-open") == "No invoices.\n"
    _, told = await terminal.run("invoices", "list", "--due-before", "soon", code=2)
    assert "due_before is 'soon'" in told
    _, told = await terminal.run("products", "list", "--colour", "red", code=2)
    assert "--colour" in told


async def test_what_is_shown_reads_well(daemon, terminal):
    shown = await terminal.said("invoices", "show", "gwdpaYrhTI-T1ljn1M7o7w")
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    for line in ("total 612.14 USD", "due date 2026-03-31", "issued 2026-03-01 09:00Z", "recipient Example Imports"):
        assert line in lines
    place = lines.index("Items")
    assert lines[place + 1].split()[:3] == ["NAME", "AMOUNT", "CATEGORY"]
    assert "Fuel Surcharge" in shown
    assert "112.14 USD" in shown
    shown = await terminal.said("containers", "show", "555001")
    assert "CSQU3054383" in shown
    shown = await terminal.said("legs", "show", "8800412")
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert "estimated departure 2026-03-03" in lines  # noon at its place: a day
    shown = await terminal.said("bookings", "show", "31001")
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert "weight 10000 kg" in lines


async def test_an_id_may_begin_with_a_dash(daemon, terminal):
    for arguments in (("-Zz58WVXSuGn6xmLLhYTKQ",), ("--", "-Zz58WVXSuGn6xmLLhYTKQ"), ("--json", "-Zz58WVXSuGn6xmLLhYTKQ"),
                      ("-Zz58WVXSuGn6xmLLhYTKQ", "--json")):  # fmt: skip
        assert "packing" in await terminal.said("documents", "show", *arguments)
    assert "two dashes" in await terminal.said("documents", "show", "--", "--x")
    assert "like help" in await terminal.said("documents", "show", "--", "-h")
    assert "Usage:" in await terminal.said("documents", "show", "-h")
    assert "is unchanged" in await terminal.said("documents", "refresh", "-Zz58WVXSuGn6xmLLhYTKQ")
    _, told = await terminal.run("documents", "show", "--jsno", code=2)
    assert "--jsno" in told
    _, told = await terminal.run("documents", "show", "-nothing", code=4)
    assert "There is no document '-nothing'" in told


async def test_what_is_not_there_exits_with_four(daemon, terminal):
    for key in ("999", "..", "a/b", "ü"):
        assert "product" in (await terminal.run("products", "show", key, code=4))[1]
    await terminal.run("legs", "show", "x", code=4)
    await terminal.run("products", "refresh", "999", code=4)


async def test_a_refresh_says_what_changed(daemon, small, terminal):
    assert await terminal.said("products", "refresh", "84291") == "Product 84291 is unchanged.\n"
    small.put(product(name="Adapter", archived_at="2026-03-04T00:00:00Z"))
    said = await terminal.said("products", "refresh", "84291")
    assert said.splitlines()[0] == "Product 84291 changed:"
    assert "AC Adapter 12V → Adapter" in said
    assert "none → 2026-03-04 00:00Z" in said
    small.put(product(name="Adapter", archived_at="2026-03-04T00:00:00Z", unknown_field=1))
    assert "Flexport's raw JSON" in await terminal.said("products", "refresh", "84291")
    small.put(product(9))
    assert await terminal.said("products", "refresh", "9") == "Product 9 was added.\n"
    small.take(product(9))
    assert "Product 9 was deleted at Flexport." in await terminal.said("products", "refresh", "9")
    assert "deleted at Flexport" in await terminal.said("products", "refresh", "9")
    listed = await terminal.said("products", "list")
    assert "DELETED AT FLEXPORT" in listed
    assert len((await terminal.json("products", "list", "--removed"))["data"]) == 1
    assert "deleted at Flexport" in await terminal.said("products", "show", "9")
    small.put(invoice(items=[]))
    assert "2 entries, now 0" in await terminal.said("invoices", "refresh", "gwdpaYrhTI-T1ljn1M7o7w")
    small.put(shipment(status="arrival_port", updated_at="2026-03-09T00:00:00Z"))
    assert "seller_location → arrival_port" in await terminal.said("shipments", "refresh", "FLEX-910233")
    assert (await terminal.json("shipments", "refresh", "910233"))["refresh"] == "unchanged"


async def test_a_refresh_that_flexport_refuses_fails_with_a_sentence(daemon, small, terminal):
    small.failing["/products"] = 403
    _, told = await terminal.run("products", "refresh", "84291", code=1)
    assert told == "flexportd: Flexport does not allow this account to do this (403: told so).\n"


async def test_shipments_that_are_gone_are_told_apart(daemon, small, terminal):
    small.take(shipment())
    await terminal.said("shipments", "refresh", "910233")
    assert "DELETED AT FLEXPORT" in await terminal.said("shipments", "list")
    assert await terminal.said("shipments", "list", "--no-removed") == "No shipments.\n"


async def test_the_resources_are_named(terminal):
    said = await terminal.said("resources")
    document = await terminal.json("resources")
    assert [row["command"] for row in document["data"]] == [one.route for one in RESOURCES]
    assert all(one.about in said for one in RESOURCES)


async def test_a_list_of_many_pages_is_whole_with_all(small, tmp_path, clock, terminal):
    for number in range(1, 120):
        small.put(product(number, sku=f"S{number}"))
    async with mirroring(small, tmp_path, clock):
        assert len((await terminal.json("products", "list", "--all"))["data"]) == 120
        _, told = await terminal.run("products", "list", "--limit", "2")
        assert "There are more rows" in told


TABLES = [
    *(f"{resource.route} list" for resource in RESOURCES),
    "shipments list", "jobs list", "sync runs", "events list", "exceptions list", "exceptions list --state all",
    "drift", "keys list", "shares list", "queue list", "dead list", "sync unreadable",
]  # fmt: skip


async def test_every_table_fits_and_keeps_its_ids_whole(daemon, terminal, monkeypatch):
    await daemon.call("/keys", {"name": "A name that is longer than anybody would give to a key", "scope": "read"}, 201)
    await daemon.call("/shipments/910233/shares", {"label": "For a customer with a name that is rather long"}, 201)
    await followed(daemon)  # exceptions open after the sync
    for command in TABLES:
        found = (await terminal.json(*command.split()))["data"]
        ids = [str(row.get("flex_id") or row.get("id") or row.get("object")) for row in found]
        piped = await terminal.said(*command.split())
        with monkeypatch.context() as patched:
            patched.setattr("sys.stdout.isatty", lambda: True, raising=False)
            patched.setenv("NO_COLOR", "1")
            for columns in (60, 80, 120):
                patched.setenv("COLUMNS", str(columns))
                out, noted = await terminal.run(*command.split())
                lines = out.splitlines()
                assert max(map(len, lines)) <= columns, (command, columns, out)
                assert len(lines) == max(1, len(found)) + bool(found), (command, columns)
                assert all(name in line for name, line in zip(ids, lines[1:], strict=False)), (command, columns, out)
                # What is not shown is named, and stands in the pipe.
                for title in noted.partition("width: ")[2].partition(".")[0].split(", "):
                    assert title.upper() in piped.splitlines()[0], (command, columns, noted)
        assert "…" not in piped

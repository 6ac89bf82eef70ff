"""The commands of resources: in step with the registry, quick to load, and words for whatever a document holds."""

import subprocess
import sys

import click
import pytest

from flexportd.cli import render
from flexportd.cli.columns import COLUMNS, columns_of
from flexportd.cli.main import root
from flexportd.cli.output import Output
from flexportd.cli.resource_specs import RESOURCES
from flexportd.core.resources.registry import Registry
from flexportd.expose import serialize
from flexportd.expose.api.resources import filters_of, list_definition

REGISTRY = Registry()
DOMAINS = {domain.route: domain for domain in REGISTRY if domain.name != "shipments"}


def test_every_resource_of_the_registry_has_its_commands():
    assert sorted(one.route for one in RESOURCES) == sorted(DOMAINS)
    for one in RESOURCES:
        group = root.commands[one.route]
        assert isinstance(group, click.Group)
        assert {"list", "show", "refresh"} <= set(group.commands)


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda one: one.route)
def test_the_catalogue_says_what_the_registry_says(resource):
    domain = DOMAINS[resource.route]
    assert resource.label == domain.label
    assert resource.sorts == list(list_definition(domain, REGISTRY).rules.sorts)
    wanted = {name: one.value_type for name, one in filters_of(domain, REGISTRY).items() if one.value_type}
    assert {name: value_type for name, value_type, _ in resource.filters} == wanted, "run 'make docs'"
    assert all(help_text.endswith(".") for _, _, help_text in resource.filters)


def test_every_column_shows_what_documents_have(capsys):
    assert set(COLUMNS) == set(DOMAINS)
    for route, domain in DOMAINS.items():
        nothing = dict.fromkeys(serialize.field_names(domain.table, domain.derived_value_names)) | {"id": 1}
        Output().table([nothing, nothing | {"removed_at": "2026-03-04T00:00:00.000Z"}], columns_of(route, [nothing]))
        assert "None" not in capsys.readouterr().out


@pytest.mark.parametrize(("valid", "shown"), [(False, "CSQU3054384 (not valid)"), (True, "CSQU3054384"), (None, "7")])
def test_a_wrong_container_number_is_marked(valid, shown):
    number = None if valid is None else "CSQU3054384"
    row = {"id": 7, "container_number": number, "container_number_valid": valid}
    (column,) = [one for one in COLUMNS["containers"] if one.title == "container"]
    assert column.value(row) == shown


def test_the_list_of_invoices_names_all_shipments():
    (column,) = [one for one in COLUMNS["invoices"] if one.title == "shipment"]
    assert column.value({"shipment_ids": [4, 5]}) == "FLEX-4, FLEX-5"
    assert column.value({"shipment_ids": []}) == ""


def test_a_resource_without_columns_shows_its_first_fields(capsys):
    rows = [{"id": 1, "a": "x", "b": None, "c": [1, 2], "d": {"unit": "kg", "value": 2}, "e": True, "f": "not shown"}]
    Output().table(rows, columns_of("novelties", rows))
    assert capsys.readouterr().out == "ID  A  B  C     D     E\n1   x     1, 2  2 kg  yes\n"
    assert [column.title for column in columns_of("novelties", [])] == ["id"]


MARKS = {
    "as_of": "2026-03-04T00:00:00.000Z",
    "source": "sync",
    "synced_at": "",
    "first_seen_at": "",
    "removed_at": None,
}


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"total_amount": "5", "total_currency": "USD"}, "total 5 USD"),
        ({"total_amount": "5", "total_currency": None}, "total 5"),
        ({"total_amount": None, "total_currency": "USD"}, ""),
        ({"arrival_at": "2026-03-04T04:00:00.000Z", "arrival_date": "2026-03-04", "day_only": ["arrival"]}, "arrival 2026-03-04"),
        ({"arrival_at": "2026-03-04T04:30:00.000Z", "arrival_date": "2026-03-04"}, "arrival 2026-03-04 04:30Z"),
        ({"release_date": "2026-03-04"}, "release date 2026-03-04"),
        ({"weight": {"unit": "kg", "value": 2.5}}, "weight 2.5 kg"),
        ({"sums": [{"amount": "1", "currency": "EUR"}, {"amount": "2", "currency": None}]}, "sums 1 EUR, 2"),
        ({"metadata": {"PO #": ["1", "2"], "x": None}}, "metadata PO #: 1, 2"),
        ({"verified": False}, "verified no"),
        ({"names": []}, ""),
        ({"name": "a\x1b[2J\u202e"}, "name a\\u001b[2J\\u202e"),
        ({"raw": {"id": 1}}, ""),
    ],
)  # fmt: skip
def test_every_kind_of_field_has_words(capsys, fields, told):
    render.show(Output(), {"id": 7, **MARKS, **fields}, "thing")
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "thing 7"
    assert [line for line in lines[1:] if not line.startswith(("data as of", "source"))] == ([told] if told else [])


def test_a_list_in_a_document_is_a_table_of_what_its_entries_tell(capsys):
    entries = [
        {"slug": "x", "name": "A", "fee_amount": "1", "fee_currency": "USD", "empty": None},
        {"name": "B", "codes": ["1"]},
    ]
    render.show(Output(), {"id": 7, **MARKS, "items": entries}, "thing")
    lines = capsys.readouterr().out.splitlines()
    assert lines[lines.index("Items") + 1 :] == [
        "NAME  SLUG  FEE    CODES",
        "A     x     1 USD",
        "B                  1",
    ]


def test_what_moved_is_told_field_by_field():
    before = {"id": 1, **MARKS, "status": "open", "total_amount": "5", "total_currency": "USD", "items": [{"a": 1}]}
    after = before | {"status": None, "total_amount": "6", "items": [], "as_of": "later", "new": True}
    assert render.diff(before, after) == [
        ("status", "open → none"),
        ("total", "5 USD → 6 USD"),
        ("items", "1 entries, now 0"),
        ("new", "none → yes"),
    ]


def test_commands_do_not_read_the_registry():
    code = (
        "import sys\n"
        "from flexportd.cli.main import run\n"
        "assert run(['invoices', 'list', '--help']) == 0\n"
        "heavy = {'aiohttp', 'pydantic', 'msgspec', 'flexportd.core', 'flexportd.settings'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False)
    assert (found.returncode, found.stderr) == (0, "")

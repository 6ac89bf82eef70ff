"""Lists as CSV and NDJSON: everything, once, in a form that is safe to open."""

import csv
import io
import json

import pytest

from flexportd.expose import export
from tests.events import event, shipment


@pytest.fixture
async def filled(daemon, monkeypatch):
    monkeypatch.setattr("flexportd.expose.lists.ROWS_AT_ONCE", 5)
    names = {3: "=1+1", 4: '"quoted", with comma', 5: "two\nlines", 6: "@x", 7: "-x\x00"}
    await daemon.receive(
        *(
            event(shipment(n, name=names.get(n, f"Order {n}"), transportation_mode="air" if n % 2 else "ocean"))
            for n in range(1, 24)
        )
    )
    await daemon.settled()
    return daemon


async def text(daemon, path, status=200):
    async with daemon.http.get(daemon.url + "/api/v1" + path) as answer:
        body = await answer.text()
        assert answer.status == status, body
        return answer.headers, body


async def test_csv_has_a_header_and_every_row_once(filled):
    headers, body = await text(filled, "/shipments?format=csv")
    assert headers["Content-Type"] == "text/csv; charset=utf-8"
    assert headers["Content-Disposition"] == 'attachment; filename="shipments.csv"'
    assert headers["X-Content-Type-Options"] == "nosniff"
    rows = list(csv.DictReader(io.StringIO(body, newline="")))
    assert [int(row["id"]) for row in rows] == list(range(23, 0, -1))
    assert rows[0]["house_bills"] == '["EXA1","EXA2"]'
    assert rows[0]["is_lcl"] == "false"


async def test_no_cell_is_a_formula(filled):
    _, body = await text(filled, "/shipments?format=csv&fields=id,name")
    found = {int(row["id"]): row["name"] for row in csv.DictReader(io.StringIO(body, newline=""))}
    assert (found[3], found[6], found[7]) == ("'=1+1", "'@x", "'-x\\u0000")
    assert (found[4], found[5]) == ('"quoted", with comma', "two\nlines")


async def test_ndjson_is_a_document_a_line(filled):
    headers, body = await text(filled, "/shipments?format=ndjson&mode=air&sort=id&include=raw&fields=id")
    assert headers["Content-Type"].startswith("application/x-ndjson")
    rows = [json.loads(line) for line in body.splitlines()]
    assert [row["id"] for row in rows] == list(range(1, 24, 2))
    assert rows[0]["raw"]["id"] == 1


@pytest.mark.parametrize(("limit", "count"), [(1, 1), (5, 5), (7, 7), (1000, 23)])
async def test_a_limit_limits_an_export_too(filled, limit, count):
    _, body = await text(filled, f"/shipments?format=ndjson&limit={limit}")
    assert len(body.splitlines()) == count


async def test_other_lists_export_too(filled):
    _, body = await text(filled, "/events?format=csv&fields=id,state")
    assert len(body.splitlines()) == 24
    _, body = await text(filled, "/shipments/1/history?format=ndjson")
    assert json.loads(body)["field"] == "id"
    assert (await text(filled, "/dead-letters?format=ndjson"))[1] == ""


async def test_an_unknown_form_is_an_error(filled):
    document = await filled.get("/shipments?format=xml", status=400)
    assert (document["parameter"], "csv" in document["detail"]) == ("format", True)


async def test_a_failure_on_the_way_cannot_be_taken_for_the_end(filled, monkeypatch):
    encoded, calls = export._encoded, []

    def fails(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("broken")
        return encoded(*arguments)

    monkeypatch.setattr(export, "_encoded", fails)
    import aiohttp

    with pytest.raises(aiohttp.ClientError):
        await text(filled, "/shipments?format=ndjson")

"""Lists as CSV and NDJSON: everything, once, in a form that is safe to open."""

import asyncio
import csv
import io
import json
import time

import msgspec
import pytest

from flexportd.errors import UnavailableError
from flexportd.expose.feeds import export
from flexportd.http.connections import Timeouts
from tests.events import event, shipment


@pytest.fixture
async def filled(daemon, monkeypatch):
    monkeypatch.setattr("flexportd.expose.api.list_endpoint.ROWS_AT_ONCE", 5)
    names = {3: "=1+1", 4: '"quoted", with comma', 5: "two\nlines", 6: "@x", 7: "-x\x00", 8: "00123", 9: "3E10"}
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


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        *(
            (text, f"'{text}")
            for text in ("=1", "+1", "@a", "-a", " =1", "\t=1", "\r\n=1", "\u3000=1", "\ufeff=1", "\uff1d1")
        ),
        *((text, f"'{text}") for text in ("\tx", "\nx", "\uff0b1", "\uff0d1", "\uff20a", "-1-1", "-", "--1")),
        *((text, text) for text in ("-12.50", "-1", "a=1", "1-2", " a", "", "x\ty", "\u8239=1", "(=1)")),
    ],
)
def test_what_a_spreadsheet_takes_for_a_formula_is_marked_as_text(value, shown):
    written = export.Export("csv", ("name",)).encode([{"name": value}]).decode()
    assert next(csv.reader(io.StringIO(written, newline=""))) == [shown]


def test_texts_and_ids_stand_in_quotation_marks_and_numbers_do_not():
    columns = ("id", "shipment_id", "name", "pieces", "is_lcl", "vessel", "tags", "weight")
    row = (910233, 7, "00123", 5, False, None, msgspec.Raw(b'["a","b"]'), {"value": 1.5})
    written = export.Export("csv", columns).encode([dict(zip(columns, row, strict=True))])
    assert written == b'"910233","7","00123",5,false,,"[""a"",""b""]","{""value"":1.5}"\r\n'


HARD = ("=1+1", "-a", "00123", 'a "b", c', "x\ny", " a ", "\u8239", "")


@pytest.mark.parametrize("value", HARD)
def test_raw_csv_gives_each_value_as_it_is(value):
    written = export.Export("csv-raw", ("id", "name")).encode([{"id": 910233, "name": value}]).decode()
    assert next(csv.reader(io.StringIO(written, newline=""))) == ["910233", value]


def test_raw_csv_has_quotation_marks_only_where_they_are_needed():
    columns = ("id", "name", "pieces", "is_lcl", "vessel", "tags")
    row = (910233, "=A1", 5, False, None, msgspec.Raw(b'["a","b"]'))
    written = export.Export("csv-raw", columns).encode([dict(zip(columns, row, strict=True))])
    assert written == b'910233,=A1,5,false,,"[""a"",""b""]"\r\n'


async def test_raw_csv_of_a_list_is_the_same_data_without_protection(filled):
    headers, body = await text(filled, "/shipments?format=csv-raw&fields=id,flex_id,removed_at&sort=id")
    assert 'filename="shipments.csv"' in headers["Content-Disposition"]
    assert body.splitlines()[:2] == ["id,flex_id,removed_at", "1,FLEX-1,"]


async def test_a_byte_order_mark_is_sent_on_request(filled):
    for query, begin in (("csv", b"id,"), ("csv-bom", b"\xef\xbb\xbfid,")):
        async with filled.http.get(f"{filled.url}/api/v1/shipments?format={query}&fields=id,name") as answer:
            assert (await answer.read()).startswith(begin)


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
    encode, calls = export.Export.encode, []

    def fails(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("broken")
        return encode(*arguments)

    monkeypatch.setattr(export.Export, "encode", fails)
    import aiohttp

    with pytest.raises(aiohttp.ClientError):
        await text(filled, "/shipments?format=ndjson")


async def test_a_reader_that_stands_still_is_cut_off_and_holds_up_nobody(filled, monkeypatch):
    pool = filled.daemon.connections.network
    pool.timeouts = Timeouts(write=0.2, check=0.05)
    much = b"x" * (4 << 20)  # more than what lies between takes
    monkeypatch.setattr(export.CsvRowWriter, "encode", lambda *_: much)
    host, _, port = filled.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    try:
        writer.write(b"GET /api/v1/shipments?format=csv HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
        assert await filled.get("/shipments?limit=1")  # the readers of the database are free
        async with asyncio.timeout(20):
            while not pool.closed["write_timeout"]:
                await filled.get("/shipments?limit=1")
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError, ValueError)):
                await reader.readexactly(100 << 20)
    finally:
        writer.close()


async def test_an_export_may_take_longer_than_other_answers(filled, monkeypatch):
    """Its reader sets the pace; only a page must come within the limit."""
    written = export.CsvRowWriter.encode

    def slowly(self, rows):
        time.sleep(0.1)
        return written(self, rows)

    monkeypatch.setattr("flexportd.expose.api.list_endpoint.ROWS_AT_ONCE", 2)
    monkeypatch.setattr("flexportd.expose.middleware.TIME_LIMIT", 1.0)
    monkeypatch.setattr(export.CsvRowWriter, "encode", slowly)
    _, body = await text(filled, "/shipments?format=csv&fields=id")
    assert len(body.splitlines()) == 24


async def test_what_is_wrong_with_a_list_is_told_before_an_export_begins(filled, monkeypatch):
    def fail(*_):
        raise UnavailableError("the disk is gone")

    monkeypatch.setattr(filled.daemon.db, "read", fail)
    problem = await filled.get("/shipments?format=csv", status=503)
    assert problem["detail"] == "the disk is gone"

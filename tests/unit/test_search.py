"""Search: any reference, or a part of it, however it is typed; the best first, by kind."""

import json
import unicodedata

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexportd.cli.commands import search as command
from flexportd.cli.output import Output
from flexportd.clock import Clock
from flexportd.core.search import fields as references
from flexportd.core.search import query
from flexportd.core.search.fields import KIND_NUMBERS, SEARCH_FIELDS
from flexportd.core.search.indexer import Indexer
from flexportd.core.search.normalise import MAX_LENGTH, locate, normalise
from flexportd.core.search.query import SearchResults, search, shipment_filters
from flexportd.storage import search_index as storage
from flexportd.storage.connection import open_writer
from flexportd.storage.database import Database
from flexportd.storage.migrate import migrate
from flexportd.storage.repositories.audiences import Audience
from flexportd.storage.search_index import FILTERS
from flexportd.storage.statements import queries
from tests.stored import AT, REGISTRY, put, record


class Searched:
    """A store with its index."""

    def __init__(self, db):
        self.db = db
        self.indexer = Indexer(db, REGISTRY, Clock())

    async def put(self, *records):
        await self.db.write(put(*records))
        await self.indexer.process()

    async def find(self, text, **asked):
        return await self.db.read(lambda tx: search(tx, text, **asked))

    async def ids(self, text, **asked):
        found = await self.find(text, **asked)
        return {group["kind"]: [hit["id"] for hit in group["hits"]] for group in found["data"]}

    async def shipments(self, text):
        def work(tx):
            filters = shipment_filters(tx, text)
            where = " AND ".join(FILTERS[name].condition for name in filters)
            values = [value for given_ in filters.values() for value in given_]
            rows = tx.raw.execute(f"SELECT id FROM shipments WHERE {where} ORDER BY id", values)
            return list(filters), [row[0] for row in rows]

        return await self.db.read(work)


@pytest.fixture
async def searched(tmp_path):
    async with Database.open(tmp_path / "data") as db:
        yield Searched(db)


# --- what is one text ---


@pytest.mark.parametrize(
    ("typed", "folded"),
    [
        ("MSCU 123456-7", "mscu1234567"),
        ("  po#4500/12.a ", "po450012a"),
        ("Müller & Søn, GmbH", "mullersøngmbh"),
        ("\uff21\uff22\uff11\uff12", "ab12"),
        ("ﬁne STRASSE Straße", "finestrassestrasse"),
        ("\"%_*'\\", ""),
        ("\0\n\t\u200b\ud800", ""),
        ("🚢 Ever", "🚢ever"),
        ("a+b=c", "a+b=c"),
        ("x" * 1000, "x" * MAX_LENGTH),
    ],
)
def test_what_people_type_in_different_ways_is_one_text(typed, folded):
    assert normalise(typed) == folded


@given(st.text())
def test_folding_twice_changes_nothing(value):
    once = normalise(value)
    assert normalise(once) == once
    assert not {unicodedata.category(char)[0] for char in once} & set("ZPCM")


@given(st.text(min_size=1, max_size=60), st.data())
def test_where_a_text_stands_is_told_in_the_value_itself(value, data):
    folded = normalise(value)
    first = data.draw(st.integers(0, max(0, len(folded) - 1)))
    sought = folded[first : data.draw(st.integers(first, len(folded)))]
    start, length = locate(value, sought)
    if sought:
        assert length > 0
        assert sought in normalise(value[start : start + length])
    else:
        assert (start, length) == (0, 0)


# --- what is found ---


@pytest.fixture
async def book(searched):
    await searched.put(
        record("shipments", 910233, name="Spring lamps", house_bills=["FLXT01234567A"], master_bill="MAEU111, MAEU222",
               carrier_booking_number="BK 9/7", it_number="IT-555", purchase_orders=["PO-4500123"], skus=["LAMP-1"],
               consignees=["Müller GmbH"], shippers=["Müller GmbH"],
               metadata={"Season": ["SS-26"], "PO": ["PO-4500123"], "n": 77012, "odd": [None, True, {"a": 1}]}),
        record("shipments", 910234),
        record("containers", 7, shipment_id=910233, container_number="MSCU1234567", seal_number="SEAL 88"),
        record("legs", 8, shipment_id=910233, tracking_number="1Z 999"),
        record("products", 9, name="Lamp", sku="LAMP-1"),
        record("invoices", "inv1", shipment_id=910233, name="FLEX-910233-1"),
        record("commercial_invoices", "ci1", shipment_id=910233, invoice_number="CI/2026/1", purchase_orders=["PO-4500123"]),
        record("customs_entries", "ce1", shipment_id=910233, entry_number="916-1234567-8", release_state="pending"),
        record("bookings", 33, name="Lamps by sea", flex_id="FLEX-910233", shipment_id=910233),
        record("purchase_orders", 44, name="PO-4500123"),
        record("purchase_order_line_items", 45, purchase_order_id=44, item_key="PO-4500123/10", sku="LAMP-1"),
        record("documents", "d1", shipment_id=910233, file_name="Packing list.pdf"),
        record("companies", "c1", name="Müller GmbH", vat_numbers=["DE123456789"]),
        record("company_entities", 51, name="Müller Trading GmbH"),
        record("contacts", "p1", name="Ada Byron", email="ada@example.com"),
        record("locations", "l1", name="Warehouse 9", ref="WH-9"),
        record("ports", "USLAX Los Angeles", name="Los Angeles", unlocode="USLAX"),
    )  # fmt: skip
    return searched


@pytest.mark.parametrize(
    ("text", "kind", "ids"),
    [
        ("spring", "shipment", [910233]),
        ("FLEX-910233", "shipment", [910233]),
        ("flex 910233", "shipment", [910233]),
        ("910233", "shipment", [910233]),
        ("10233", "shipment", [910233]),
        ("flxt-01234567a", "bill", [910233]),
        ("maeu222", "bill", [910233]),
        ("BK97", "booking", [910233]),
        ("555", "customs_entry", [910233]),
        ("PO 4500123", "po", [910233, 44, 45]),
        ("ss26", "shipment", [910233]),
        ("77012", "shipment", [910233]),
        ("mscu 123456-7", "container", [7]),
        ("CU1234", "container", [7]),
        ("seal88", "container", [7]),
        ("1z999", "leg", [8]),
        ("lamp1", "sku", [910233, 9]),
        ("910233-1", "invoice", ["inv1"]),
        ("ci 2026", "commercial_invoice", ["ci1"]),
        ("po4500123", "commercial_invoice", ["ci1"]),
        ("91612345678", "customs_entry", ["ce1"]),
        ("by sea", "booking", [33]),
        ("33", "booking", [33]),
        ("packing", "document", ["d1"]),
        ("muller", "company", [51, "c1"]),
        ("de123456789", "company", ["c1"]),
        ("ADA@example", "contact", ["p1"]),
        ("wh9", "location", ["l1"]),
        ("uslax", "port", ["USLAX Los Angeles"]),
        ("us", "port", ["USLAX Los Angeles"]),
        ("l", "port", ["USLAX Los Angeles"]),
    ],
)
async def test_every_reference_is_found_by_any_part_in_any_case(book, text, kind, ids):
    found = (await book.ids(text)).get(kind, [])
    assert sorted(map(str, found)) == sorted(map(str, ids))


async def test_a_hit_says_what_matched_and_where(book):
    await book.put(record("shipments", 910234, name="Autumn"))
    found = await book.find("cu 1234")
    assert found == {
        "query": "cu 1234",
        "data": [{
            "kind": "container", "has_more": False, "hits": [{
                "resource": "containers", "id": 7, "shipment_id": 910233, "title": "MSCU1234567",
                "field": "container_number", "value": "MSCU1234567", "match": "partial", "start": 2, "length": 6,
                "removed_at": None,
            }],
        }],
        "complete": True,
        "as_of": AT,
    }  # fmt: skip
    (group,) = (await book.find("ss 26"))["data"]
    assert (group["hits"][0]["field"], group["hits"][0]["match"]) == ("metadata.Season", "exact")
    (first, *_) = (await book.find("910233"))["data"]
    hit = first["hits"][0]
    assert (first["kind"], hit["match"], hit["value"], hit["start"], hit["length"]) == (
        "shipment", "exact", "FLEX-910233", 5, 6,
    )  # fmt: skip


async def test_an_object_is_one_hit_of_a_kind_and_metadata_repeat_nothing(book):
    found = await book.ids("müller")
    assert found["shipment"] == [910233]
    assert "shipment" not in await book.ids("po-4500123")


@pytest.mark.parametrize("text", ["", "  ", "\"%_*'", "-- ;", "\0", "\ud800"])
async def test_a_text_that_says_nothing_finds_nothing(book, text):
    assert (await book.find(text))["data"] == []


@given(
    text=st.text(max_size=30)
    | st.sampled_from(['"', "a OR b", "NEAR(a b)", "x*", "^lamp", "folded:lamp", "lamp NOT 1"])
)
@settings(max_examples=60)
def test_no_text_is_an_error(text, small_index):
    found = search(small_index, text)
    msgspec.convert(found, SearchResults)


@pytest.fixture(scope="module")
def small_index(tmp_path_factory):
    import asyncio

    from flexportd.storage.transaction import Transaction

    folder = tmp_path_factory.mktemp("search")

    async def make():
        async with Database.open(folder) as db:
            await Searched(db).put(record("shipments", 1, name="a OR b lamp NOT 1"), record("products", 2, sku='x*"^'))

    asyncio.run(make())
    raw = open_writer(folder / "flexportd.db")
    yield Transaction(raw)
    raw.close()


async def test_the_whole_comes_before_the_beginning_and_that_before_the_middle(searched):
    names = ["xx lot 7", "lot 7", "lot 70", "a lot 7", "lot 7 b", "LOT-7"]
    await searched.put(*(record("shipments", number, name=name) for number, name in enumerate(names, 1)))
    found = await searched.find("lot 7", limit=10)
    told = [(hit["id"], hit["match"]) for hit in found["data"][0]["hits"]]
    assert told == [(6, "exact"), (2, "exact"), (5, "prefix"), (3, "prefix"), (4, "partial"), (1, "partial")]
    assert (await searched.ids("lot 7", limit=3)) == {"shipment": [6, 2, 5]}


async def test_a_kind_with_a_better_match_comes_first(searched):
    await searched.put(record("shipments", 1, name="some PO-77 or other"), record("purchase_orders", 2, name="PO-77"))
    assert list(await searched.ids("po77")) == ["po", "shipment"]


async def test_the_best_are_found_among_very_many(tmp_path):
    """What is common is not read whole: the best of each kind still come first, and others are said to be there."""
    async with Database.open(tmp_path) as db:
        searched = Searched(db)
        await searched.put(record("shipments", 1, name="Lot"), record("shipments", 2, name="Lot a"))
        await searched.put(*(record("shipments", n, name=f"no lot {n}") for n in range(10, 400)))
        await searched.put(*(record("documents", f"d{n}", file_name=f"lot {n}.pdf") for n in range(300)))
        await searched.put(record("products", 3, sku="pilot"))
        found = await searched.find("lot")
        assert {group["kind"]: group["has_more"] for group in found["data"]} == {
            "shipment": True, "document": True, "sku": False,
        }  # fmt: skip
        by_kind = {group["kind"]: [(hit["id"], hit["match"]) for hit in group["hits"]] for group in found["data"]}
        assert by_kind["shipment"] == [
            (1, "exact"),
            (2, "prefix"),
            (399, "partial"),
            (398, "partial"),
            (397, "partial"),
        ]
        assert by_kind["sku"] == [(3, "partial")]
        assert len(by_kind["document"]) == 5
        assert {match for _, match in by_kind["document"]} == {"prefix"}
        assert (await searched.ids("lo", kinds=("document", "sku"), limit=1)).keys() == {"document"}


async def test_kinds_and_limit_bound_what_is_found(book):
    assert await book.ids("lamp", kinds=["sku"], limit=1) == {"sku": [9]} or await book.ids(
        "lamp", kinds=["sku"], limit=1
    ) == {"sku": [910233]}
    (group,) = (await book.find("lamp", kinds=["sku"], limit=1))["data"]
    assert group["has_more"]
    assert (await book.find("lamp", kinds=[]))["data"] == []


async def test_what_is_gone_stays_findable_and_says_so(searched):
    await searched.put(record("containers", 1, container_number="MSCU1234567"))
    await searched.put(record("containers", 1, "2026-03-05T00:00:00.000Z", container_number="MSCU1234567"))
    (group,) = (await searched.find("mscu"))["data"]
    assert group["hits"][0]["removed_at"] == "2026-03-05T00:00:00.000Z"


async def test_before_the_index_is_begun_nothing_is_found_and_it_says_so(searched):
    await searched.db.write(put(record("shipments", 1, name="lamp")))
    assert await searched.find("lamp") == {"query": "lamp", "data": [], "complete": False, "as_of": None}
    assert await searched.db.read(lambda tx: shipment_filters(tx, "lamp")) is None


_WORDS = st.text("ab1-é 上海", min_size=1, max_size=12)


@given(names=st.lists(_WORDS, min_size=1, max_size=12), text=st.text("ab1-é上海", min_size=1, max_size=12))
@settings(max_examples=15)
def test_exactly_those_are_found_that_hold_the_text(tmp_path_factory, names, text):
    import asyncio

    async def check():
        async with Database.open(tmp_path_factory.mktemp("search")) as db:
            searched = Searched(db)
            await searched.put(*(record("products", n, sku=name) for n, name in enumerate(names)))
            await searched.put(*(record("shipments", n, name=name) for n, name in enumerate(names)))
            found = await searched.ids(text, limit=50, kinds=["sku"])
            shipments = (await searched.shipments(text))[1] if sought else []
        return found, shipments

    sought = normalise(text)
    found, shipments = asyncio.run(check())
    where = str.startswith if len(sought) < 3 and not (len(sought) == 2 and {*sought} & {*"上海"}) else str.__contains__
    expected = [n for n, name in enumerate(names) if sought and where(normalise(name), sought)]
    assert sorted(found.get("sku", [])) == expected
    ids = [n for n in range(len(names)) if (sought and where(str(n), sought)) or n in expected]
    assert shipments == ids


@given(
    names=st.lists(
        st.lists(st.sampled_from(["atlas", "lamp", "mug", "上海", "x1"]), max_size=3), min_size=1, max_size=6
    ),
    seals=st.lists(st.sampled_from(["atlas", "lamp", "mug", "dune"]), max_size=6),
    words=st.lists(
        st.sampled_from(["atlas", "lamp", "mug", "dune", "上海", "tla"]), min_size=2, max_size=4, unique=True
    ),
    audience=st.booleans(),
)
@settings(max_examples=6)
def test_several_words_find_the_shipments_that_hold_all_of_them(tmp_path_factory, names, seals, words, audience):
    """In any order, in the shipment or in what belongs to it, and an audience nothing but its own."""
    import asyncio

    async def check():
        async with Database.open(tmp_path_factory.mktemp("search")) as db:
            searched = Searched(db)
            customers = [{"consignees": ["Acme"]} if n % 2 else {} for n in range(len(names))]
            await searched.put(
                *(record("shipments", n, name=" ".join(name), **customers[n]) for n, name in enumerate(names)),
                *(record("containers", n, shipment_id=n, seal_number=seal) for n, seal in enumerate(seals)),
                record("shipments", 70, name="mug"),
            )
            found = await searched.find(
                " ".join(words), limit=50, audience=Audience("consignee", ("Acme",)) if audience else None
            )
            return found, await searched.shipments(" ".join(words))

    found, (_, listed) = asyncio.run(check())
    texts = [[normalise("".join(name)), *seals[n : n + 1]] for n, name in enumerate(names)]
    holding = {n for n, some in enumerate(texts) if all(any(word in one for one in some) for word in words)}
    assert set(listed) == holding
    seen = {hit["shipment_id"] for group in found["data"] for hit in group["hits"]}
    assert seen == ({n for n in holding if n % 2} if audience else holding)


async def test_long_texts_are_compared_whole(tmp_path):
    """The index is asked for the ends of a long text alone."""
    async with Database.open(tmp_path) as db:
        searched = Searched(db)
        middle = "0123456789abcdef" * 3
        await searched.put(
            record("products", 1, sku=f"begins {middle} ends"), record("products", 2, sku=f"begins {middle[::-1]} ends")
        )
        assert await searched.ids(f"begins {middle} ends") == {"sku": [1]}
        assert await searched.ids(f"gins {middle} en") == {"sku": [1]}
        assert await searched.ids("b" * 2000) == {}


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("上海", [1, 3]),
        ("海港", [1]),
        ("东京", [2]),
        ("とう", [4]),
        ("港", []),
        ("中", [1]),
        ("a上", [3]),
        ("부산", [5]),
    ],
)
async def test_two_characters_of_a_language_without_blanks_are_a_word(tmp_path, text, ids):
    async with Database.open(tmp_path) as db:
        searched = Searched(db)
        names = ("中国上海港", "东京都", "A上海", "さとう電気", "주식회사 부산")
        await searched.put(*(record("products", n, name=name) for n, name in enumerate(names, 1)))
        assert sorted((await searched.ids(text)).get("sku", [])) == ids
        await searched.put(record("products", 1, name="renamed"))  # what was indexed is taken out again
        assert sorted((await searched.ids(text)).get("sku", [])) == [number for number in ids if number != 1]


async def test_a_leg_that_is_gone_no_longer_leads_to_its_shipment(searched):
    await searched.put(
        record("shipments", 1, name="Lamps"),
        record("legs", 2, shipment_id=1, vessel="EVER GOLDEN", tracking_number="1Z9"),
        record("legs", 3, shipment_id=99, vessel="EVER GOLDEN"),  # a shipment that is not known yet
    )
    assert await searched.ids("ever golden") == {"shipment": [1]}
    await searched.put(record("legs", 2, AT, shipment_id=1, vessel="EVER GOLDEN", tracking_number="1Z9"))
    assert await searched.ids("ever golden") == {}
    assert await searched.ids("1z9") == {"leg": [2]}


async def test_the_references_of_parties_are_found_by_us_only(searched):
    resource, one = record("shipments", 1, name="Lamps", consignees=["Acme"])
    raw = '{"consignees":[{"name":"Acme","ref":"ACME-77"},null,{"ref":5}],"shippers":"odd"}'
    await searched.put((resource, msgspec.structs.replace(one, raw=raw)))
    hit = (await searched.find("acme77"))["data"][0]["hits"][0]
    assert (hit["id"], hit["field"], hit["value"]) == (1, "consignees.ref", "ACME-77")
    assert await searched.ids("consignee ACME-77") == {"shipment": [1]}
    assert await searched.ids("acme-77", audience=Audience("consignee", ("Acme",))) == {}
    assert await searched.ids("acme-77 lamps", audience=Audience("consignee", ("Acme",))) == {}
    assert (await searched.shipments("acme-77"))[1] == []


async def test_a_shipment_is_not_found_by_a_document_that_its_customer_may_not_see(searched):
    await searched.put(
        record("shipments", 1, name="Lamps", consignees=["Acme"]),
        record("documents", "d1", shipment_id=1, file_name="secret quote.pdf", document_type="freight_forwarder_quote"),
        record("invoices", "i1", shipment_id=1, name="margin 12"),
    )
    for text in ("lamps secret", "lamps margin", "secret lamps quote", "invoice margin", "lamps invoice 12"):
        assert await searched.ids(text, audience=Audience("consignee", ("Acme",))) == {}, text
    assert await searched.ids("lamps secret") == await searched.ids("lamps margin") == {"shipment": [1]}
    assert (await searched.shipments("lamps margin"))[1] == []


async def test_an_index_of_an_earlier_version_is_made_anew(searched):
    """It could not take its texts out again: FTS5 has to be told what it has indexed."""
    await searched.put(record("products", 1, name="上海"))

    def back(tx):
        state = tx.search.state()
        tx.raw.execute("ALTER TABLE search_spaced_trigrams RENAME TO search_trigrams")
        tx.meta.save("search_index", msgspec.structs.replace(state, way="trigrams"))

    await searched.db.write(back)
    assert (await searched.find("上海"))["complete"] is False
    assert await searched.db.read(lambda tx: shipment_filters(tx, "上海")) is None
    await Searched(searched.db).indexer.process()
    assert await searched.ids("上海") == {"sku": [1]}
    names = await searched.db.read(lambda tx: tx.raw.execute("SELECT name FROM sqlite_schema").fetchall())
    assert ("search_trigrams",) not in names


# --- lists of shipments ---


@pytest.mark.parametrize(("few", "way"), [(2000, "found"), (1, "holding_1")])
async def test_a_list_finds_its_shipments_by_what_belongs_to_them(book, monkeypatch, few, way):
    monkeypatch.setattr(storage, "MAX_LISTED_ENTRIES", few)
    assert (await book.shipments("flex-9102")) == ([way], [910233, 910234])
    assert (await book.shipments("91"))[1] == [910233, 910234]
    assert (await book.shipments("mscu 1234"))[1] == [910233]
    assert (await book.shipments("910233-1"))[1] == []  # a freight invoice: who may see shipments may not see those
    assert (await book.shipments("wh9"))[1] == []


@pytest.mark.parametrize("name", sorted(FILTERS))
def test_a_list_of_shipments_is_filtered_by_index(tmp_path, name):
    migrate(tmp_path / "x.db")
    raw = open_writer(tmp_path / "x.db")
    sql = f"SELECT id FROM shipments WHERE {FILTERS[name].condition} ORDER BY as_of DESC, id DESC LIMIT 51"
    plan = [row[3] for row in raw.execute("EXPLAIN QUERY PLAN " + sql, ("[]",) * FILTERS[name].condition.count("?"))]
    raw.close()
    assert not [step for step in plan if step.startswith("SCAN") and "INDEX" not in step], plan
    if name != "found":
        assert any("COVERING INDEX search_entries_shipment" in step for step in plan), plan


# --- whose they are ---


@pytest.mark.parametrize("rare", [200, 0], ids=["rare", "common"])
async def test_an_audience_finds_what_is_of_its_shipments_and_no_costs(book, monkeypatch, rare):
    monkeypatch.setattr(query, "_BATCH_SIZE", rare)
    await book.put(
        record("shipments", 5, name="Spring chairs", consignees=["Other Ltd"], metadata={"Season": ["SS-26"]})
    )
    await book.put(record("invoices", "inv2", shipment_id=5, name="FLEX-5-1"))
    ours, theirs = (Audience("consignee", (name,)) for name in ("MüLLER GmbH", "Other Ltd"))
    assert await book.ids("spring", audience=ours) == {"shipment": [910233]}
    assert await book.ids("spring", audience=theirs) == {"shipment": [5]}
    assert await book.ids("flex", audience=theirs) == {"shipment": [5]}
    assert await book.ids("mscu1234567", audience=ours) == {"container": [7]}
    assert await book.ids("mscu1234567", audience=theirs) == {}
    assert await book.ids("po-4500123", audience=ours) == {"po": [910233], "commercial_invoice": ["ci1"]}
    assert await book.ids("wh9", audience=ours) == {}
    assert await book.ids("5", audience=Audience("consignee", ("nobody",))) == {}


# --- what is declared ---


def test_every_domain_says_what_it_is_known_by():
    left_out = {"container_legs", "booking_line_items"}
    assert {domain.name for domain in REGISTRY} == SEARCH_FIELDS.keys() | left_out
    for name, given_ in SEARCH_FIELDS.items():
        known = {*REGISTRY[name].table.names, "id", "raw"}
        fields = {field for field, kind in given_.fields.items() if kind != "transport"}
        assert {*fields, *given_.title} <= known, name
    assert {kind for one in SEARCH_FIELDS.values() for kind in one.fields.values()} == KIND_NUMBERS.keys()


def test_an_object_with_very_many_references_is_bounded():
    row = dict.fromkeys(references.columns(REGISTRY["shipments"])) | {
        "id": 1, "skus": json.dumps([f"SKU-{n}" for n in range(5000)]), "name": "n" * 5000,
    }  # fmt: skip
    found = references.index_entry(REGISTRY["shipments"], row)
    assert 1000 <= len(found.entries) < 1100
    assert max(len(entry.value) for entry in found.entries) == 300


def test_the_answer_has_a_schema():
    schema = msgspec.json.schema(SearchResults)
    assert schema["$defs"]["SearchHit"]["required"]


def test_named_queries_scan_no_table(tmp_path):
    migrate(tmp_path / "x.db")
    raw = open_writer(tmp_path / "x.db")
    for name, sql in queries("search_index").items():
        if name.startswith("clear_"):
            continue
        numbered = [n for n in range(1, 10) if f"?{n}" in sql]
        values = ("[]",) * (max(numbered) if numbered else sql.count("?"))
        plan = list(raw.execute("EXPLAIN QUERY PLAN " + sql, values))
        assert "(resource=?)" not in str(plan), name  # all objects of a resource
        for row in plan:
            scans = row[3].startswith("SCAN") and "VIRTUAL TABLE" not in row[3]
            assert not scans or row[3].startswith("SCAN (subquery"), (name, row[3])
    raw.close()


# --- the command ---


async def test_the_command_shows_kinds_apart_and_what_matched(book, capsys):
    command._show(Output(), await book.find("lamp", limit=1))
    shown = capsys.readouterr()
    assert "sku" in shown.out
    assert "metadata" not in shown.out
    assert "There are more" in shown.err
    command._show(Output(), await book.find("nothing like it"))
    assert capsys.readouterr().out == "No matches.\n"
    command._show(Output(), {"query": "x", "data": [], "complete": False, "as_of": None})
    assert "still being built" in capsys.readouterr().err

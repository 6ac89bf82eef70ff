"""Search with a key for one customer: exactly what it would find if nothing else were there."""

import asyncio
import sqlite3
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flexportd.core.search import fields, indexer, query
from flexportd.core.search import normalise as normaliser
from flexportd.core.search.fields import INTERNAL_KINDS, KIND_NUMBERS, KINDS
from flexportd.core.search.normalise import normalise
from flexportd.storage import substring_index
from flexportd.storage.database import Database
from flexportd.storage.repositories import audiences
from flexportd.storage.repositories.audiences import Audience, encode_tags
from flexportd.storage.search_index import SearchIndex
from tests.stored import record
from tests.unit.test_search import Searched

CUSTOMERS = ("Acme", "Borg", "Ceres")
AUDIENCES = [
    *(Audience("consignee", (name,)) for name in (*CUSTOMERS, "nobody")),
    Audience("consignee", ("ACME", "borg")),
    Audience("metadata:team", ("north",)),
]

words = st.text("ab1", min_size=1, max_size=6)
numbers = st.integers(1, 9)
made = st.one_of(
    st.builds(
        lambda key, name, customers, team: record("shipments", key, name=name, consignees=customers, metadata=team),
        numbers,
        words,
        st.lists(st.sampled_from(CUSTOMERS), max_size=2),
        st.sampled_from([None, {"team": "north"}, {"team": ["south", "North "]}]),
    ),
    st.builds(
        lambda key, owner, seal: record("containers", key, shipment_id=owner, container_number=seal, seal_number="b1"),
        numbers,
        numbers | st.none(),
        words,
    ),
    st.builds(
        lambda key, owner, name: record("documents", f"d{key}", shipment_id=owner, file_name=name, document_type="packing_list"),
        numbers,
        numbers,
        words,
    ),
    st.builds(lambda key, sku: record("products", key, sku=sku), numbers, words),
    st.builds(lambda key, owner, name: record("invoices", f"i{key}", shipment_id=owner, name=name), *[numbers] * 2, words),
)  # fmt: skip


def seen(tx, audience):
    """The shipments of an audience, one after the other."""
    given_ = tx.raw.execute("SELECT shipment_id, attribute, value FROM shipment_audiences").fetchall()
    values = {value.lower() for value in audience.values}
    return {number for number, mark, value in given_ if mark == audience.mark and value.lower() in values}


def expected(tx, text, limit, audience):
    """What `find` should find: every text is looked at."""
    sought, visible = normalise(text), None if audience is None else seen(tx, audience)
    found = {}
    for entry, thing, shipment, folded, resource, key in tx.raw.execute(
        "SELECT e.id, e.object, o.shipment_id, e.folded, o.resource, o.key "
        "FROM search_entries e JOIN search_objects o ON o.id = e.object"
    ):
        kind = KINDS[(entry >> 40) - 1]
        if visible is not None and (shipment not in visible or kind in INTERNAL_KINDS):
            continue
        if folded.startswith(sought) or (len(sought) > 2 and sought in folded):
            place = 0 if folded == sought else 1 if folded.startswith(sought) else 2
            best = found.setdefault(kind, {})
            best[thing] = min(best.get(thing, (3,)), (place, -entry, resource, key))
    groups = [
        (ranks[0][0], KINDS.index(kind), kind, len(ranks) > limit, [(*one[2:], one[0]) for one in ranks[:limit]])
        for kind, ranks in ((kind, sorted(best.values(), key=lambda one: one[:2])) for kind, best in found.items())
    ]
    return [group[2:] for group in sorted(groups)]


def told(found):
    matches = ("exact", "prefix", "partial")
    return [
        (group["kind"], group["has_more"], [(hit["resource"], hit["id"], matches.index(hit["match"])) for hit in group["hits"]])
        for group in found["data"]
    ]  # fmt: skip


def parts_of(path):
    """What the index over parts holds, and what it should: (word, entry, place)."""
    raw = sqlite3.connect(path)
    raw.execute(f"CREATE VIRTUAL TABLE temp.words USING fts5vocab('main', '{substring_index.TABLE}', 'instance')")
    holds = sorted(raw.execute("SELECT term, doc, offset FROM temp.words"))
    should = []
    for number, folded, marks in raw.execute(
        "SELECT e.id, e.folded, coalesce((SELECT o.marks FROM search_objects o "
        "WHERE o.resource = 'shipments' AND o.key = e.shipment_id), '') FROM search_entries e"
    ):
        text = f"__{folded}." + "".join(f"{mark}." for mark in marks)
        pieces = [text[at : at + 3] for at in range(len(text) - 2)]
        should += [(one, number, at) for at, one in enumerate(pieces)]
    raw.close()
    return holds, sorted(should)


@pytest.mark.parametrize("coding", ["as it is", "all share a few", "too many"])
@given(
    steps=st.lists(st.lists(made, min_size=1, max_size=8), min_size=1, max_size=4), texts=st.lists(words, max_size=5)
)
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_audience_finds_what_it_would_if_nothing_else_were_there(
    tmp_path_factory, monkeypatch, coding, steps, texts
):
    """Whatever came, moved and changed hands before; the best first, and `more` only for what it may see."""
    monkeypatch.setattr(query, "_BATCH_SIZE", 3)
    monkeypatch.setattr(query, "_MIN_SCAN", 2)
    if coding != "as it is":
        monkeypatch.setattr(audiences, "_PLANE" if coding == "all share a few" else "_MAX_TAGS", 1)

    async def check():
        folder = tmp_path_factory.mktemp("search")
        async with Database.open(folder) as db:
            searched = Searched(db)
            for step in steps:
                await searched.put(*step)
            for text in (*texts, "a", "b1", "acme", "fle", "flex"):
                for audience in (None, *AUDIENCES):
                    for limit in (1, 3):
                        found = await searched.find(text, limit=limit, audience=audience)
                        asked = (text, limit, audience)
                        should = await db.read(lambda tx, asked=asked: expected(tx, *asked))
                        assert told(found) == should, (text, limit, audience)
            await db.writer.checkpoint_if_idle()
        holds, should = parts_of(folder / "flexportd.db")
        assert holds == should

    asyncio.run(check())


@pytest.fixture
async def searched(tmp_path):
    async with Database.open(tmp_path / "data") as db:
        yield Searched(db)


async def test_what_is_common_elsewhere_hides_nothing_and_is_told_by_nothing(searched):
    ours, theirs = AUDIENCES[:2]
    names = ("a lot", "lot", "lots", "another lot")
    await searched.put(*(record("shipments", n, name=name, consignees=["Acme"]) for n, name in enumerate(names, 1)))
    for start in range(100, 900, 200):
        await searched.put(
            *(record("shipments", n, name=f"lot {n}", consignees=["Borg"]) for n in range(start, start + 200))
        )
    await searched.put(
        *(
            record("documents", f"d{n}", shipment_id=n, file_name="lot", document_type="packing_list")
            for n in range(100, 400)
        )
    )
    found = await searched.find("lot", audience=ours)
    assert told(found) == [("shipment", False, [("shipments", n, at) for n, at in ((2, 0), (3, 1), (4, 2), (1, 2))])]
    assert [group[:2] for group in told(await searched.find("lot", audience=theirs))] == [
        ("document", True), ("shipment", True),
    ]  # fmt: skip


async def test_what_changed_hands_is_hidden_at_once_and_found_when_the_index_follows(searched):
    """The index says where to look; who may see it is asked of the shipments themselves."""
    await searched.put(
        record("shipments", 1, name="lamp", consignees=["Acme"]),
        record("containers", 2, shipment_id=1, seal_number="lamp"),
    )
    ours, theirs = AUDIENCES[:2]
    assert await searched.ids("lamp", audience=ours) == {"shipment": [1], "container": [2]}
    await searched.db.write(lambda tx: tx.audiences.put({1: [("consignee", "Borg")]}))
    assert await searched.ids("lamp", audience=ours) == await searched.ids("lamp", audience=theirs) == {}
    await searched.put(record("shipments", 1, name="lamp", consignees=["Borg"]))
    assert await searched.ids("lamp", audience=ours) == {}
    assert await searched.ids("lamp", audience=theirs) == {"shipment": [1], "container": [2]}


async def test_what_moves_to_another_shipment_is_found_by_who_may_see_that(searched):
    await searched.put(
        *(record("shipments", n, name="x", consignees=[name]) for n, name in enumerate(CUSTOMERS, 1)),
        record("containers", 7, shipment_id=1, container_number="MSCU1234567"),
    )
    for owner, sees in ((2, [False, True, False]), (3, [False, False, True]), (None, [False] * 3)):
        await searched.put(record("containers", 7, shipment_id=owner, container_number="MSCU1234567"))
        assert [await searched.ids("mscu", audience=one) != {} for one in AUDIENCES[:3]] == sees


async def test_an_index_of_before_audiences_is_brought_up_in_its_place(tmp_path, monkeypatch):
    """Nobody else misses anything meanwhile."""
    async with Database.open(tmp_path) as db:
        with monkeypatch.context() as before:
            before.setattr(fields, "encode_tags", lambda _: "")
            before.setattr(
                indexer,
                "VERSION",
                f"{normaliser.VERSION}:{zlib.crc32(repr((KIND_NUMBERS, fields.SEARCH_FIELDS)).encode()):08x}",
            )
            await Searched(db).put(
                record("shipments", 1, name="lamp", consignees=["Acme"]),
                record("documents", "d", shipment_id=1, file_name="lamp", document_type="packing_list"),
            )
        searched = Searched(db)
        assert await searched.ids("lamp") == {"shipment": [1], "document": ["d"]}
        assert await searched.ids("lamp", audience=AUDIENCES[0]) == {}
        monkeypatch.setattr(SearchIndex, "clear", None)
        await searched.indexer.process()
        assert await searched.ids("lamp", audience=AUDIENCES[0]) == {"shipment": [1], "document": ["d"]}
        await db.writer.checkpoint_if_idle()
    holds, should = parts_of(tmp_path / "flexportd.db")
    assert holds == should


@pytest.mark.parametrize(("most", "ids"), [(1000, ["d1"]), (10, None)])
async def test_what_is_looked_at_in_vain_is_bounded(searched, monkeypatch, most, ids):
    """The index is asked for the ends of a long text alone: very many texts may have those, and not be it."""
    monkeypatch.setattr(query, "_BATCH_SIZE", 4)
    monkeypatch.setattr(query, "_MIN_SCAN", 4)
    monkeypatch.setattr(query, "_MAX_ENTRIES", most)
    begin, end = "commercial invoice of", "final version signed"
    await searched.put(
        *(record("documents", f"d{n}", file_name=f"{begin} {n:03} {end}") for n in range(1, 60)),
    )
    assert (await searched.ids(normalise(f"{begin} 001 {end}"), limit=1)).get("document") == ids


@given(st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), max_size=70))
def test_the_marks_of_a_shipment_are_a_character_each_and_its_audience_has_one_of_them(marks):
    code = encode_tags(marks)
    assert len(code) <= 64
    assert code == "" or normalise(code) == ""
    for mark, value in marks:
        assert set(Audience(mark, (value.swapcase() if value.isascii() else value,)).code) & set(code)


def test_all_values_of_the_largest_audience_are_one_question(tmp_path):
    raw = sqlite3.connect(tmp_path / "index.db")
    substring_index.create(raw)
    audience = Audience("consignee", tuple(f"Customer {n}" for n in range(200)))
    substring_index.add(raw, [(1, ("lamp", encode_tags([("consignee", "customer 199")]))), (2, ("lamp", ""))])
    assert substring_index.newest(raw, substring_index.match_phrase("lam", marks=audience.code), (0, 9), 5) == [1]
    raw.close()

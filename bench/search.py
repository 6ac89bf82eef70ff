"""What search costs: looking for texts of all sorts, keeping the index, and what the `q` of a list costs.

    python bench/search.py                        1,000 and 100,000 shipments
    python bench/search.py --shipments 20000      another number

The store is filled by plain statements with made-up shipments: the texts are as long and as alike as real ones are.
Compare runs of one hour on one machine.
"""

import argparse
import asyncio
import itertools
import json
import pathlib
import random
import sqlite3
import statistics
import tempfile
import time

from flexportd.clock import Clock
from flexportd.core.access.audiences import audience_tags
from flexportd.core.resources.registry import Registry
from flexportd.core.resources.shipments import references
from flexportd.core.search.indexer import Indexer
from flexportd.core.search.normalise import normalise
from flexportd.core.search.query import search, shipment_filters
from flexportd.storage.connection import open_reader
from flexportd.storage.database import Database
from flexportd.storage.repositories.audiences import Audience
from flexportd.storage.search_index import FILTERS
from flexportd.storage.transaction import Transaction

AT = "2026-03-04T02:41:10.000Z"
FIRST = 900_000
LINES = ("MAEU", "MSCU", "MSKU", "CMAU", "OOLU", "TGHU", "HLXU", "TCNU", "FCIU")
WORDS = ("Atlas", "Borealis", "Cobalt", "Dune", "Ember", "Fjord", "Granite", "Harbor", "Indigo", "Juniper", "Krill")
THINGS = ("Lamp", "Chair", "Bottle", "Jacket", "Speaker", "Table", "Mug", "Bag")
PORTS = {
    "Yantian, China": "CNYTN", "Ningbo, China": "CNNGB", "Shanghai, China": "CNSHA", "Savannah, GA": "USSAV",
    "Los Angeles, CA": "USLAX", "Hamburg, Germany": "DEHAM", "Kaohsiung, Taiwan": "TWKHH", "上海港": "CNSGH",
}  # fmt: skip
CARRIERS = (("MAEU", "Maersk"), ("MSCU", "MSC"), ("OOLU", "OOCL"), ("HLCU", "Hapag-Lloyd"), ("CMDU", "CMA CGM"))
ACCOUNTS = {"ten": 1e-4, "some": 0.0165, "many": 0.3, "left": 0.3}  # customers, and their share of the shipments
RAW = json.dumps({"filler": "x" * 2000})
MARKS = {"as_of": AT, "seq": 1, "source": "sync", "synced_at": AT, "first_seen_at": AT, "raw": RAW}


class Book:
    """Made-up objects: the same for the same number."""

    def __init__(self, shipments):
        self.random = random.Random(7)
        self.shipments = shipments
        self.skus = [
            f"{choice[:3].upper()}-{n:05}"
            for n, choice in zip(range(max(50, shipments // 10)), itertools.cycle(THINGS))
        ]
        self.companies = [f"{a} {b} {c}" for a in WORDS for b in THINGS for c in ("Ltd.", "GmbH", "Inc.", "Co., Ltd")]

    def accounts(self, n):
        """Whose a shipment is: spread over all of them, but for one customer who left long ago."""
        counts = {name: max(1, int(self.shipments * share)) for name, share in ACCOUNTS.items()}
        found = [name for name, count in counts.items() if name != "left" and n * count % self.shipments < count]
        return found + ["left"] * (n < counts["left"])

    def shipment(self):
        pick = self.random
        for n in range(self.shipments):
            number = FIRST + n
            yield {
                "id": number,
                "name": f"{pick.choice(WORDS)} {pick.choice(THINGS)} PO{pick.randrange(10**6):06} wk{n % 52:02}",
                "house_bills": json.dumps([f"FLXT{pick.randrange(10**10):010}"]),
                "master_bill": f"{pick.choice(LINES)[:4]}{pick.randrange(10**9):09}",
                "carrier_booking_number": f"{pick.randrange(10**9):09}",
                "it_number": f"{pick.randrange(10**9):09}" if n % 3 == 0 else None,
                "purchase_orders": json.dumps([f"PO-{pick.randrange(10**7):07}" for _ in range(2)]),
                "skus": json.dumps([pick.choice(self.skus) for _ in range(3)]),
                "shippers": json.dumps([pick.choice(self.companies)]),
                "consignees": json.dumps([pick.choice(self.companies)]),
                "metadata": json.dumps(
                    {
                        "Season": [f"S{n % 4}"],
                        "Cost centre": [f"{pick.randrange(10**4):04}"],
                        "Account": self.accounts(n),
                    }
                ),
                "status": "departure_port",
            }

    def container(self):
        for n in range(self.shipments):
            number = f"{self.random.choice(LINES)}{self.random.randrange(10**7):07}"
            seal = f"SL{self.random.randrange(10**7):07}"
            yield {"id": n + 1, "shipment_id": FIRST + n, "container_number": number, "seal_number": seal}

    def leg(self):
        for n in range(self.shipments):
            home, door = (f"{self.random.choice(WORDS)} {self.random.choice(THINGS)} Warehouse" for _ in range(2))
            (start, from_code), (end, to_code) = self.random.sample(list(PORTS.items()), 2)
            line = self.random.choice(CARRIERS)
            ocean = {
                "scac": line[0],
                "carrier": line[1],
                "vessel": f"{line[1]} {self.random.choice(WORDS)}",
                "vessel_imo": f"{9_311_111 + self.random.randrange(900)}",
                "voyage": f"{self.random.randrange(999):03}W",
            }
            road = dict.fromkeys(ocean) | {"carrier": f"{self.random.choice(WORDS)} Trucking"}
            ends = ((home, None), (start, from_code), (end, to_code), (door, None))
            for number, ((origin, code), (destination, other)) in enumerate(itertools.pairwise(ends)):
                yield {
                    "id": 3 * n + number + 1,
                    "shipment_id": FIRST + n,
                    "mode": "ocean" if number == 1 else "truck",
                    "origin": origin,
                    "origin_code": code,
                    "destination": destination,
                    "destination_code": other,
                    **(ocean if number == 1 else road),
                }

    def invoice(self):
        for n in range(self.shipments):
            yield {"id": f"inv{n:08}", "shipment_id": FIRST + n, "name": f"FLEX-{FIRST + n}-1"}

    def document(self):
        for n in range(self.shipments):
            yield {"id": f"doc{n:08}", "shipment_id": FIRST + n, "file_name": f"commercial_invoice_{n}.pdf"}

    def product(self):
        for n, sku in enumerate(self.skus):
            yield {"id": n + 1, "sku": sku, "name": f"{self.random.choice(THINGS)} {sku[-3:]}"}

    def company(self):
        for n, name in enumerate(self.companies):
            yield {"id": f"comp{n}", "name": name, "ref": f"C-{n:04}"}


TABLES = {
    "shipment": "shipments", "leg": "legs", "container": "containers", "invoice": "invoices", "document": "documents",
    "product": "products", "company": "companies",
}  # fmt: skip


def fill(tx, name, rows):
    rows = [{**row, **MARKS} for row in rows]
    columns = list(rows[0])
    sql = f"INSERT INTO {TABLES[name]} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
    tx.raw.executemany(sql, [tuple(row.values()) for row in rows])


def referenced(rows):
    return {row["id"]: references({**row, "container_numbers": None}) for row in rows}


async def filled(db, shipments):
    book = Book(shipments)
    for name in TABLES:
        rows = getattr(book, name)()
        while some := list(itertools.islice(rows, 2000)):
            await db.write(lambda tx, name=name, some=some: fill(tx, name, some))
            if name == "shipment":
                await db.write(lambda tx, some=some: tx.resources.put_references(referenced(some)))
                await db.write(lambda tx, some=some: tx.audiences.put({row["id"]: audience_tags(row) for row in some}))


def texts(tx):
    """Kinds of texts -> many of them, from what is there."""
    pick = random.Random(11)
    values = [row[0] for row in tx.raw.execute("SELECT value FROM search_entries WHERE id % 97 = 3 LIMIT 4000")]
    some = [pick.choice(values) for _ in range(100)]
    digits = [f"{pick.randrange(10**6):06}" for _ in range(100)]
    return {
        "exact": some,
        "prefix": [value[: max(3, len(value) // 2)] for value in some],
        "middle": [value[len(value) // 3 : len(value) // 3 + 5] for value in some if len(value) > 9],
        "shipment": [f"FLEX-{FIRST + pick.randrange(1000)}" for _ in range(50)],
        "common": [
            "FLEX-1",
            "FLEX-9",
            "FLEX-",
            "flex",
            "PO",
            "PO-1",
            "com",
            "invoice",
            ".pdf",
            "000",
            "pdf",
            "900",
            "Ltd",
        ],
        "names": ["Atlas", "harbor mug", "Granite", "borealis la", "gmbh", "lamp", "Cobalt Lamp Ltd."],
        "short": ["a", "1", "f", "po", "ms", "s0", "0", "b", "fl", "9"],
        "digits": digits,
        "everywhere": ["MAEU", "20", "a", "0", "S2", "many", "some", "PO", "FLEX-900", "commercial_invoice"],
        **{
            f"of {size}": [normalise(value)[:size] for value in some if len(normalise(value)) >= size]
            for size in (1, 2, 3, 8)
        },
        "transport": [
            "maersk",
            "savannah",
            "Hapag-Lloyd",
            "USSAV",
            "9311234",
            "042W",
            "msc atlas",
            "上海",
            "Warehouse",
        ],
        "words": [
            "maersk savannah",
            "savannah Maersk warehouse",
            "Atlas lamp savannah",
            "msc 042W",
            "ltd pdf",
            "warehouse ltd",
            "cobalt dune ember fjord",
            "po 4 savannah",
            "maersk FLEX-900123",
            "maersk zzzzqqq",
            "s1 maersk invoice",
            "上海 maersk",
            "commercial invoice savannah",
        ],
        "labels": [
            "PO 4471",
            "po#12345",
            "container MSCU 123",
            "BL FLXT0",
            "invoice 900123",
            "IMO 9311234",
            "sku LAM-00012",
        ],
        "none": [
            "zzzzqqq",
            "qwxyz123",
            "FLEX-99999999",
            "🚢🚢🚢",
            "'\"%_*",
            "mscu-po-flex",
            "flexflexflex",
            "000000000000",
        ],
        "long": ["FLEX-900" * 120, "0" * 1000, "po" * 500, "commercial invoice " * 50, "1234567890" * 100],
    }


def quantile(times, share):
    return sorted(times)[min(len(times) - 1, int(len(times) * share))]


def measured(work, repeats):
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        times.append((time.perf_counter() - begin) * 1000)
    return times


def show(name, times, note=""):
    middle, most, worst = statistics.median(times), quantile(times, 0.99), max(times)
    print(f"  {name:24} p50 {middle:8.2f} ms   p99 {most:8.2f} ms   max {worst:8.2f} ms {note}")


def searched(tx, audience=None):
    everything = []
    for name, some in texts(tx).items():
        times = [
            (one, text) for text in some for one in measured(lambda text=text: search(tx, text, audience=audience), 3)
        ]
        everything += times
        if audience is None:
            show(f"find: {name}", [one for one, _ in times])
    named = "all" if audience is None else f"{audience.values[0]}, {tx.audiences.count(audience):,}"
    show(f"find: {named}", [one for one, _ in everything], f"({max(everything)[1]!r:.40})")


PAGE = "SELECT id FROM shipments WHERE {} ORDER BY as_of DESC, id DESC LIMIT 51"
LIKE = PAGE.format(
    "name LIKE ?1 OR CAST(id AS TEXT) LIKE ?1 "
    "OR id IN (SELECT shipment_id FROM shipment_references WHERE value LIKE ?1)"
)


def filtered(tx):
    """A page of the list of shipments: by the index, and by LIKE over the shipments and their references."""

    def page(text):
        filters = shipment_filters(tx, text)
        where = " AND ".join(FILTERS[name].condition for name in filters)
        return tx.raw.execute(PAGE.format(where), list(itertools.chain(*filters.values()))).fetchall()

    texts = ("FLEX-900123", "PO-1234", "Atlas", "po", "flex", "0", "com", "qwxyz", "wk07", "S1", "pdf", "Renamed")
    for text in (*texts, "maersk savannah", "PO 4471", "ltd maersk", "maersk zzzzqqq", "上海"):
        index = measured(lambda text=text: page(text), 5)
        like = measured(lambda text=text: tx.raw.execute(LIKE, (f"%{text}%",)).fetchall(), 1)
        way = next(iter(shipment_filters(tx, text)))
        print(f"  q={text:14} {way:8} index {statistics.median(index):8.2f} ms   LIKE {like[0]:8.2f} ms")


async def followed(db, indexer):
    """How fast changes of names reach the index, and how long one transaction of the follower holds the writer."""
    holds = []
    plain = db.writer.run

    async def timed(work):
        def inside(tx):
            begin = time.perf_counter()
            try:
                return work(tx)
            finally:
                holds.append((time.perf_counter() - begin) * 1000)

        return await plain(inside)

    db.write = timed
    begin = time.perf_counter()
    await indexer.process()
    return time.perf_counter() - begin, holds


def rename(tx, start, count):
    keys = list(range(start, start + count))
    tx.raw.executemany("UPDATE shipments SET name = ? WHERE id = ?", [(f"Renamed {key} once", key) for key in keys])
    tx.journal.add(AT, None, {"shipments": [(key, AT) for key in keys]})


async def run(shipments):
    with tempfile.TemporaryDirectory(prefix="flexportd-bench-") as folder:
        async with Database.open(pathlib.Path(folder)) as db:
            await filled(db, shipments)
            indexer = Indexer(db, Registry(), Clock())
            seconds, holds = await followed(db, indexer)
            entries = await db.read(lambda tx: tx.raw.execute("SELECT count(*) FROM search_entries").fetchone()[0])
            sizes = await db.read(sizes_of)
            print(f"{shipments:,} shipments, {entries:,} entries")
            print(f"  first pass: {seconds:.1f} s, {entries / seconds:,.0f} entries/s, transactions:", end="")
            show("", holds)
            print(f"  sizes: {sizes}")
            for start in range(0, min(shipments, 5000), 50):
                await db.write(lambda tx, start=start: rename(tx, FIRST + start, 50))
            seconds, holds = await followed(db, indexer)
            print(f"  following: {min(shipments, 5000) / seconds:,.0f} changed objects/s, transactions:", end="")
            show("", holds)
            await db.writer.checkpoint_if_idle()
            looking = Transaction(open_reader(db.data_dir.database))
            searched(looking)
            for mark, value in (
                *(("metadata:Account", name) for name in ACCOUNTS),
                ("consignee", "Atlas Lamp Ltd."),
                ("metadata:Season", "S1"),
            ):
                searched(looking, Audience(mark, (value,)))
            filtered(looking)
            looking.raw.close()


def sizes_of(tx):
    try:
        rows = tx.raw.execute("SELECT name, sum(pgsize) FROM dbstat WHERE name LIKE 'search%' GROUP BY name").fetchall()
    except sqlite3.OperationalError:  # an SQLite without dbstat
        return "not known here"
    return ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shipments", type=int, nargs="*", default=[1000, 100_000])
    options = parser.parse_args()
    for shipments in options.shipments:
        asyncio.run(run(shipments))


if __name__ == "__main__":
    main()

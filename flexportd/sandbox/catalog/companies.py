"""Who ships what in the sandbox: fictional companies and products. Any likeness to real ones is accidental."""

from dataclasses import dataclass
from decimal import Decimal

from flexportd.sandbox.catalog.places import PLACES, WorldPlace


@dataclass(frozen=True, slots=True)
class Party:
    """A legal entity of the account's network."""

    id: int
    name: str
    place: WorldPlace
    vat: tuple[str, str] | None = None

    @property
    def ref(self) -> str:
        """The external reference, for `f.consignee_external_ref`."""
        return f"id-{self.id}"


@dataclass(frozen=True, slots=True)
class CatalogProduct:
    """A product of the account's library; weight in kg, volume in cbm and cost in US dollars are for one unit.

    `export_name` is what a Chinese customs declaration calls it; there are `per_carton` units in one carton.
    """

    id: int
    sku: str
    name: str
    hs_code: str
    category: str
    country_code: str
    weight: float
    volume: float
    per_carton: int
    cost: str
    export_name: str | None = None


CONSIGNEES = (
    Party(556401, "Harbour & Pine Imports", PLACES["HQ-SF"]),
    Party(556402, "Harbour & Pine Europe B.V.", PLACES["W-TLB"], ("NL", "NL000099998B57")),
    Party(556403, "Larkfield Home Goods", PLACES["W-EDI"]),
)

# Place, name, and the SKUs that they sell.
_SELLERS: dict[str, dict[str, str]] = {
    "F-SZX": {
        "Bright Lantern Electronics": "LAMP-01 LAMP-02 SPKR-11",
        "Nanshan Audio Works": "SPKR-11",
        "Red Kapok Devices": "SPKR-11 LAMP-01",
    },
    "F-DGG": {
        "Songshan Housewares": "MUG-04 BOWL-02 BIN-30",
        "Golden Carp Ceramics": "MUG-04 BOWL-02",
        "Pearl Delta Plastics": "BIN-30 HOSE-20",
    },
    "F-SZV": {
        "Lakeside Precision": "LAMP-01 LAMP-02",
        "Tiger Hill Homewares": "BIN-30 MUG-04",
        "Grand Canal Lighting": "LAMP-01 LAMP-02",
    },
    "F-YIW": {
        "Chouzhou Sundries": "TOY-77 NOTE-A5 MUG-04",
        "Nine Bridges Toys": "TOY-77",
        "Moon Gate Stationery": "NOTE-A5",
    },
    "F-WEF": {"Kite City Garden Tools": "SPADE-1 HOSE-20", "Laizhou Bay Metalcraft": "SPADE-1 LAMP-02"},
    "F-XIA": {"Bell Tower Optics": "LENS-8", "Wei River Instruments": "LENS-8 LAMP-01"},
    "F-BDG": {
        "Saigon Teak Furniture": "CHAIR-T TABLE-T BASK-R",
        "Lotus Pond Rattan": "BASK-R CHAIR-T",
        "Mekong Bright Footwear": "CLOG-38",
    },
    "F-PNQ": {"Deccan Loom Mills": "RUG-200 THROW-1", "Sahyadri Homespun": "THROW-1 RUG-200"},
    "F-KHH": {"Formosa Trail Cycles": "BIKE-C", "Love River Components": "BIKE-C"},
    "W-ONT": {"Harbour & Pine Imports West": "LAMP-01 MUG-04 BIN-30 TOY-77 CHAIR-T"},
    "W-JOT": {"Harbour & Pine Imports Midwest": "SPADE-1 HOSE-20 MUG-04 BOWL-02 BIKE-C"},
    "W-YYZ": {"Maple Row Packaging": "CART-M"},
    "W-ATL": {"Peachtree Home Supply": "RUG-200 THROW-1 LAMP-02 BASK-R"},
    "W-TLB": {"Dommel Warehousing": "LAMP-01 MUG-04 TOY-77 BIKE-C"},
}


def _sellers() -> dict[str, tuple[Party, ...]]:
    found: dict[str, tuple[Party, ...]] = {}
    number = 560100
    for key, names in _SELLERS.items():
        found[key] = tuple(Party(number + step, name, PLACES[key]) for step, name in enumerate(names))
        number += 10
    return found


SELLERS = _sellers()

# The SKUs of each seller.
SKUS_OF_SELLER = {
    name: frozenset(f"HP-{sku}" for sku in skus.split()) for group in _SELLERS.values() for name, skus in group.items()
}

# Id, SKU, name, code of the Harmonized Tariff Schedule of the United States, category, country, weight, volume, units
# per carton, cost, and the name for export.
_PRODUCTS = (
    (48101, "LAMP-01", "Paper table lamp", "9405.21.8010", "Lighting", "CN", 1.2, 0.018, 6, "6.40", "纸台灯"),
    (48102, "LAMP-02", "Brass floor lamp", "9405.21.4010", "Lighting", "CN", 4.8, 0.06, 1, "28.50", "黄铜落地灯"),
    (48103, "SPKR-11", "Bookshelf speaker", "8518.22.0000", "Electronics", "CN", 3.4, 0.024, 2, "31.00", "书架音箱"),
    (48104, "MUG-04", "Stoneware mug, set of 4", "6912.00.4400", "Kitchen", "CN", 1.9, 0.009, 6, "5.20", "炻瓷杯"),
    (48105, "BOWL-02", "Serving bowl", "6912.00.4810", "Kitchen", "CN", 1.4, 0.012, 8, "3.10", "陶瓷碗"),
    (48106, "BIN-30", "Storage bin 30 l", "3924.90.5650", "Home", "CN", 1.1, 0.012, 8, "2.85", "塑料收纳箱"),
    (48107, "TOY-77", "Wooden train", "9503.00.0073", "Toys", "CN", 0.8, 0.006, 12, "4.60", "木制玩具火车"),
    (48108, "NOTE-A5", "Notebook A5, pack of 10", "4820.10.2060", "Stationery", "CN", 2.3, 0.005, 8, "3.90", "笔记本"),
    (48109, "SPADE-1", "Garden spade", "8201.10.0000", "Garden", "CN", 1.7, 0.011, 10, "4.75", "园艺铲"),
    (48110, "HOSE-20", "Garden hose 20 m", "3917.39.0050", "Garden", "CN", 2.6, 0.02, 5, "6.10", "塑料水管"),
    (48111, "CHAIR-T", "Teak folding chair", "9401.69.4010", "Furniture", "VN", 6.5, 0.08, 2, "24.00", None),
    (48112, "TABLE-T", "Teak patio table", "9403.60.8081", "Furniture", "VN", 21.0, 0.19, 1, "78.00", None),
    (48113, "BASK-R", "Rattan basket", "4602.12.1400", "Home", "VN", 0.9, 0.03, 6, "2.60", None),
    (48114, "CLOG-38", "Garden clogs", "6402.99.3165", "Footwear", "VN", 0.6, 0.007, 12, "3.45", None),
    (48115, "RUG-200", "Cotton rug 200 cm", "5702.99.0500", "Textiles", "IN", 5.1, 0.028, 4, "14.20", None),
    (48116, "THROW-1", "Wool throw", "6301.20.0010", "Textiles", "IN", 1.3, 0.008, 12, "11.80", None),
    (48117, "BIKE-C", "City bicycle", "8712.00.3500", "Outdoor", "TW", 14.5, 0.24, 1, "118.00", None),
    (48118, "LENS-8", "Field glasses 8x42", "9005.10.0040", "Outdoor", "CN", 0.7, 0.003, 20, "22.00", "双筒望远镜"),
    (48119, "CART-M", "Moving carton, pack of 20", "4819.10.0040", "Packaging", "CA", 12.0, 0.06, 1, "9.50", None),
)
# No longer bought: a SKU is unique among active products only.
_RETIRED_PRODUCTS = (
    (
        47055,
        "MUG-04",
        "Stoneware mug, set of 4 (old glaze)",
        "6912.00.4400",
        "Kitchen",
        "CN",
        2.0,
        0.009,
        6,
        "5.60",
        None,
    ),
    (47310, "FAN-03", "Desk fan", "8414.51.9090", "Home", "CN", 2.2, 0.02, 4, "8.90", None),
)
CATALOG, RETIRED_PRODUCTS = (
    tuple(
        CatalogProduct(number, f"HP-{sku}", name, code, category, country, weight, volume, units, cost, export_name)
        for number, sku, name, code, category, country, weight, volume, units, cost, export_name in rows
    )
    for rows in (_PRODUCTS, _RETIRED_PRODUCTS)
)


def price(good: CatalogProduct) -> Decimal:
    """The seller's price of one unit, in US dollars."""
    return Decimal(good.cost)

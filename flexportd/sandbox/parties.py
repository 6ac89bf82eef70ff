"""Who ships what in the sandbox: fictional companies and products. Any likeness to real ones is accidental."""

from dataclasses import dataclass
from decimal import Decimal

from flexportd.sandbox.places import PLACES, Place


@dataclass(frozen=True, slots=True)
class Party:
    """A legal entity of the account's network."""

    id: int
    name: str
    place: Place
    vat: tuple[str, str] | None = None

    @property
    def ref(self) -> str:
        """The handle that `f.consignee_external_ref` looks for."""
        return f"id-{self.id}"


@dataclass(frozen=True, slots=True)
class Good:
    """A product of the account's library; weight in kg and volume in cbm are for one unit."""

    id: int
    sku: str
    name: str
    hs_code: str
    category: str
    country_code: str
    weight: float
    volume: float


CONSIGNEES = (
    Party(556401, "Harbour & Pine Imports", PLACES["HQ-SF"]),
    Party(556402, "Harbour & Pine Europe B.V.", PLACES["W-TLB"], ("NL", "NL000099998B57")),
    Party(556403, "Larkfield Home Goods", PLACES["W-EDI"]),
)

_SELLERS = {
    "F-SZX": ("Bright Lantern Electronics", "Nanshan Audio Works", "Red Kapok Devices"),
    "F-DGG": ("Songshan Housewares", "Golden Carp Ceramics", "Pearl Delta Plastics"),
    "F-SZV": ("Lakeside Precision", "Tiger Hill Textiles", "Grand Canal Lighting"),
    "F-YIW": ("Chouzhou Sundries", "Nine Bridges Toys", "Moon Gate Stationery"),
    "F-WEF": ("Kite City Garden Tools", "Laizhou Bay Metalcraft"),
    "F-XIA": ("Bell Tower Optics", "Wei River Instruments"),
    "F-BDG": ("Saigon Teak Furniture", "Lotus Pond Rattan", "Mekong Bright Footwear"),
    "F-PNQ": ("Deccan Loom Mills", "Sahyadri Homespun"),
    "F-KHH": ("Formosa Trail Cycles", "Love River Components"),
    "W-ONT": ("Harbour & Pine Imports West",),
    "W-JOT": ("Harbour & Pine Imports Midwest",),
    "W-YYZ": ("Maple Row Packaging",),
    "W-ATL": ("Peachtree Cartons",),
    "W-TLB": ("Dommel Warehousing",),
}


def _sellers() -> dict[str, tuple[Party, ...]]:
    found: dict[str, tuple[Party, ...]] = {}
    number = 560100
    for key, names in _SELLERS.items():
        found[key] = tuple(Party(number + step, name, PLACES[key]) for step, name in enumerate(names))
        number += 10
    return found


SELLERS = _sellers()

GOODS = (
    Good(48101, "HP-LAMP-01", "Paper table lamp", "9405.21.0090", "Lighting", "CN", 1.2, 0.018),
    Good(48102, "HP-LAMP-02", "Brass floor lamp", "9405.21.0010", "Lighting", "CN", 4.8, 0.06),
    Good(48103, "HP-SPKR-11", "Bookshelf speaker", "8518.22.0000", "Electronics", "CN", 3.4, 0.024),
    Good(48104, "HP-MUG-04", "Stoneware mug, set of 4", "6912.00.3900", "Kitchen", "CN", 1.9, 0.009),
    Good(48105, "HP-BOWL-02", "Serving bowl", "6912.00.3550", "Kitchen", "CN", 1.4, 0.012),
    Good(48106, "HP-BIN-30", "Storage bin 30 l", "3924.90.5650", "Home", "CN", 1.1, 0.035),
    Good(48107, "HP-TOY-77", "Wooden train", "9503.00.0073", "Toys", "CN", 0.8, 0.006),
    Good(48108, "HP-NOTE-A5", "Notebook A5, pack of 10", "4820.10.2010", "Stationery", "CN", 2.3, 0.005),
    Good(48109, "HP-SPADE-1", "Garden spade", "8201.10.0000", "Garden", "CN", 1.7, 0.011),
    Good(48110, "HP-HOSE-20", "Garden hose 20 m", "3917.39.0050", "Garden", "CN", 2.6, 0.02),
    Good(48111, "HP-CHAIR-T", "Teak folding chair", "9401.69.6011", "Furniture", "VN", 6.5, 0.11),
    Good(48112, "HP-TABLE-T", "Teak patio table", "9403.60.8081", "Furniture", "VN", 21.0, 0.31),
    Good(48113, "HP-BASK-R", "Rattan basket", "4602.12.1600", "Home", "VN", 0.9, 0.03),
    Good(48114, "HP-CLOG-38", "Garden clogs", "6402.99.3165", "Footwear", "VN", 0.6, 0.007),
    Good(48115, "HP-RUG-200", "Cotton rug 200 cm", "5702.99.0500", "Textiles", "IN", 5.1, 0.028),
    Good(48116, "HP-THROW-1", "Wool throw", "6301.20.0010", "Textiles", "IN", 1.3, 0.008),
    Good(48117, "HP-BIKE-C", "City bicycle", "8712.00.3500", "Outdoor", "TW", 14.5, 0.24),
    Good(48118, "HP-LENS-8", "Field glasses 8x42", "9005.10.0040", "Outdoor", "CN", 0.7, 0.003),
    Good(48119, "HP-CART-M", "Moving carton, pack of 20", "4819.10.0040", "Packaging", "CA", 12.0, 0.06),
)
# No longer bought: a SKU is unique among active products only.
RETIRED_GOODS = (
    Good(47055, "HP-MUG-04", "Stoneware mug, set of 4 (old glaze)", "6912.00.3900", "Kitchen", "CN", 2.0, 0.009),
    Good(47310, "HP-FAN-03", "Desk fan", "8414.51.9090", "Home", "CN", 2.2, 0.02),
)


def price(good: Good) -> Decimal:
    """What the seller asks for one unit, in US dollars."""
    return Decimal(f"{good.weight * 3.1 + good.volume * 40 + 1.5:.2f}")

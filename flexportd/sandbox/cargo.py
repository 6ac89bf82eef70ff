"""What a shipment carries, for whom, and under which numbers."""

from dataclasses import dataclass
from random import Random

from flexportd.sandbox.parties import CONSIGNEES, GOODS, SELLERS, Good, Party
from flexportd.sandbox.routes import Route
from flexportd.sandbox.vehicles import container_number


@dataclass(frozen=True, slots=True)
class Line:
    """Units of one good under one purchase order."""

    good: Good
    units: int
    purchase_order: str


@dataclass(frozen=True, slots=True)
class Box:
    """A container, or a share of one."""

    number: str
    size: str
    type: str
    seal: str


@dataclass(frozen=True, slots=True)
class Cargo:
    """The load of one shipment and the papers it travels under."""

    name: str
    seller: Party
    consignee: Party
    lines: tuple[Line, ...]
    boxes: tuple[Box, ...]
    house_bill: str
    master_bill: str
    booking_number: str
    department: str
    priority: str

    @property
    def kilograms(self) -> float:
        """Weight of all lines."""
        return sum(line.good.weight * line.units for line in self.lines)

    @property
    def cubic_metres(self) -> float:
        """Volume of all lines."""
        return sum(line.good.volume * line.units for line in self.lines)

    @property
    def pieces(self) -> int:
        """Cartons of about twelve units."""
        return sum(-(-line.units // 12) for line in self.lines)

    @property
    def purchase_orders(self) -> list[str]:
        """The orders on board, each once."""
        return sorted({line.purchase_order for line in self.lines})


_SIZES = ("twenty_ft", "fourty_ft", "fourty_ft_hc", "fourty_five_ft_hc")
# Cubic metres one shipment fills.
_FILL = {"fcl": 55.0, "lcl": 6.0, "air": 3.0, "road": 20.0, "rail": 40.0}


def load(route: Route, rng: Random) -> Cargo:
    """Fill a shipment on this route."""
    origin = route.stretches[0].origin.place
    seller = rng.choice(SELLERS.get(origin.key) or _sellers_of(origin.country_code))
    abroad = route.stretches[-1].destination.place.country_code in {"NL", "DE", "GB"}
    consignee = CONSIGNEES[1] if abroad else rng.choice((CONSIGNEES[0], CONSIGNEES[0], CONSIGNEES[2]))
    boxes = _boxes(route, rng)
    lines = _lines(origin.country_code, _FILL[route.kind] * max(1, len(boxes)), rng)
    orders = "/".join(sorted({line.purchase_order for line in lines}))
    name = f"PO {orders} {lines[0].good.name.lower()}"
    bills = [f"HPX{rng.randint(100_000, 999_999)}" for _ in range(2 if rng.random() < 0.15 else 1)]
    return Cargo(
        # Recorded names keep the trailing blanks people type.
        name=name + (" " if rng.random() < 0.05 else ""),
        seller=seller,
        consignee=consignee,
        lines=lines,
        boxes=boxes,
        house_bill=", ".join(bills),
        master_bill=_master_bill(route, rng),
        booking_number=f"{rng.randint(10**8, 10**9 - 1)}",
        department=rng.choice(("Home", "Garden", "Kitchen", "Outdoor")),
        priority="high" if rng.random() < 0.1 else "standard",
    )


def _sellers_of(country_code: str) -> tuple[Party, ...]:
    """Sellers of a country: who ships through a port or warehouse there."""
    near = tuple(party for group in SELLERS.values() for party in group if party.place.country_code == country_code)
    return near or SELLERS["F-SZX"]


def _lines(country_code: str, cubic_metres: float, rng: Random) -> tuple[Line, ...]:
    goods = [good for good in GOODS if good.country_code == country_code] or list(GOODS)
    chosen = rng.sample(goods, min(len(goods), rng.randint(1, 4)))
    orders = [str(rng.randint(4100, 9999)) for _ in range(rng.choice((1, 1, 2)))]
    share = cubic_metres * rng.uniform(0.6, 0.95) / len(chosen)
    return tuple(Line(good, max(1, int(share / good.volume)), rng.choice(orders)) for good in chosen)


def _boxes(route: Route, rng: Random) -> tuple[Box, ...]:
    """One to three containers for FCL; a share of one, or none that is known, for LCL."""
    if route.kind == "lcl":
        return (Box(container_number(rng), "fourty_ft_hc", "lcl", ""),) if rng.random() < 0.6 else ()
    if route.kind != "fcl":
        return ()
    found = []
    for _ in range(rng.choices((1, 2, 3), (65, 25, 10))[0]):
        size = rng.choices(_SIZES, (15, 25, 55, 5))[0]
        kind = "reefer" if rng.random() < 0.03 else "dry"
        seal = f"SL{rng.randint(10**6, 10**7 - 1)}" if rng.random() < 0.8 else ""
        found.append(Box(container_number(rng), size, kind, seal))
    return tuple(found)


def _master_bill(route: Route, rng: Random) -> str:
    if route.kind == "air":
        serial = rng.randint(10**6, 10**7 - 1)
        return f"{rng.choice((160, 180, 297))}-{serial}{serial % 7}"
    return f"{rng.choice(('MAEU', 'MEDU', 'HLCU', 'ONEY', 'EGLV'))}{rng.randint(10**8, 10**9 - 1)}"

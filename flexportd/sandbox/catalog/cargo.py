"""The cargo of a shipment, its parties and its reference numbers."""

from dataclasses import dataclass
from random import Random

from flexportd.sandbox.catalog.companies import CATALOG, CONSIGNEES, SELLERS, SKUS_OF_SELLER, CatalogProduct, Party
from flexportd.sandbox.catalog.routes import RoutePlan
from flexportd.sandbox.catalog.vehicles import container_number, master_bill


@dataclass(frozen=True, slots=True)
class CargoLine:
    """Units of one good under one purchase order, in full cartons."""

    product: CatalogProduct
    units: int
    purchase_order: str


@dataclass(frozen=True, slots=True)
class CargoContainer:
    """A container, or a share of one."""

    number: str
    size: str
    type: str
    seal: str


@dataclass(frozen=True, slots=True)
class ShipmentCargo:
    """The load of one shipment, and its bill and booking numbers."""

    name: str
    seller: Party
    consignee: Party
    lines: tuple[CargoLine, ...]
    containers: tuple[CargoContainer, ...]
    house_bills: int
    master_bill: str | None
    booking_number: str
    department: str
    priority: str

    @property
    def kilograms(self) -> float:
        """Weight of all lines."""
        return sum(line.product.weight * line.units for line in self.lines)

    @property
    def cubic_metres(self) -> float:
        """Volume of all lines."""
        return sum(line.product.volume * line.units for line in self.lines)

    @property
    def chargeable_kilograms(self) -> float:
        """What air freight is charged by: the greater of the real and the volume weight, 6 cbm to the ton."""
        return max(self.kilograms, self.cubic_metres * 1000 / 6)

    @property
    def pieces(self) -> int:
        """Cartons of all lines."""
        return sum(line.units // line.product.per_carton for line in self.lines)

    def shares(self, box: int) -> list[tuple[CargoLine, int]]:
        """The content of one container: the cartons of each line are divided among the containers."""
        parts, found = len(self.containers), []
        for line in self.lines:
            cartons, left = divmod(line.units // line.product.per_carton, parts)
            count = (cartons + (1 if box < left else 0)) * line.product.per_carton
            if count:
                found.append((line, count))
        return found

    @property
    def purchase_orders(self) -> list[str]:
        """The orders on board, each once."""
        return sorted({line.purchase_order for line in self.lines})


_SIZES = ("twenty_ft", "fourty_ft", "fourty_ft_hc", "fourty_five_ft_hc")
# Maximum load of a container in cubic metres and kilograms: cartons leave gaps, and roads have limits.
_CAPACITY = {
    "twenty_ft": (27.0, 17_200.0),
    "fourty_ft": (57.0, 19_800.0),
    "fourty_ft_hc": (66.0, 19_800.0),
    "fourty_five_ft_hc": (74.0, 19_800.0),
}
# The same for cargo without its own container.
_LOADS = {"lcl": (7.0, 4_000.0), "air": (3.4, 1_100.0), "ltl": (9.0, 4_200.0), "ftl": (64.0, 19_000.0)}
# Bulky things do not fly: cubic metres of a unit at most, kilograms in a cubic metre at least.
_LARGEST_BY_AIR, _LIGHTEST_BY_AIR = 0.06, 60.0


def load_cargo(route: RoutePlan, rng: Random) -> ShipmentCargo:
    """Fill a shipment on this route."""
    seller = rng.choice([party for party in SELLERS[route.factory.key] if _goods(route, party)])
    abroad = route.legs[-1].destination.place.country_code in {"NL", "DE", "GB"}
    consignee = CONSIGNEES[1] if abroad else rng.choice((CONSIGNEES[0], CONSIGNEES[0], CONSIGNEES[2]))
    boxes = _boxes(route, rng)
    lines = _lines(_goods(route, seller), _capacity(route, boxes), rng)
    orders = "/".join(sorted({line.purchase_order for line in lines}))
    name = f"PO {orders} {lines[0].product.name.lower()}"
    carrier = route.carrier
    return ShipmentCargo(
        # Recorded names keep the trailing blanks people type.
        name=name + (" " if rng.random() < 0.05 else ""),
        seller=seller,
        consignee=consignee,
        lines=lines,
        containers=boxes,
        house_bills=2 if route.kind == "fcl" and rng.random() < 0.15 else 1,
        master_bill=master_bill(carrier, route.port_of_loading.unlocode or "", rng) if carrier is not None else None,
        booking_number=f"{rng.randint(10**8, 10**9 - 1)}",
        department=lines[0].product.category,
        priority="high" if rng.random() < 0.1 else "standard",
    )


def _goods(route: RoutePlan, seller: Party) -> list[CatalogProduct]:
    goods = [good for good in CATALOG if good.sku in SKUS_OF_SELLER[seller.name]]
    return [good for good in goods if route.kind != "air" or _can_fly(good)]


def _can_fly(good: CatalogProduct) -> bool:
    return good.volume <= _LARGEST_BY_AIR and good.weight / good.volume >= _LIGHTEST_BY_AIR


def _capacity(route: RoutePlan, boxes: tuple[CargoContainer, ...]) -> tuple[float, float]:
    if boxes and route.kind != "lcl":
        volume, mass = _CAPACITY[boxes[0].size]
        return volume * len(boxes), mass * len(boxes)
    return _LOADS[(route.legs[0].service or "ltl") if route.kind == "road" else route.kind]


def _lines(goods: list[CatalogProduct], room: tuple[float, float], rng: Random) -> tuple[CargoLine, ...]:
    """Full cartons of one to four products, filling 60% to 95% of the capacity."""
    chosen = rng.sample(goods, min(len(goods), rng.randint(1, 4)))
    orders = [str(rng.randint(4100, 9999)) for _ in range(rng.choice((1, 1, 2)))]
    fill = rng.uniform(0.6, 0.95) / len(chosen)
    found = []
    for good in chosen:
        cartons = int(min(room[0] * fill / good.volume, room[1] * fill / good.weight) / good.per_carton)
        found.append(CargoLine(good, max(1, cartons) * good.per_carton, rng.choice(orders)))
    return tuple(found)


def _boxes(route: RoutePlan, rng: Random) -> tuple[CargoContainer, ...]:
    """One to three containers of one size, one by rail to Europe; for LCL a shared one, or none if unknown."""
    carrier = route.carrier
    if route.kind == "lcl":
        return (
            (CargoContainer(container_number(carrier, rng), "fourty_ft_hc", "lcl", ""),) if rng.random() < 0.6 else ()
        )
    if route.kind not in {"fcl", "rail"}:
        return ()
    count = rng.choices((1, 2, 3), (65, 25, 10))[0] if route.kind == "fcl" else 1
    size = rng.choices(_SIZES, (15, 25, 55, 5))[0] if route.kind == "fcl" else "fourty_ft_hc"
    found = []
    for _ in range(count):
        seal = f"SL{rng.randint(10**6, 10**7 - 1)}" if rng.random() < 0.8 else ""
        found.append(CargoContainer(container_number(carrier, rng), size, "dry", seal))
    return tuple(found)

"""Liner services and flights: carriers, ports, frequency, transit times and vessels.

Carriers, their codes and the order of ports are real; services, vessels and flights are invented, in the style of their
carriers. IMO numbers carry a valid check digit and come from the end of the nine-million series, so that they are
unlikely to be those of real ships.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache

# A Monday; weeks of services are counted from here.
_EPOCH = date(2020, 1, 6)
_FIRST_IMO, _IMO_STEP = 999_013, 6


@dataclass(frozen=True, slots=True)
class Carrier:
    """A carrier and its codes: SCAC at sea, IATA, ICAO and the air waybill's prefix in the air."""

    name: str
    code: str
    icao: str = ""
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class Vessel:
    """A vessel with its IMO number."""

    name: str
    imo: str


@dataclass(frozen=True, slots=True)
class Service:
    """A weekly line: `calls` are its ports in order, each with its day after the first one."""

    number: int
    carrier: Carrier
    heading: str
    calls: tuple[tuple[str, int], ...]
    fleet: tuple[Vessel, ...]

    def day(self, port: str) -> int:
        """The day of a call after that at the first port."""
        return dict(self.calls)[port]

    def serves(self, origin: str, destination: str) -> bool:
        """Whether it calls at both, in that order."""
        days = dict(self.calls)
        return origin in days and destination in days and days[origin] < days[destination]

    def week(self, port: str, soonest: date) -> int:
        """The week of the first sailing that leaves a port on that day or later."""
        return -((self.departure(port, 0) - soonest).days // 7)

    def departure(self, port: str, week: int) -> date:
        """The day on which the sailing of a week calls at a port."""
        return _EPOCH + timedelta(days=week * 7 + self.number % 7 + self.day(port))

    def vessel(self, week: int) -> Vessel:
        """The ship that sails in that week."""
        return self.fleet[week % len(self.fleet)]

    def voyage(self, week: int) -> str:
        """The number of a sailing: the ship's own voyages, and the direction."""
        return f"{week // len(self.fleet) + 1:03d}{self.heading}"


@dataclass(frozen=True, slots=True)
class Flight:
    """A daily flight: it leaves at `hour`:`minute` of the origin and takes `minutes`."""

    airline: Carrier
    number: str
    origin: str
    destination: str
    hour: int
    minute: int
    minutes: int


MAERSK, MSC, CMA = Carrier("Maersk", "MAEU"), Carrier("MSC", "MEDU"), Carrier("CMA CGM", "CMDU")
HAPAG, ONE = Carrier("Hapag-Lloyd", "HLCU"), Carrier("ONE", "ONEY")
EVERGREEN, COSCO = Carrier("Evergreen", "EGLV"), Carrier("COSCO Shipping Lines", "COSU")

# Naming pattern of each carrier's vessels (`*` is the name), and names that none of its real vessels is known to have.
_NAMES = {
    MAERSK: (
        "MAERSK *",
        """
        BITTERN DOTTEREL FIELDFARE GADWALL GARGANEY GODWIT GOLDCREST HOBBY LINNET MERLIN PIPIT PLOVER
        POCHARD REDSHANK REDWING RUFF SANDERLING SHOVELER SISKIN SMEW STONECHAT TURNSTONE TWITE WHEATEAR
        WHIMBREL WIGEON
        """,
    ),
    MSC: (
        "MSC *",
        """
        AURELIA.B BENEDIKTA CALANTHE DOROTEJA EULALIE FILIPPINA GRAZIELLA.T HERMINIA ISAURA JOVANKA KATALIN
        LUDOVICA MELISENDE NERISSA ORSOLYA PERPETUA QUITERIA ROSALBA.V SERAPHINE TEODORA ULRIKA VALPURGA
        XIMENA YSOLDE
        """,
    ),
    CMA: (
        "CMA CGM *",
        """
        ANCOLIE ARMOISE BELVEDERE BLEUET BRUYERE CAMPANULE CHARMILLE CORIANDRE EGLANTINE FAUVETTE GARANCE
        GENTIANE HIRONDELLE JONQUILLE LAVANDIN MARJOLAINE MELILOT NIELLE PERVENCHE ROMARIN SARRIETTE
        SERINGAT VERVEINE VIORNE ZINNIA
        """,
    ),
    HAPAG: (
        "* EXPRESS",
        """
        ALTMUEHL BROEKEL CHIEMGAU DIEMEL EIDERSTEDT FULDATAL GLEMS HUNTE ILMENAU JAGST KOCHER LEINETAL
        MUERITZ NETTE OKERTAL PEENE REGNITZ SCHLEI TAUBER UECKER
        """,
    ),
    ONE: (
        "ONE *",
        """
        AVOCET BRAMBLING BULLFINCH CURLEW DABCHICK DUNLIN DUNNOCK GOLDENEYE GREENSHANK LAPWING MERGANSER
        MOORHEN NIGHTJAR NUTHATCH OUZEL PINTAIL REDSTART WAXWING WHINCHAT WRYNECK
        """,
    ),
    EVERGREEN: (
        "EVER *",
        """
        LANTANA LARKSPUR LAVISH LEEWARD LEMONADE LENIENT LIGHTSOME LILTING LIMPID LINDEN LINEAL LISSOME
        LITHESOME LOFTIER LOVAGE LUCENT LULLABY LUMEN LUNAR LUPINE LUSTROUS LYCHEE
        """,
    ),
    COSCO: (
        "COSCO SHIPPING *",
        """
        ALDER BALSAM BUCKTHORN CATALPA CYPRESS DOGWOOD ELDER FIR GINKGO HAWTHORN HORNBEAM JUNIPER LARCH
        LINDEN MULBERRY ROWAN SPINDLE SPRUCE SYCAMORE TAMARISK WALNUT WILLOW
        """,
    ),
}
# Carrier, direction, weeks of a round trip (one ship for each), and the calls. Ships go east over the Pacific and
# through Panama, and west round the Cape to Europe; from India they go west to both.
_SERVICES: tuple[tuple[Carrier, str, int, str], ...] = (
    (MAERSK, "E", 6, "CNYTN:0 CNNGB:3 CNSHA:5 USLAX:18"),
    (MAERSK, "W", 13, "CNNGB:0 CNSHA:2 CNYTN:6 SGSIN:11 NLRTM:37 DEHAM:41 GBFXT:44"),
    (MSC, "E", 6, "CNYTN:0 CNNGB:3 CNSHA:5 USLGB:19"),
    (MSC, "W", 10, "INNSA:0 USNYC:29 USSAV:33 USHOU:38"),
    (CMA, "E", 8, "SGSIN:0 VNSGN:3 CNYTN:7 USLGB:23 USOAK:27"),
    (CMA, "W", 11, "VNSGN:0 SGSIN:3 NLRTM:31 DEHAM:34"),
    (HAPAG, "E", 6, "CNTAO:0 CNNGB:3 CNSHA:5 KRPUS:8 USSEA:19"),
    (HAPAG, "W", 8, "INNSA:0 NLRTM:25 DEHAM:28 GBFXT:31"),
    (ONE, "E", 7, "VNSGN:0 CNYTN:4 USLAX:20 USOAK:25"),
    (ONE, "E", 11, "VNSGN:0 CNYTN:4 TWKHH:6 KRPUS:9 USSAV:34 USNYC:37"),
    (EVERGREEN, "E", 6, "TWKHH:0 HKHKG:2 CNYTN:3 USLAX:17 USOAK:21"),
    (EVERGREEN, "E", 11, "CNTAO:0 CNNGB:3 CNSHA:5 USNYC:34 USSAV:38"),
    (COSCO, "E", 6, "CNTAO:0 CNSHA:3 CNNGB:5 USLGB:20 USSEA:25"),
    (COSCO, "E", 11, "CNSHA:0 CNNGB:2 CNYTN:5 KRPUS:9 USHOU:34"),
    # Feeders to the ports of transshipment.
    (HAPAG, "E", 2, "HKHKG:0 TWKHH:2 KRPUS:5"),
    (ONE, "E", 2, "CNTAO:0 KRPUS:2"),
    (COSCO, "E", 2, "CNTAO:0 KRPUS:2"),
    (MAERSK, "S", 2, "TWKHH:0 HKHKG:2 SGSIN:6"),
    (MAERSK, "S", 2, "VNSGN:0 SGSIN:3"),
    (CMA, "E", 3, "INNSA:0 SGSIN:8"),
    (CMA, "S", 2, "HKHKG:0 SGSIN:5"),
)


@cache
def services() -> tuple[Service, ...]:
    """All services, the long ones first; no ship sails on two of them."""
    left = {carrier: iter(names.split()) for carrier, (_, names) in _NAMES.items()}
    found: list[Service] = []
    ships = 0
    for number, (carrier, heading, weeks, text) in enumerate(_SERVICES):
        pattern = _NAMES[carrier][0]
        fleet = []
        for _ in range(weeks):
            name = pattern.replace("*", next(left[carrier]).replace(".", " "))
            fleet.append(Vessel(name, imo_number(_FIRST_IMO + _IMO_STEP * ships)))
            ships += 1
        calls = tuple((port, int(day)) for port, day in (call.split(":") for call in text.split()))
        found.append(Service(number, carrier, heading, calls, tuple(fleet)))
    return tuple(found)


def imo_number(stem: int) -> str:
    """Six digits and their IMO check digit."""
    total = sum(int(sign) * weight for sign, weight in zip(str(stem), range(7, 1, -1), strict=True))
    return f"{stem}{total % 10}"


_CX = Carrier("Cathay Pacific Cargo", "CX", "CPA", "160")
_KE = Carrier("Korean Air Cargo", "KE", "KAL", "180")
_LH = Carrier("Lufthansa Cargo", "LH", "GEC", "020")
_CI = Carrier("China Airlines Cargo", "CI", "CAL", "297")
_CK = Carrier("China Cargo Airlines", "CK", "CKK", "112")

FLIGHTS = (
    Flight(_CX, "CX3094", "HKG", "LAX", 22, 40, 775),
    Flight(_CX, "CX3282", "HKG", "ORD", 20, 15, 905),
    Flight(_CX, "CX3276", "HKG", "JFK", 23, 25, 960),
    Flight(_CX, "CX3037", "HKG", "FRA", 1, 10, 790),
    Flight(_CX, "CX3054", "SGN", "HKG", 14, 35, 160),
    Flight(_CK, "CK221", "PVG", "LAX", 21, 30, 690),
    Flight(_CK, "CK237", "PVG", "ORD", 19, 50, 825),
    Flight(_CK, "CK249", "PVG", "JFK", 2, 20, 885),
    Flight(_LH, "LH8431", "PVG", "FRA", 4, 45, 750),
    Flight(_LH, "LH8437", "HKG", "FRA", 3, 35, 780),
    Flight(_KE, "KE9314", "PVG", "ICN", 9, 25, 125),
    Flight(_KE, "KE9362", "SGN", "ICN", 23, 55, 310),
    Flight(_KE, "KE9205", "ICN", "LAX", 20, 5, 645),
    Flight(_KE, "KE9237", "ICN", "ORD", 21, 40, 770),
    Flight(_KE, "KE9251", "ICN", "JFK", 10, 30, 845),
    Flight(_KE, "KE9529", "ICN", "FRA", 12, 50, 790),
    Flight(_CI, "CI5884", "SGN", "TPE", 11, 15, 215),
    Flight(_CI, "CI5106", "TPE", "LAX", 22, 55, 720),
    Flight(_CI, "CI5238", "TPE", "ORD", 18, 25, 830),
    Flight(_CI, "CI5264", "TPE", "JFK", 19, 35, 900),
    Flight(_CI, "CI5621", "TPE", "FRA", 23, 15, 850),
)
TRUCKERS = ("Longreach Haulage", "Silver Fern Trucking", "Cobalt Drayage", "Tidewater Cartage", "Juniper Freightways")
ABROAD_TRUCKERS = {
    "CN": ("Pearl River Road Transport", "Huadong Trucking"),
    "HK": ("Pearl River Road Transport",),
    "VN": ("Saigon Port Trucking",),
    "IN": ("Konkan Roadlines",),
    "TW": ("Takao Container Haulage",),
    "NL": ("Rijnmond Transport", "Brabant Wegvervoer"),
    "DE": ("Elbtal Spedition", "Rhein-Main Spedition"),
    "GB": ("Orwell Haulage",),
}
EURASIAN_RAIL = "Trans-Eurasia Rail"

"""Places of the sandbox: real ports, airports, rail ramps and cities, and which are near each other.

Port codes are US Schedule D and K codes if known for certain, else none, as in recorded responses.
Street addresses are invented.
"""

from dataclasses import dataclass
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class WorldPlace:
    """A place as Flexport knows it; `kinds` are the sorts of port it is (`sea`, `rail`, `air`), none for an address."""

    key: str
    name: str
    city: str
    state: str | None
    country_code: str
    timezone: str
    unlocode: str | None = None
    kinds: tuple[str, ...] = ()
    port_code: str | None = None
    iata: str | None = None
    icao: str | None = None
    street: str | None = None
    zip: str | None = None

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of the place."""
        return ZoneInfo(self.timezone)

    @property
    def country(self) -> str:
        """The country's name in English."""
        return COUNTRIES[self.country_code]


COUNTRIES = {
    "CA": "Canada",
    "CN": "China",
    "DE": "Germany",
    "GB": "United Kingdom",
    "HK": "Hong Kong",
    "IN": "India",
    "KR": "South Korea",
    "LK": "Sri Lanka",
    "NL": "Netherlands",
    "SG": "Singapore",
    "TW": "Taiwan",
    "US": "United States",
    "VN": "Vietnam",
}

SHANGHAI, HONG_KONG, LOS_ANGELES = "Asia/Shanghai", "Asia/Hong_Kong", "America/Los_Angeles"
CHICAGO, NEW_YORK = "America/Chicago", "America/New_York"

# Key, name, city, state, country, zone, Schedule D or K code; the key is the UN/LOCODE.
_SEAPORTS = (
    ("CNYTN", "Yantian, China", "Yantian", None, "CN", HONG_KONG, "57078"),
    ("CNSHA", "Shanghai, China", "Shanghai", None, "CN", SHANGHAI, "57035"),
    ("CNNGB", "Ningbo, China", "Ningbo", None, "CN", SHANGHAI, "57020"),
    ("CNTAO", "Qingdao, China", "Qingdao", None, "CN", SHANGHAI, "57047"),
    ("HKHKG", "Hong Kong, Hong Kong", "Hong Kong", None, "HK", HONG_KONG, "58201"),
    ("VNSGN", "Ho Chi Minh City, Vietnam", "Ho Chi Minh City", None, "VN", "Asia/Ho_Chi_Minh", None),
    ("INNSA", "Nhava Sheva, India", "Nhava Sheva", None, "IN", "Asia/Kolkata", None),
    ("TWKHH", "Kaohsiung, Taiwan", "Kaohsiung", None, "TW", "Asia/Taipei", "58309"),
    ("SGSIN", "Singapore, Singapore", "Singapore", None, "SG", "Asia/Singapore", "55976"),
    ("KRPUS", "Busan, South Korea", "Busan", None, "KR", "Asia/Seoul", "58023"),
    ("LKCMB", "Colombo, Sri Lanka", "Colombo", None, "LK", "Asia/Colombo", None),
    ("USLAX", "Los Angeles, CA", "Los Angeles", "CA", "US", LOS_ANGELES, "2704"),
    ("USLGB", "Long Beach, CA", "Long Beach", "CA", "US", LOS_ANGELES, "2709"),
    ("USOAK", "Oakland, CA", "Oakland", "CA", "US", LOS_ANGELES, "2811"),
    ("USSEA", "Seattle, WA", "Seattle", "WA", "US", LOS_ANGELES, "3001"),
    ("USNYC", "New York, NY", "New York", "NY", "US", NEW_YORK, "4601"),
    ("USSAV", "Savannah, GA", "Savannah", "GA", "US", NEW_YORK, "1703"),
    ("USHOU", "Houston, TX", "Houston", "TX", "US", CHICAGO, "5301"),
    ("NLRTM", "Rotterdam, Netherlands", "Rotterdam", None, "NL", "Europe/Amsterdam", "42157"),
    ("DEHAM", "Hamburg, Germany", "Hamburg", None, "DE", "Europe/Berlin", None),
    ("GBFXT", "Felixstowe, United Kingdom", "Felixstowe", None, "GB", "Europe/London", None),
)

# Key, UN/LOCODE, name, city, state, country, zone, code.
_RAMPS = (
    ("R-CHI", "USCHI", "Chicago, IL", "Chicago", "IL", "US", CHICAGO, "3901"),
    ("R-DAL", "USDAL", "Dallas, TX", "Dallas", "TX", "US", CHICAGO, "5501"),
    ("R-MEM", "USMEM", "Memphis, TN", "Memphis", "TN", "US", CHICAGO, "2006"),
    ("R-SIA", "CNSIA", "Xi'an, China", "Xi'an", None, "CN", SHANGHAI, None),
    ("R-DUI", "DEDUI", "Duisburg, Germany", "Duisburg", None, "DE", "Europe/Berlin", None),
)

# IATA, ICAO, UN/LOCODE, city, state, country, zone, code.
_AIRPORTS = (
    ("PVG", "ZSPD", "CNSHA", "Shanghai", None, "CN", SHANGHAI, None),
    ("HKG", "VHHH", "HKHKG", "Hong Kong", None, "HK", HONG_KONG, None),
    ("SGN", "VVTS", "VNSGN", "Ho Chi Minh City", None, "VN", "Asia/Ho_Chi_Minh", None),
    ("ICN", "RKSI", "KRINC", "Incheon", None, "KR", "Asia/Seoul", None),
    ("TPE", "RCTP", "TWTPE", "Taipei", None, "TW", "Asia/Taipei", None),
    ("LAX", "KLAX", "USLAX", "Los Angeles", "CA", "US", LOS_ANGELES, "2720"),
    ("ORD", "KORD", "USCHI", "Chicago", "IL", "US", CHICAGO, None),
    ("JFK", "KJFK", "USNYC", "New York", "NY", "US", NEW_YORK, None),
    ("FRA", "EDDF", "DEFRA", "Frankfurt", None, "DE", "Europe/Berlin", None),
)

# Key, name, street, city, state, zip, country, zone.
_ADDRESSES = (
    ("F-SZX", "Nanshan Assembly Works", "18 Keji Road", "Shenzhen", None, "518057", "CN", SHANGHAI),
    ("F-DGG", "Dongguan Housewares Plant", "66 Songshan Avenue", "Dongguan", None, "523808", "CN", SHANGHAI),
    ("F-SZV", "Suzhou Lakeside Factory", "9 Xinghu Street", "Suzhou", None, "215123", "CN", SHANGHAI),
    ("F-YIW", "Yiwu Market Warehouse", "120 Chouzhou Road", "Yiwu", None, "322000", "CN", SHANGHAI),
    ("F-WEF", "Weifang Garden Tools Plant", "3 Dongfeng Street", "Weifang", None, "261041", "CN", SHANGHAI),
    ("F-XIA", "Xi'an Optics Plant", "41 Tangyan Road", "Xi'an", None, "710065", "CN", SHANGHAI),
    ("F-BDG", "Binh Duong Furniture Mill", "27 Dai Lo Thong Nhat", "Di An", None, None, "VN", "Asia/Ho_Chi_Minh"),
    ("F-PNQ", "Pune Textile Mill", "5 Talegaon Road", "Pune", None, "410507", "IN", "Asia/Kolkata"),
    ("F-KHH", "Kaohsiung Cycle Works", "88 Linhai Road", "Kaohsiung", None, None, "TW", "Asia/Taipei"),
    ("C-SZX", "Shenzhen Consolidation Warehouse", "2 Yangang Road", "Shenzhen", None, "518083", "CN", SHANGHAI),
    ("C-SHA", "Shanghai Consolidation Warehouse", "700 Gangcheng Road", "Shanghai", None, "200137", "CN", SHANGHAI),
    ("D-LAX", "Carson Container Freight Station", "2100 Wilmington Way", "Carson", "CA", "90810", "US", LOS_ANGELES),
    ("D-NYC", "Elizabeth Container Freight Station", "14 Dowd Lane", "Elizabeth", "NJ", "07201", "US", NEW_YORK),
    ("D-JFK", "Jamaica Air Freight Station", "147 Rockaway Lane", "Jamaica", "NY", "11434", "US", NEW_YORK),
    ("D-INW", "Inglewood Air Freight Station", "900 Aviation Lane", "Inglewood", "CA", "90301", "US", LOS_ANGELES),
    ("D-CHI", "Bensenville Air Freight Station", "410 Thomas Lane", "Bensenville", "IL", "60106", "US", CHICAGO),
    ("D-FRA", "Frankfurt Air Freight Station", "Torweg 7", "Frankfurt", None, "60549", "DE", "Europe/Berlin"),
    ("W-ONT", "Ontario Distribution Center", "4800 Jurupa Lane", "Ontario", "CA", "91761", "US", LOS_ANGELES),
    ("W-TRC", "Tracy Distribution Center", "1605 Pescadero Lane", "Tracy", "CA", "95304", "US", LOS_ANGELES),
    ("W-KNT", "Kent Distribution Center", "7020 Russell Lane", "Kent", "WA", "98032", "US", LOS_ANGELES),
    ("W-RNO", "Reno Fulfilment Center", "950 Lear Way", "Reno", "NV", "89506", "US", LOS_ANGELES),
    ("W-JOT", "Joliet Distribution Center", "3301 Brandon Lane", "Joliet", "IL", "60436", "US", CHICAGO),
    ("W-FTW", "Fort Worth Distribution Center", "15000 Heritage Lane", "Fort Worth", "TX", "76177", "US", CHICAGO),
    ("W-MEM", "Memphis Distribution Center", "5200 Holmes Lane", "Memphis", "TN", "38118", "US", CHICAGO),
    ("W-EDI", "Edison Distribution Center", "60 Mill Lane", "Edison", "NJ", "08817", "US", NEW_YORK),
    ("W-ATL", "Atlanta Distribution Center", "2255 Sullivan Lane", "College Park", "GA", "30337", "US", NEW_YORK),
    ("W-HOU", "Houston Cross Dock", "8100 Fairbanks Lane", "Houston", "TX", "77064", "US", CHICAGO),
    ("W-YYZ", "Brampton Distribution Centre", "70 Airport Lane", "Brampton", "ON", "L6T 4P7", "CA", "America/Toronto"),
    ("W-TLB", "Tilburg Distribution Centre", "Kraaiven 21", "Tilburg", None, "5048 AB", "NL", "Europe/Amsterdam"),
    ("W-HAM", "Hamburg Distribution Centre", "Speicherweg 4", "Hamburg", None, "21129", "DE", "Europe/Berlin"),
    ("W-RUE", "Ruesselsheim Distribution Centre", "Werkring 8", "Ruesselsheim", None, "65428", "DE", "Europe/Berlin"),
    ("W-VEN", "Venlo Distribution Centre", "Columbusweg 30", "Venlo", None, "5928 LC", "NL", "Europe/Amsterdam"),
    ("W-DAV", "Daventry Distribution Centre", "12 Parkway", "Daventry", None, "NN11 8QL", "GB", "Europe/London"),
    ("HQ-SF", "Head office", "480 Pier Street", "San Francisco", "CA", "94107", "US", LOS_ANGELES),
)


def _all_places() -> list[WorldPlace]:
    found = [
        WorldPlace(k, n, c, s, cc, z, k, ("sea", "rail") if cc == "US" else ("sea",), p)
        for k, n, c, s, cc, z, p in _SEAPORTS
    ]
    found += [WorldPlace(k, n, c, s, cc, z, u, ("rail",), p) for k, u, n, c, s, cc, z, p in _RAMPS]
    found += [
        WorldPlace(iata, f"{iata} - {c} - {s or COUNTRIES[cc]}", c, s, cc, z, u, ("air",), p, iata, icao)
        for iata, icao, u, c, s, cc, z, p in _AIRPORTS
    ]
    found += [
        WorldPlace(k, n, c, s, cc, z, street=street, zip=postcode) for k, n, street, c, s, postcode, cc, z in _ADDRESSES
    ]
    return found


PLACES = {place.key: place for place in _all_places()}

# Port of loading: the factories near it.
SEA_ORIGINS = {
    "CNYTN": ("F-SZX", "F-DGG"),
    "HKHKG": ("F-SZX", "F-DGG"),
    "CNSHA": ("F-SZV",),
    "CNNGB": ("F-YIW",),
    "CNTAO": ("F-WEF",),
    "VNSGN": ("F-BDG",),
    "INNSA": ("F-PNQ",),
    "TWKHH": ("F-KHH",),
}
# Port of unloading: warehouses within a day's drayage, rail ramps inland.
SEA_DESTINATIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "USLAX": (("W-ONT",), ("R-CHI", "R-DAL")),
    "USLGB": (("W-ONT",), ("R-CHI", "R-MEM")),
    "USOAK": (("W-TRC", "W-RNO"), ()),
    "USSEA": (("W-KNT",), ("R-CHI",)),
    "USNYC": (("W-EDI",), ()),
    "USSAV": (("W-ATL",), ("R-MEM",)),
    "USHOU": (("W-HOU",), ("R-DAL",)),
    "NLRTM": (("W-TLB", "W-VEN"), ()),
    "DEHAM": (("W-HAM",), ()),
    "GBFXT": (("W-DAV",), ()),
}
RAMP_WAREHOUSES = {"R-CHI": "W-JOT", "R-DAL": "W-FTW", "R-MEM": "W-MEM"}
# Days by rail between a port and a ramp.
RAIL_DAYS = {
    ("USLAX", "R-CHI"): (5, 7),
    ("USLAX", "R-DAL"): (4, 6),
    ("USLGB", "R-CHI"): (5, 7),
    ("USLGB", "R-MEM"): (5, 7),
    ("USSEA", "R-CHI"): (5, 7),
    ("USSAV", "R-MEM"): (2, 4),
    ("USHOU", "R-DAL"): (1, 2),
}
AIR_ORIGINS = {"PVG": ("F-SZV", "F-YIW"), "HKG": ("F-SZX", "F-DGG"), "SGN": ("F-BDG",)}
AIR_DESTINATIONS = {
    "LAX": ("D-INW", "W-ONT"),
    "ORD": ("D-CHI", "W-JOT"),
    "JFK": ("D-JFK", "W-EDI"),
    "FRA": ("D-FRA", "W-RUE"),
}
# Port of loading: a factory near it, and the station where shares of containers are loaded.
LCL_ORIGINS = {"CNYTN": ("F-DGG", "C-SZX"), "CNSHA": ("F-SZV", "C-SHA")}
LCL_DESTINATIONS = {"USLAX": ("D-LAX", "W-ONT"), "USNYC": ("D-NYC", "W-EDI")}
# Two ends of a trucking lane, and days on the road.
ROAD_LANES = (
    ("W-ONT", "W-RNO", (1, 2)),
    ("W-JOT", "W-EDI", (2, 3)),
    ("W-YYZ", "W-JOT", (1, 2)),
    ("W-ATL", "W-MEM", (1, 2)),
    ("W-TLB", "W-HAM", (1, 2)),
)

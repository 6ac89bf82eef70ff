"""What Flexport's raw objects say, worked out from Flexport's documentation alone.

Nothing here imports flexportd: each function takes JSON as Flexport gives it and returns the fields that flexportd is to
answer, so that a mistake of the program is not repeated in what it is compared with. The rules:

- A date is shown in the zone of its place: a leg's departure in that of its origin, its arrival in that of its
  destination; loading and discharge of a container alike.
- Noon or midnight there is a day; a plain date is one.
- Places come from the tags of the legs' nodes. Where Flexport gives the sea port (`fmc_port_of_unloading`) apart from
  the `port_of_unloading`, the latter is also the ramp at which the train ends.
- The shipment's arrival is that of its last carrier leg: with a ramp it belongs to the ramp.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

Json = dict[str, Any]

LAND = {"truck", "truck_intl", "rail"}
# Status in the order of the usual voyage.
STATUSES = (
    "seller_location",
    "origin_stop_off",
    "in_transit_to_departure_port",
    "departure_port",
    "in_transit_to_intermediary_port",
    "intermediary_port",
    "in_transit_to_arrival_port",
    "arrival_port",
    "deconsolidation",
    "in_transit_to_final_destination",
    "destination_stop_off",
    "gated_out",
    "final_destination",
)


# --- a date at its place ---


def moment(wire: str | None, zone: str | None) -> tuple[str | None, str | None, bool]:
    """(instant in UTC, day at the place, whether only the day is known) of a time on the wire."""
    if wire is None:
        return None, None, False
    if len(wire) == 10:
        return None, wire, True
    at = datetime.fromisoformat(wire)
    there = at.astimezone(ZoneInfo(zone)) if zone else at
    clock = (there.hour, there.minute, there.second, there.microsecond)
    return utc(at), there.date().isoformat(), clock in ((0, 0, 0, 0), (12, 0, 0, 0))


def utc(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def end_of(day: str, zone: str | None) -> datetime:
    """The first instant after this day at a place; after it everywhere, where the zone is not known."""
    following = datetime.combine(date.fromisoformat(day) + timedelta(days=1), datetime.min.time())
    return following.replace(tzinfo=ZoneInfo(zone)) if zone else following.replace(tzinfo=UTC) + timedelta(hours=12)


def dates(values: dict[str, tuple[str | None, str | None]]) -> Json:
    """`<name>_at`, `<name>_date` and `day_only` of wire times with their zones, by name."""
    fields: Json = {"day_only": set()}
    for name, (wire, zone) in values.items():
        fields[f"{name}_at"], fields[f"{name}_date"], only = moment(wire, zone)
        if only:
            fields["day_only"].add(name)
    return fields


def text(found: str | None) -> str | None:
    """Text without the blanks around it that Flexport keeps; empty text says nothing."""
    return (found or "").strip() or None


# --- places ---


def named(place: str, node: Json | None) -> Json:
    """Name, code and zone of a leg's end under the name of a stop."""
    found = node["place"] if node else {"name": None, "address": {}}
    address = found["address"]
    return {
        place: text(found["name"]),
        f"{place}_code": address.get("unlocode") or None,
        f"{place}_timezone": address.get("timezone") or None,
    }


def key(node: Json) -> tuple[str, Any]:
    return node["place"]["name"], node["place"]["address"].get("ref")


def ends(legs: Iterable[Json]) -> list[tuple[Json, str, Json]]:
    return [(leg, end, leg[end]) for leg in legs for end in ("origin", "destination")]


def tagged(legs: list[Json], tag: str) -> Json | None:
    return next((node for _, _, node in ends(legs) if tag in node["tags"]), None)


class Journey:
    """The stops of one shipment by its legs' tags, and what its legs say about each."""

    def __init__(self, legs: list[Json]) -> None:
        self.legs = sorted(legs, key=lambda leg: leg["id"])
        self.port_of_loading = tagged(self.legs, "port_of_loading")
        self.port_of_unloading = tagged(self.legs, "port_of_unloading")
        self.inland_ramp = self._ramp(tagged(self.legs, "fmc_port_of_unloading") or self.port_of_unloading)
        ramp, port = self.inland_ramp, self.port_of_unloading
        self.ramp_is_port = bool(ramp and port and ramp["place"]["name"] == port["place"]["name"])
        self.place_of_delivery = tagged(self.legs, "place_of_delivery")
        self.origin = tagged(self.legs, "origin_address") or self._end("origin", "destination")
        self.destination = tagged(self.legs, "destination_address") or self._end("destination", "origin")
        self.terminal = self.inland_ramp or self.port_of_unloading

    def _ramp(self, at: Json | None) -> Json | None:
        """Where the train from the sea port ends."""
        found = None
        while at and (train := next((leg for leg in self.legs if rail_from(leg, at)), None)):
            found = at = train["destination"]
        return found

    def _end(self, end: str, other: str) -> Json | None:
        """The only place that legs leave and none reaches, or the other way round."""
        reached = {key(leg[other]) for leg in self.legs}
        return next((leg[end] for leg in self.legs if key(leg[end]) not in reached), None)

    def leaving(self, node: Json | None, *, carrier: bool) -> list[Json]:
        return [leg for leg in self.legs if node and key(leg["origin"]) == key(node) and (not carrier or carries(leg))]

    def reaching(self, node: Json | None, *, carrier: bool) -> list[Json]:
        return [
            leg for leg in self.legs if node and key(leg["destination"]) == key(node) and (not carrier or carries(leg))
        ]

    def carriage(self) -> list[Json]:
        """The legs of the carrier, from the port of loading to the port of unloading or the ramp."""
        return [leg for leg in self.legs if carries(leg)]

    def behind(self) -> list[Json]:
        """The legs that leave the terminal, and all that follow them to the destination."""
        found: list[Json] = []
        nodes = [self.terminal] if self.terminal else []
        while nodes:
            node = nodes.pop()
            if self.destination and key(node) == key(self.destination):
                continue
            new = [leg for leg in self.leaving(node, carrier=False) if leg not in found and not carries(leg)]
            found += new
            nodes += [leg["destination"] for leg in new]
        return found


def rail_from(leg: Json, node: Json) -> bool:
    return leg["transportation_mode"] == "rail" and key(leg["origin"]) == key(node)


def carries(leg: Json) -> bool:
    """Whether this is a leg of the main carriage: not a truck between an address and a port."""
    return leg["transportation_mode"] not in ("truck", "truck_intl")


# --- objects ---


def shipment(raw: Json, legs: list[Json], boxes: list[Json], booking: Json | None) -> Json:
    route = Journey(legs)
    zone = {stop: (named(stop, getattr(route, stop))[f"{stop}_timezone"]) for stop in STOPS}
    sources: dict[str, str] = {}

    def known(name: str, own: str | None, found: list[Json], field: str, choose: Any) -> str | None:
        """The shipment's own date, else that of its legs; notes where it is from."""
        if own is not None:
            sources[name] = "shipment"
            return own
        told = [leg for leg in found if leg[field] is not None]
        if not told:
            return None
        leg = choose(told, key=lambda leg: (datetime.fromisoformat(leg[field]), leg["id"]))
        sources[name] = f"legs/{leg['id']}"
        return str(leg[field])

    values: dict[str, tuple[str | None, str | None]] = {}
    sailing = route.leaving(route.port_of_loading, carrier=True)
    landing = route.reaching(route.port_of_unloading, carrier=True)
    at_ramp = route.reaching(route.inland_ramp, carrier=True)
    last = route.reaching(route.place_of_delivery, carrier=False)
    # Where the route ends at a port, nobody delivers.
    to_door = [leg for leg in route.reaching(route.destination, carrier=False) if not carries(leg)]
    for kind in ("estimated", "actual"):
        own = {part: raw[f"{kind}_{part}_date"] for part in WHOLE}
        departs, arrives = f"{kind}_departure_date", f"{kind}_arrival_date"
        name = f"{kind}_departure"
        values[name] = known(name, own["departure"], sailing, departs, min), zone["port_of_loading"]
        name = f"{kind}_arrival"
        mine = None if route.inland_ramp and not route.ramp_is_port else own["arrival"]
        values[name] = known(name, mine, landing, arrives, max), zone["port_of_unloading"]
        name = f"{kind}_ramp_arrival"
        mine = own["arrival"] if route.inland_ramp else None
        values[name] = known(name, mine, at_ramp, arrives, max), zone["inland_ramp"]
        name = f"{kind}_place_of_delivery_arrival"
        values[name] = known(name, None, last, arrives, max), zone["place_of_delivery"]
        # The whole has been picked up or delivered with its last truck.
        for part, stop, trucks, field in (
            ("picked_up_in_full", "origin", route.leaving(route.origin, carrier=False), departs),
            ("delivered_in_full", "destination", to_door, arrives),
        ):
            name = f"{kind}_{part}"
            all_told = trucks if all(leg[field] for leg in trucks) else []
            values[name] = known(name, own[part], all_told, field, max), zone[stop]
    values["departure"] = values["actual_departure"] if values["actual_departure"][0] else values["estimated_departure"]
    values["arrival"] = values["actual_arrival"] if values["actual_arrival"][0] else values["estimated_arrival"]
    sea, air = raw["ocean_shipment"] or {}, raw["air_shipment"] or {}
    bills = sea.get("house_bill_number") or air.get("house_airway_bill") or ""
    order = orders(raw["metadata"]) | orders((booking or {}).get("metadata") or {})
    main = sailing[0] if len(sailing) == 1 else None
    vessel = (main or {}).get("ocean_leg") or {}
    fields = {
        "id": raw["id"],
        "flex_id": f"FLEX-{raw['id']}",
        "name": text(raw["name"]),
        "mode": raw["transportation_mode"],
        "status": raw["status"],
        "freight_type": raw["freight_type"],
        "incoterm": raw["incoterm"],
        "priority": raw["priority"],
        "pieces": raw["pieces"] or None,
        "weight": quantity(raw["calculated_weight"]),
        "volume": quantity(raw["calculated_volume"]),
        "chargeable_weight": quantity((raw["air_shipment"] or {}).get("chargeable_weight")),
        "cargo_ready_date": raw["cargo_ready_date"],
        "created_at": raw["created_date"],
        "archived_at": raw["archived_at"],
        "house_bills": {bill.strip() for bill in bills.split(",")} - {""},
        "master_bill": sea.get("master_bill_number") or air.get("master_airway_bill") or None,
        "carrier_booking_number": sea.get("carrier_booking_number") or None,
        "is_lcl": sea.get("is_lcl"),
        "it_number": raw["it_number"],
        "booking_id": (raw["booking"] or {}).get("id"),
        "purchase_orders": order,
        "container_numbers": {box["container_number"] for box in boxes} - {None},
        "carrier": carrier(main) if main else None,
        "vessel": vessel.get("vessel_name"),
        "voyage": vessel.get("voyage_number"),
        "date_sources": sources or None,
        **{part: {entity["name"] for entity in raw[part]} for part in PARTIES},
        **dates(values),
    }
    for stop in STOPS:
        fields |= named(stop, getattr(route, stop))
    return fields


STOPS = ("origin", "port_of_loading", "port_of_unloading", "inland_ramp", "place_of_delivery", "destination")
WHOLE = ("departure", "arrival", "picked_up_in_full", "delivered_in_full")
PARTIES = ("shippers", "consignees", "buyers", "sellers", "importers_of_record")


def orders(metadata: dict[str, list[str]]) -> set[str]:
    """The purchase orders in metadata: lists of text by a name such as `PO #`."""
    return {text for name, texts in metadata.items() if name.rstrip(" #").lower() == "po" for text in texts}


def quantity(found: Json | None) -> Json | None:
    """Value and unit; nothing weighs nothing, so zero is not known."""
    return {"value": found["value"], "unit": found["unit"]} if found and found["value"] else None


def carrier(leg: Json) -> str | None:
    """`FLXT ...` stands for a carrier that is not chosen yet."""
    name = leg["carrier_name"]
    return None if name is None or name.startswith("FLXT") else name


def whereabouts(name: str, node: Json) -> Json:
    found = node["place"]["address"]
    airport = next((one for one in node["place"]["details"] if one["_object"] == "/air/port"), {})
    return {
        f"{name}_city": text(found["city"]),
        f"{name}_state": text(found["state"]),
        f"{name}_country": text(found["country"]),
        f"{name}_country_code": text(found["country_code"]),
        f"{name}_iata": airport.get("iata_code"),
        f"{name}_terminal": node["terminal"],
    }


def imo_is_right(number: str | None) -> bool | None:
    """Whether the last of the seven digits is that of the sum of the others, weighed 7 to 2."""
    return None if number is None else int(number[-1]) == sum(int(number[n]) * (7 - n) for n in range(6)) % 10


def container_is_right(number: str) -> bool:
    """ISO 6346: letters count 10 to 38 without the multiples of 11, each place twice the one before it."""
    letters = {letter: n + 10 + (n + 9) // 10 for n, letter in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZ")}
    total = sum((letters[sign] if sign.isalpha() else int(sign)) << place for place, sign in enumerate(number[:10]))
    return len(number) == 11 and number[3] in "UJZ" and total % 11 % 10 == int(number[10])


# ISO 6346: length and height, and the type.
SIZES = {"twenty_ft": "22", "fourty_ft": "42", "fourty_ft_hc": "45"}
TYPES = {"dry": "G1", "open": "U1"}


def leg(raw: Json) -> Json:
    start, end = raw["origin"], raw["destination"]
    here, there = (node["place"]["address"]["timezone"] for node in (start, end))
    more = raw["additional_dates"]
    sea, air = raw["ocean_leg"] or {}, raw["air_leg"] or {}
    scac = sea.get("scac_code")
    return {
        "id": raw["id"],
        "shipment_id": raw["shipment"]["id"],
        "mode": raw["transportation_mode"],
        "carrier": carrier(raw),
        "scac": None if scac == "NONE" else scac,
        "vessel": sea.get("vessel_name"),
        "vessel_imo": sea.get("vessel_imo"),
        "voyage": sea.get("voyage_number"),
        "flight": air.get("flight_number"),
        "vessel_imo_valid": imo_is_right(sea.get("vessel_imo")),
        "airline": carrier(raw) if raw["air_leg"] else None,
        "airline_code": text(air.get("iata_code")),
        "airline_icao": text(air.get("icao_code")),
        "flight_number": air.get("flight_number"),
        **whereabouts("origin", start),
        **whereabouts("destination", end),
        "service_type": (raw["trucking_leg"] or {}).get("service_type"),
        "tracking_number": (raw["trucking_leg"] or {}).get("tracking_number"),
        "origin_ref": start["place"]["address"]["ref"],
        "origin_tags": set(start["tags"]),
        "destination_ref": end["place"]["address"]["ref"],
        "destination_tags": set(end["tags"]),
        "cargo_ready_date": raw["cargo_ready_date"],
        **named("origin", start),
        **named("destination", end),
        **dates(
            {
                "estimated_departure": (raw["estimated_departure_date"], here),
                "actual_departure": (raw["actual_departure_date"], here),
                "estimated_arrival": (raw["estimated_arrival_date"], there),
                "actual_arrival": (raw["actual_arrival_date"], there),
                "delivery_appointment": (more.get("delivery_appointment_scheduled_for_date"), there),
                "delivery_completed": (more.get("delivery_completed"), there),
            }
        ),
    }


def container_leg(raw: Json, leg: Json, box: Json) -> Json:
    here, there = (leg[end]["place"]["address"]["timezone"] for end in ("origin", "destination"))
    return {
        "id": raw["id"],
        "shipment_id": box["shipment"]["id"],
        "container_id": raw["shipment_container"]["id"],
        "leg_id": raw["leg"]["id"],
        "origin_timezone": here,
        "destination_timezone": there,
        **dates(
            {
                "actual_loaded_on_board": (raw["dates"].get("actual_loaded_on_board_date"), here),
                "actual_discharge": (raw["dates"].get("actual_discharge_date"), there),
            }
        ),
    }


def terminal_of(route: Journey, own: list[Json]) -> Json | None:
    """Where a container leaves its carrier: the end of its last carrier leg, else the shipment's."""
    mine = [leg for leg in own if carries(leg)]
    if not mine:
        return route.terminal
    left = {key(leg["origin"]) for leg in mine}
    return next((leg["destination"] for leg in mine if key(leg["destination"]) not in left), route.terminal)


def container(raw: Json, legs: list[Json], own: list[Json]) -> Json:
    """A container of a shipment with these legs, of which it is on its `own`."""
    route = Journey(legs)
    terminal = terminal_of(route, own)
    zones = {stop: named(stop, getattr(route, stop))[f"{stop}_timezone"] for stop in STOPS}
    there = named("terminal", terminal)["terminal_timezone"]
    values: dict[str, tuple[str | None, str | None]] = {}
    for kind in ("estimated", "actual"):
        values[f"{kind}_departure"] = raw[f"{kind}_departure_date"], zones["port_of_loading"]
        values[f"{kind}_arrival"] = raw[f"{kind}_arrival_date"], there
        # In all of the recording it is the day on which the container's first truck leaves the seller.
        values[f"{kind}_pickup"] = raw[f"{kind}_pickup_date"], zones["origin"]
        values[f"{kind}_delivery"] = raw[f"{kind}_delivery_date"], zones["destination"]
    values["available_for_pickup"] = raw["available_for_pickup_date"], there
    values["estimated_available_for_pickup"] = raw["estimated_available_for_pickup_date"], there
    values["last_free_day"] = raw["last_free_day_date"], there
    fields = dates(values)
    if fields["last_free_day_date"]:
        fields["last_free_day_at"] = end_of(fields["last_free_day_date"], there)
        fields["day_only"].add("last_free_day")
    return {
        "id": raw["id"],
        "shipment_id": raw["shipment"]["id"],
        "container_number": raw["container_number"],
        "container_type": raw["container_type"],
        "container_size": raw["container_size"],
        "container_iso_type": SIZES[raw["container_size"]] + TYPES[raw["container_type"]],
        "container_number_valid": container_is_right(raw["container_number"]),
        "seal_number": raw["seal_number"] or None,
        "empty_returned_date": raw["empty_returned_date"],
        "cargo_ready_date": raw["cargo_ready_date"],
        **named("terminal", terminal),
        **fields,
    }


def address(found: Json | None) -> Json:
    return found or {}


def booking(raw: Json) -> Json:
    own = raw["ocean_booking"] or raw["air_booking"] or raw["trucking_booking"] or {}
    ports = {}
    for end in ("origin", "destination"):
        port = own.get(f"{end}_port")
        ports[f"{end}_port"] = port and port["name"]
        ports[f"{end}_port_code"] = port and (port["address"]["unlocode"] or None)
    cargo = raw["cargo"] or {}
    return {
        "id": raw["id"],
        "name": text(raw["name"]),
        "flex_id": raw["flex_id"],
        "status": raw["status"],
        "shipment_id": (raw["shipment"] or {}).get("id"),
        "mode": raw["transportation_mode"],
        "incoterm": own.get("incoterm"),
        "is_lcl": own.get("is_lcl"),
        "shipper": raw["shipper_entity"]["name"],
        "shipper_ref": raw["shipper_entity"]["ref"],
        "consignee": raw["consignee_entity"]["name"],
        "consignee_ref": raw["consignee_entity"]["ref"],
        "origin_ref": address(raw["origin_address"]).get("ref"),
        "destination_ref": address(raw["destination_address"]).get("ref"),
        "cargo_ready_date": raw["cargo_ready_date"],
        "delivery_date": raw["delivery_date"],
        "created_at": raw["created_at"],
        "weight": quantity(cargo.get("weight")),
        "volume": quantity(cargo.get("volume")),
        "wants_pickup": own.get("wants_pickup_service"),
        "wants_delivery": own.get("wants_delivery_service"),
        "wants_export_customs": raw["wants_export_customs_service"],
        **ports,
    }


def document(raw: Json) -> Json:
    return {
        "id": raw["id"],
        "shipment_id": raw["shipment"]["id"],
        "document_type": raw["document_type"],
        "file_name": raw.get("file_name"),
        "memo": raw.get("memo"),
        "size": raw["file_metadata"]["size"],
        "uploaded_at": raw["file_metadata"]["uploaded_at"],
        "archived_at": raw["archived_at"],
    }


# --- the whole account ---


class Account:
    """Everything recorded, and what it means."""

    def __init__(self, objects: list[Json]) -> None:
        self.by: dict[str, dict[Any, Json]] = defaultdict(dict)
        for found in objects:
            self.by[found["_object"]][found["id"]] = found
        self.shipments = self.by["/shipment"]
        self.bookings = self.by["/booking"]
        self.documents = self.by["/document"]
        self.legs = self.by["/shipment_leg"]
        self.boxes = self.by["/ocean/shipment_container"]
        self.box_legs = self.by["/ocean/shipment_container_leg"]

    def of(self, found: dict[Any, Json], number: int) -> list[Json]:
        return [one for one in found.values() if one["shipment"]["id"] == number]

    def own_legs(self, box: Json) -> list[Json]:
        return [
            self.legs[one["leg"]["id"]]
            for one in self.box_legs.values()
            if one["shipment_container"]["id"] == box["id"]
        ]

    def expected(self) -> dict[str, dict[Any, Json]]:
        """The fields of every object, by the list in the API and the id."""
        booked = {one["shipment"]["id"]: one for one in self.bookings.values() if one["shipment"]}
        return {
            "shipments": {
                n: shipment(raw, self.of(self.legs, n), self.of(self.boxes, n), booked.get(n))
                for n, raw in self.shipments.items()
            },
            "legs": {n: leg(raw) for n, raw in self.legs.items()},
            "containers": {
                n: container(raw, self.of(self.legs, raw["shipment"]["id"]), self.own_legs(raw))
                for n, raw in self.boxes.items()
            },
            "container-legs": {
                n: container_leg(raw, self.legs[raw["leg"]["id"]], self.boxes[raw["shipment_container"]["id"]])
                for n, raw in self.box_legs.items()
            },
            "bookings": {n: booking(raw) for n, raw in self.bookings.items()},
            "documents": {n: document(raw) for n, raw in self.documents.items()},
        }


# --- exceptions ---

FREE_TIME_DAYS = 2
SILENT_DAYS = 7
EMPTY_RETURN_DAYS = 5


class Evidence:
    """What a shipment's dates, legs, containers, their legs and its status prove, taken together."""

    def __init__(self, account: Account, number: int) -> None:
        self.raw = account.shipments[number]
        self.route = Journey(account.of(account.legs, number))
        self.boxes = account.of(account.boxes, number)
        box_ids = {box["id"] for box in self.boxes}
        self.box_legs = [one for one in account.box_legs.values() if one["shipment_container"]["id"] in box_ids]
        self.own_legs = {box["id"]: account.own_legs(box) for box in self.boxes}
        self.rank = STATUSES.index(self.raw["status"])
        self.behind = {leg["id"] for leg in self.route.behind()}
        self.carriage = {leg["id"] for leg in self.route.carriage()}

    @property
    def is_finished(self) -> bool:
        return self.is_delivered or self.raw["archived_at"] is not None

    def _shipment(self, *parts: str) -> bool:
        return any(self.raw[f"actual_{part}_date"] for part in parts)

    def _boxes(self, *fields: str) -> bool:
        return any(box[f"{field}_date"] for box in self.boxes for field in fields)

    def _loaded(self, legs: set[int], *, only_discharged: bool = False) -> bool:
        fields = {"actual_discharge_date"} | (set() if only_discharged else {"actual_loaded_on_board_date"})
        return any(one["leg"]["id"] in legs and fields & set(one["dates"]) for one in self.box_legs)

    def _moved(self, legs: set[int]) -> bool:
        fields = ("actual_departure_date", "actual_arrival_date")
        return any(leg[field] for leg in self.route.legs if leg["id"] in legs for field in fields)

    @property
    def has_picked_up(self) -> bool:
        """Everything: one of three trucks is not all."""
        trucks = self.route.leaving(self.route.origin, carrier=False)
        return (
            self.rank > STATUSES.index("seller_location")
            or self._shipment("picked_up_in_full")
            or self.has_departed
            or (bool(trucks) and all(leg["actual_departure_date"] or leg["actual_arrival_date"] for leg in trucks))
        )

    @property
    def has_departed(self) -> bool:
        return (
            self.has_arrived
            or self.rank >= STATUSES.index("in_transit_to_intermediary_port")
            or self._shipment("departure")
            or self._moved(self.carriage)
            or self._loaded(self.carriage)
            or self._boxes("actual_departure")
        )

    @property
    def has_arrived(self) -> bool:
        """At the port of unloading."""
        landed = {leg["id"] for leg in self.route.reaching(self.route.port_of_unloading, carrier=True)}
        trains = {leg["id"] for leg in self.route.leaving(self.route.port_of_unloading, carrier=True)}
        return (
            self.is_at_terminal
            or any(leg["actual_arrival_date"] for leg in self.route.legs if leg["id"] in landed)
            or self._loaded(landed, only_discharged=True)
            or self._moved(trains)
            or self._loaded(trains)
        )

    @property
    def is_at_terminal(self) -> bool:
        """At the ramp, where there is one: arrival of the shipment is that of its last carrier leg."""
        last = {leg["id"] for leg in self.route.reaching(self.route.terminal, carrier=True)}
        return (
            self.rank >= STATUSES.index("arrival_port")
            or self._shipment("arrival", "delivered_in_full")
            or any(leg["actual_arrival_date"] for leg in self.route.legs if leg["id"] in last)
            or self._loaded(last, only_discharged=True)
            or self._moved(self.behind)
            or self._loaded(self.behind)
            or self._boxes("actual_arrival", "available_for_pickup", "actual_delivery", "empty_returned")
        )

    @property
    def is_delivered(self) -> bool:
        """At the door: of several trucks or containers, the last."""
        trucks = [leg for leg in self.route.reaching(self.route.destination, carrier=False) if not carries(leg)]
        unloaded = {
            one["shipment_container"]["id"]
            for one in self.box_legs
            if one["leg"]["id"] in {leg["id"] for leg in trucks} and "actual_discharge_date" in one["dates"]
        }
        return (
            self.rank == len(STATUSES) - 1
            or self._shipment("delivered_in_full")
            or (bool(trucks) and all(leg["actual_arrival_date"] for leg in trucks))
            or (
                bool(self.boxes)
                and all(
                    box["actual_delivery_date"] or box["empty_returned_date"] or box["id"] in unloaded
                    for box in self.boxes
                )
            )
        )

    def is_overtaken(self, leg: Json, name: str) -> bool:
        """Whether a later step than this leg's departure or arrival has happened, so that a plan of it says nothing."""
        later = {one["id"] for one in self._after(leg["destination"], set())}
        own = [one["dates"] for one in self.box_legs if one["leg"]["id"] == leg["id"]]
        is_behind = leg["id"] in self.behind or leg in self.route.reaching(self.route.terminal, carrier=True)
        return (
            self._moved(later)
            or self._loaded(later)
            or any("actual_discharge_date" in dates for dates in own)
            or (is_behind and self._boxes("empty_returned", "actual_delivery"))
            or (name == "departure" and (leg["actual_arrival_date"] is not None or any(own)))
        )

    def _after(self, node: Json, seen: set[int]) -> list[Json]:
        found = [leg for leg in self.route.leaving(node, carrier=False) if leg["id"] not in seen]
        seen |= {leg["id"] for leg in found}
        return found + [one for leg in found for one in self._after(leg["destination"], seen)]

    def out_on(self, box: Json) -> list[tuple[str, str]]:
        """The days on which a container left the terminal and was unloaded, as far as they are known, with their zones."""
        onward = {leg["id"]: leg for leg in self.route.legs if leg["id"] in self.behind}
        own = {leg["id"] for leg in self.own_legs[box["id"]]} & onward.keys()
        mine = own or onward.keys()  # not every list of a container's legs has the truck
        left: list[tuple[str | None, Json | None]] = []
        unloaded: list[tuple[str | None, Json | None]] = [(box["actual_delivery_date"], self.route.destination)]
        for number in mine:
            left.append((onward[number]["actual_departure_date"], onward[number]["origin"]))
            unloaded.append((onward[number]["actual_arrival_date"], onward[number]["destination"]))
        for one in self.box_legs:
            if one["shipment_container"]["id"] == box["id"] and one["leg"]["id"] in mine:
                leg = onward[one["leg"]["id"]]
                left.append((one["dates"].get("actual_loaded_on_board_date"), leg["origin"]))
                unloaded.append((one["dates"].get("actual_discharge_date"), leg["destination"]))
        found = []
        for times in (left, unloaded):
            known = [(at, node["place"]["address"]["timezone"]) for at, node in times if at and node]
            if known:
                at, zone = min(known, key=lambda one: datetime.fromisoformat(one[0]))
                found.append((moment(at, zone)[1] or "", zone))
        return found

    def has_left(self, box: Json) -> bool:
        return (
            self.is_delivered
            or bool(self.out_on(box))
            or box["empty_returned_date"] is not None
            or self.rank >= STATUSES.index("gated_out")
        )


Case = tuple[str, str, Any]
# The field of a leg that says the same as the shipment's.
PARTS = {
    "estimated_departure": "estimated_departure_date",
    "estimated_arrival": "estimated_arrival_date",
    "estimated_ramp_arrival": "estimated_arrival_date",
    "estimated_picked_up_in_full": "estimated_departure_date",
    "estimated_delivered_in_full": "estimated_arrival_date",
}


class Findings:
    """What must stand at an instant, with its evidence, and what may.

    `papers` are the types of which every ocean shipment that has sailed needs one. One problem is one exception: what
    has not left is no late arrival, what has not arrived no late delivery.
    """

    def __init__(self, account: Account, now: datetime, papers: frozenset[str]) -> None:
        self.now = now
        self.papers = papers
        self.must: dict[Case, Json] = {}
        self.may: set[Case] = set()
        fields = account.expected()
        for number in account.shipments:
            found = Evidence(account, number)
            for box in found.boxes:
                shown = fields["containers"][box["id"]]
                self._free_time(found, box, shown)
                self._empty(found, box, is_lcl=fields["shipments"][number]["is_lcl"])
            if not found.is_finished:
                self._movement(found, fields["shipments"][number])
                self._papers(found, {one["document_type"] for one in account.of(account.documents, number)})

    def _free_time(self, found: Evidence, box: Json, shown: Json) -> None:
        day, zone = shown["last_free_day_date"], shown["terminal_timezone"]
        if day is None or not found.is_at_terminal or found.has_left(box):
            return
        is_over = self.now >= end_of(day, zone)
        days = (date.fromisoformat(day) - self.now.astimezone(ZoneInfo(zone)).date()).days
        if is_over or days <= FREE_TIME_DAYS:
            kind = "free_time_expired" if is_over else "free_time_expiring"
            self.must[kind, "containers", box["id"]] = {
                "last_free_day": day,
                "place": shown["terminal"],
                **({"since": utc(end_of(day, zone))} if is_over else {}),
            }

    def _empty(self, found: Evidence, box: Json, *, is_lcl: bool) -> None:
        out = found.out_on(box)
        # A container of many customers goes back from the station where it was unpacked.
        if not out or box["empty_returned_date"] or is_lcl:
            return
        ends = [
            end_of((date.fromisoformat(day) + timedelta(days=EMPTY_RETURN_DAYS)).isoformat(), zone) for day, zone in out
        ]
        case = "empty_return", "containers", box["id"]
        # Whether detention runs from leaving the terminal or from unloading is the carrier's affair.
        if self.now >= max(ends):
            self.must[case] = {"container_number": box["container_number"]}
            if len(ends) == 1:
                self.must[case]["since"] = utc(ends[0])
        elif self.now >= min(ends):
            self.may.add(case)

    def _movement(self, found: Evidence, shown: Json) -> None:
        """The first part of the way that is late; where it has no date, the next."""

        def late(kind: str, name: str, stop: str, legs: list[Json]) -> bool:
            """Whether the part has a date at all. Where the legs give another than the shipment, the later counts."""
            zone, field = shown[f"{stop}_timezone"], PARTS[name]
            days = {shown[f"{name}_date"]} | {moment(leg[field], zone)[1] for leg in legs}
            day = max(days - {None}, default=None)
            if day is None:
                return False
            end = end_of(day, zone)
            if self.now >= end:
                told = {name: day} if name in ("estimated_departure", "estimated_arrival") else {}
                self.must[kind, "shipments", shown["id"]] = {"place": shown[stop], "since": utc(end), **told}
            return True

        route = found.route
        if found.has_departed and not found.has_arrived:
            quiet = datetime.fromisoformat(found.raw["updated_at"]) + timedelta(days=SILENT_DAYS)
            if self.now >= quiet:
                self.must["silent", "shipments", shown["id"]] = {"since": utc(quiet)}
        if not found.has_departed and late(
            "late_departure",
            "estimated_departure",
            "port_of_loading",
            route.leaving(route.port_of_loading, carrier=True),
        ):
            is_late = ("late_departure", "shipments", shown["id"]) in self.must
            if not is_late and not found.has_picked_up:
                late("late_pickup", "estimated_picked_up_in_full", "origin", route.leaving(route.origin, carrier=False))
            return
        if not found.has_arrived and late(
            "late_arrival",
            "estimated_arrival",
            "port_of_unloading",
            route.reaching(route.port_of_unloading, carrier=True),
        ):
            return
        if not found.is_at_terminal and late(
            "late_arrival", "estimated_ramp_arrival", "inland_ramp", route.reaching(route.inland_ramp, carrier=True)
        ):
            return
        trucks = [leg for leg in route.reaching(route.destination, carrier=False) if not carries(leg)]
        late("late_delivery", "estimated_delivered_in_full", "destination", trucks)

    def _papers(self, found: Evidence, kinds: set[str]) -> None:
        if found.raw["transportation_mode"] != "ocean" or not found.has_departed or kinds & self.papers:
            return
        case = "missing_documents", "shipments", found.raw["id"]
        if found.raw["actual_departure_date"]:
            self.must[case] = {}
        else:
            self.may.add(case)  # it has left on a day that nobody gives

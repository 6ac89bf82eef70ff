"""Events as Flexport sends them, for tests. Shapes after its published schema; the contents are made up."""

import itertools
from typing import Any

_ids = itertools.count(730_000)


def place(name: str, code: str, zone: str = "UTC", tags: tuple[str, ...] = ()) -> dict[str, Any]:
    address = {"_object": "/address", "city": name, "country_code": code[:2], "timezone": zone, "unlocode": code}
    return {
        "_object": "/shipment_node",
        "tags": list(tags),
        "terminal": None,
        "place": {"_object": "/place", "name": name, "details": [], "address": address},
    }


def shipment(number: int = 910_233, **fields: Any) -> dict[str, Any]:
    return {
        "_object": "/shipment",
        "id": number,
        "name": f"PO {number}",
        "transportation_mode": "ocean",
        "freight_type": "port_to_door",
        "incoterm": "FOB",
        "status": "seller_location",
        "priority": "standard",
        "pieces": 120,
        "updated_at": "2026-03-04T02:41:09.377Z",
        "created_date": "2026-02-11T06:12:44.018Z",
        "estimated_departure_date": "2026-03-03T12:00:00.000+08:00",
        "actual_departure_date": None,
        "estimated_arrival_date": "2026-03-21T12:00:00.000-07:00",
        "actual_arrival_date": None,
        "metadata": {"PO #": ["4471"]},
        "consignees": [{"_object": "/company_entity", "id": 77, "name": "Example Imports", "ref": "id-77"}],
        "items": [],
        "ocean_shipment": {
            "_object": "/ocean/shipment",
            "is_lcl": False,
            "house_bill_number": "EXA1, EXA2",
            "master_bill_number": "MAEU1",
            "carrier_booking_number": "BK1",
        },
        "air_shipment": None,
        **fields,
    }


def leg(number: int = 8_800_412, shipment_id: int = 910_233, **fields: Any) -> dict[str, Any]:
    link = {"_object": "/api/refs/object", "ref_type": "/shipment", "link": "https://x.example/1", "id": shipment_id}
    return {
        "_object": "/shipment_leg",
        "id": number,
        "shipment": link,
        "transportation_mode": "ocean",
        "carrier_name": "Example Line",
        "estimated_departure_date": "2026-03-03T12:00:00.000+08:00",
        "actual_departure_date": None,
        "estimated_arrival_date": "2026-03-21T12:00:00.000-07:00",
        "actual_arrival_date": None,
        "additional_dates": {},
        "ocean_leg": {"_object": "/ocean/shipment_leg", "vessel_name": "EXAMPLE STAR", "voyage_number": "012E"},
        "origin": place("Yantian, China", "CNYTN", "Asia/Hong_Kong", ("port_of_loading",)),
        "destination": place("Los Angeles, CA", "USLAX", "America/Los_Angeles", ("port_of_unloading",)),
        **fields,
    }


def container(number: int = 555_001, shipment_id: int = 910_233, **fields: Any) -> dict[str, Any]:
    link = {"_object": "/api/refs/object", "ref_type": "/shipment", "link": "https://x.example/1", "id": shipment_id}
    return {
        "_object": "/ocean/shipment_container",
        "id": number,
        "shipment": link,
        "container_number": "CSQU3054383",
        "container_type": "dry",
        "container_size": "fourty_ft_hc",
        "seal_number": "",
        "metadata": {},
        **fields,
    }


def event(resource: dict[str, Any] | None, /, **fields: Any) -> dict[str, Any]:
    """One event about a resource; `shipment`, `containers` and `location` go into its data."""
    data = {name: fields.pop(name, default) for name, default in (("shipment", None), ("containers", []))}
    return {
        "_object": "/event",
        "id": next(_ids),
        "version": 2,
        "created_at": "2026-03-04T02:41:09.512Z",
        "occurred_at": "2026-03-03T18:30:00.000Z",
        "type": "/shipment#created",
        **fields,
        "data": {"_object": "/shipment_event_data", "resource": resource, "location": None, **data},
    }

"""The page of a share link: one shipment for visitors without a key, only from what `share_view` discloses."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from types import SimpleNamespace
from typing import Any

from aiohttp import hdrs, web

from flexportd.clock import stamp
from flexportd.core.access.share_view import SharedContainer, SharedLeg, SharedMilestone, SharedShipment, SharedTime
from flexportd.core.labels import format_minute, is_day_only
from flexportd.core.timeline import EVENT_RANK, TimelinePoint
from flexportd.expose.api.access import PAGE_PATH, open_share
from flexportd.expose.dashboard.layout import site_title, view_context
from flexportd.expose.dashboard.render import render
from flexportd.expose.dashboard.view.dates import ViewContext, find_zone
from flexportd.expose.dashboard.view.labels import (
    Text,
    and_more,
    container_type_text,
    mode,
    place,
    status,
    text,
    vessel_text,
)
from flexportd.expose.dashboard.view.shipment_rows import (
    MOST,
    free_time,
    leg_rows,
    number_problem,
    route_bar,
    stop_rows,
    timeline_rows,
)
from flexportd.expose.dashboard.view.values import NamedValues
from flexportd.expose.openapi.parameters import identifier
from flexportd.expose.openapi.route import Response
from flexportd.expose.openapi.router import route
from flexportd.http.compression import compress, negotiate
from flexportd.http.responses import HTML, NO_REFERRER, PreparedResponse, PreparedStreamResponse

_NOT_DEPARTED = (None, "seller_location")
_DATES = {"cargo_ready", "delivery_appointment", "last_free_day"}
_MILESTONES = {
    "created", "picked_up_in_full", "departed", "arrived", "delivered", "delivery_completed", "available_for_pickup",
    "loaded_on_board", "unloaded_off_board", "gated_out", "delivered_in_full", "empty_returned",
}  # fmt: skip
_REFERENCES = (
    ("purchase_orders", "Purchase orders"),
    ("bills", "Bills of lading"),
    ("carrier_bookings", "Carrier bookings"),
)
_MAX_REFERENCES = 12  # references of a kind
_UNDATED = "1970"  # an older time marks a state without a time


@route(
    "GET",
    PAGE_PATH,
    prefix="",
    tag="shares",
    returns=Response(description="The page.", media=("text/html",)),
    scope=None,
    any_query=True,  # messengers append parameters to links
    path_parameters=(identifier("The token of the link.", "token", "fxs_…"),),
    problems=("not-found", "share-expired", "share-revoked"),
)
async def get_share_page(request: web.Request) -> web.StreamResponse:
    """Get the page of a share link.

    Needs no key: this is the link itself. Each view is counted. Browsers also receive errors as pages.
    """
    # Not cached: each view is counted, and shows the age of the data.
    shared, app = await open_share(request), request.app
    view, site = view_context(app), site_title(app)
    coding = negotiate(request.headers.get(hdrs.ACCEPT_ENCODING, ""))

    def work() -> bytes:
        body = render("share.html", share_page(shared["shipment"], shared["expires_at"], site, view))
        return compress(body, coding) if coding else body

    headers = {"x_robots_tag": "noindex, nofollow", "vary": hdrs.ACCEPT_ENCODING, "referrer_policy": NO_REFERRER}
    if coding is not None:
        headers["content_encoding"] = coding
    return PreparedStreamResponse(PreparedResponse(200, await asyncio.to_thread(work), HTML, **headers))


def share_page(shared: SharedShipment, expires_at: str, site: str, view: ViewContext) -> SimpleNamespace:
    """The page of a share link; `viewed` is the time for the printed page, as no script runs here."""
    route, legs = shared["route"], _legs(shared["legs"])
    zones = {  # by road, departure is from the origin and arrival at the destination
        "departure": route["port_of_loading_timezone"] or route["origin_timezone"],
        "arrival": route["port_of_unloading_timezone"] or route["destination_timezone"],
        "ramp_arrival": route["inland_ramp_timezone"],
        "delivered_in_full": route["destination_timezone"],
    }
    fields = {**route, "status": shared["status"], **_local_times(shared, zones)}
    containers = shared["containers"][:MOST]
    return SimpleNamespace(
        site=site,
        flex_id=shared["flex_id"],
        name=text(shared["name"], 120),
        mode=mode(shared["mode"]),
        status=status(shared["status"]),
        removed=view.instant(shared["removed_at"]),
        location=_current_location(fields, legs, view),
        stops=stop_rows(fields, view),
        carrier=text(route["carrier"], 60),
        vessel=vessel_text(route),
        route=route_bar(legs, view),
        points=timeline_rows([_timeline_point(point, at) for at, point in enumerate(shared["milestones"])], view),
        containers=tuple(_container_row(box, route["destination_timezone"], view) for box in containers),
        references=_references(shared["references"]),
        legs=leg_rows(legs, view),
        as_of=view.ago(shared["as_of"]) if shared["as_of"] > _UNDATED else None,
        expires=view.until(expires_at),
        viewed=format_minute(stamp(view.now)),
    )


def _local_time(shared: SharedTime | None, zone: str | None) -> str | None:
    """A time with the offset of its place where that is known, else only the day."""
    return _local(shared["at"], shared["date"], zone, day_only=shared["day_only"]) if shared else None


def _local(at: str, day: str, zone: str | None, *, day_only: bool) -> str:
    home = find_zone(zone)
    if home is None:
        return f"{day}T12:00:00-12:00"  # without a zone, a day is over when it is over everywhere
    local = datetime.fromisoformat(at).astimezone(home).isoformat()
    if day_only or local[:10] != day or is_day_only(local):
        return datetime.combine(date.fromisoformat(day), time(12), home).isoformat()
    return local


def _local_times(shared: Mapping[str, Any], zones: Mapping[str, str | None]) -> dict[str, str | None]:
    """The estimated and actual times of these names, each in the zone of its place."""
    names = [(f"{kind}_{name}", zone) for name, zone in zones.items() for kind in ("estimated", "actual")]
    return {name: _local_time(shared[name], zone) for name, zone in names}


def _legs(shared: Sequence[SharedLeg]) -> list[dict[str, Any]]:
    missing = dict.fromkeys(("origin_ref", "destination_ref", "tracking_number"))
    legs: list[dict[str, Any]] = []
    for leg in shared:
        zones = {"departure": leg["origin_timezone"], "arrival": leg["destination_timezone"]}
        legs.append({**leg, **missing, **_local_times(leg, zones)})
    _fill_missing_ends(legs)
    return legs


def _fill_missing_ends(legs: Sequence[dict[str, Any]]) -> None:
    ends = [(leg["origin"], leg["origin_code"], leg["destination"], leg["destination_code"]) for leg in legs]
    for index, (leg, (start, start_code, end, end_code)) in enumerate(zip(legs, ends, strict=True)):
        if start is None and (None, start_code) not in [pair[2:] for pair in ends[:index]]:
            leg["origin"] = "Place of pickup"
        if end is None and (None, end_code) not in [pair[:2] for pair in ends[index + 1 :]]:
            leg["destination"] = "Place of delivery"


def _current_location(
    fields: Mapping[str, Any], legs: Sequence[Mapping[str, Any]], view: ViewContext
) -> SimpleNamespace | None:
    """The current location in words: `In transit by ocean to` a place, `due` a day."""
    delivered = view.cell(fields, "delivered_in_full")
    departed = [leg for leg in legs if leg["actual_departure"]]
    end = None
    if fields["status"] == "final_destination" or (delivered and delivered.is_actual):
        last = view.cell(legs[-1], "arrival", zone=legs[-1]["destination_timezone"]) if legs else None
        at = next((cell for cell in (delivered, last) if cell and cell.is_actual), None)
        words, verb = "Delivered", "on"
    elif departed:
        leg = departed[-1]
        by, end = mode(leg["mode"]), place(leg, "destination")
        if end is None:
            return None
        words, verb = f"In transit{f' by {by.text.lower()}' if by else ''} to", "due"
        if leg["actual_arrival"]:
            words, verb = "At", "since"
        at = view.cell(leg, "arrival", zone=leg["destination_timezone"])
    elif fields["status"] in _NOT_DEPARTED:
        at = view.cell(legs[0], "departure", zone=legs[0]["origin_timezone"]) if legs else None
        words, verb = "Not departed yet", "departs"
    else:
        return None
    return SimpleNamespace(words=words, place=end, verb=verb, at=at)


def _timeline_point(shared: SharedMilestone, index: int) -> TimelinePoint:
    zone = shared["timezone"]

    def local(name: str, *, day_only: bool) -> str | None:
        at, day = shared[f"{name}_at"], shared[f"{name}_date"]  # type: ignore[literal-required]
        return _local(at, day, zone, day_only=day_only) if at else None

    name = shared["milestone"]
    return TimelinePoint(
        milestone=name,
        title=shared["title"],
        planned=local("planned", day_only=shared["day_only"] and not shared["actual_at"]),
        actual=local("actual", day_only=shared["day_only"]),
        place=shared["place"],
        place_code=shared["place_code"],
        timezone=zone,
        mode=shared["mode"],
        container_numbers=tuple(shared["container_numbers"]),
        group="dates" if name in _DATES else "progress",
        rank=(index, 0) if name in _MILESTONES | _DATES else EVENT_RANK,
    )


def _container_row(shared: SharedContainer, door_zone: str | None, view: ViewContext) -> SimpleNamespace:
    zone = shared["terminal_timezone"]
    has_left = bool(shared["left_terminal"] or shared["actual_delivery"] or shared["empty_returned_date"])
    fields = {
        "estimated_available": _local_time(shared["estimated_available_for_pickup"], zone),
        "actual_available": _local_time(shared["available_for_pickup"], zone),
        **_local_times(shared, {"delivery": door_zone}),
    }
    last_free_day = _local_time(shared["last_free_day"], zone)
    return SimpleNamespace(
        number=text(shared["container_number"], 40) or Text("Container number not assigned"),
        number_problem=number_problem(shared["container_number"]),
        type=container_type_text(shared["container_size"], shared["container_type"]),
        available=view.cell(fields, "available", zone=zone, is_past=has_left),
        last_free_day=view.moment(last_free_day, zone),
        free_time=None if has_left else free_time(last_free_day, view),
        delivered=view.cell(fields, "delivery", zone=door_zone, is_past=bool(shared["empty_returned_date"])),
        returned=view.calendar_day(shared["empty_returned_date"]),
    )


def _references(shared: Mapping[str, Sequence[str]]) -> tuple[NamedValues, ...]:
    rows = []
    for kind, title in _REFERENCES:
        values = [part for value in shared.get(kind, ()) if (part := text(value, 60))]
        if values:
            rows.append(NamedValues(title, and_more(values[:_MAX_REFERENCES], len(values) - _MAX_REFERENCES)))
    return tuple(rows)

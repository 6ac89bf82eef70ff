"""The pages of notifications: channels and messages, one message, the rules; and their forms."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import msgspec
from aiohttp import web
from multidict import MultiDict

from flexportd.clock import stamp
from flexportd.escape import escape_control
from flexportd.expose.api.deliveries import (
    LIST,
    RULE_PERIOD,
    channel_documents,
    delivery_id,
    delivery_rows,
    detail,
    load,
    read_deliveries,
    rule_documents,
)
from flexportd.expose.api.list_endpoint import bind_cursor
from flexportd.expose.context import CLOCK, DISPLAY, NOTIFICATIONS
from flexportd.expose.dashboard.page import SUBMIT_GUARD, ListPageQuery, PageTable, discard_reason, done, form_field
from flexportd.expose.dashboard.view.alerts import PageContext
from flexportd.expose.dashboard.view.dates import ViewContext, count
from flexportd.expose.dashboard.view.deliveries import STATES, delivery_row
from flexportd.expose.dashboard.view.labels import Badge, Text, page_url, short_text, text
from flexportd.expose.dashboard.view.values import named_values, time_text, value_group
from flexportd.expose.openapi import query_params
from flexportd.expose.openapi.query_params import ListRules
from flexportd.settings import toml_value
from flexportd.storage.repositories.deliveries import LISTING
from flexportd.storage.transaction import Transaction

_LONGEST_TEXT = 20_000  # characters of a message
_LONGEST_LINE = 500

NOTICES = {
    "retried": "The message was queued again.",
    "discarded": "The message was discarded. It is kept with your reason.",
    "resumed": "The channel is resumed. Its next message is attempted now.",
}

RULES = ListRules(
    sorts={"created_at": "id"},
    filters={name: LISTING.filters[name] for name in ("channel", "state")},
    fields=(),
)

PAGES = PageTable("deliveries")


class DeliveriesData(NamedTuple):
    """Channels with their states, and one page of messages; `next` is the cursor of the next page."""

    query: ListPageQuery
    channels: Sequence[Mapping[str, Any]]
    rows: Sequence[Mapping[str, Any]]
    next: str | None


async def _query(request: web.Request) -> ListPageQuery:
    sent = query_params.parse_unique(request.query, ("limit", "cursor", "channel", "state", "done"))
    filters = {name: value for name, value in sent.items() if name != "done" and value.strip()}
    params = query_params.parse_list_params(MultiDict(filters), RULES, request.app[DISPLAY])
    return ListPageQuery(sent, await bind_cursor(request, params))


def read(tx: Transaction, request: web.Request, query: ListPageQuery) -> DeliveriesData:
    """Channels and messages in one snapshot."""
    channels = channel_documents(tx, request.app[NOTIFICATIONS].list_channels())
    rows = read_deliveries(tx, query.params.page)
    return DeliveriesData(query, channels, rows, query.params.encode_next_cursor(tx, rows, LIST.key))


@PAGES.page("/deliveries", "deliveries.html", query=_query, read=read)
def deliveries_page(data: DeliveriesData, context: PageContext) -> SimpleNamespace:
    """Channels and messages; not cached, as they show the present moment."""
    sent, page, view = data.query.sent, data.query.params.page, context.view
    names = sorted({channel["name"] for channel in data.channels} | {sent.get("channel", "")} - {""})
    return SimpleNamespace(
        notice=NOTICES.get(sent.get("done", "")),
        channels=tuple(_channel(channel, view) for channel in data.channels),
        rows=tuple(delivery_row(row, view) for row in data.rows[: page.limit]),
        is_filtered=bool(page.filters),
        options=SimpleNamespace(
            channels=_options([(name, escape_control(name, 64)) for name in names], sent.get("channel", "")),
            states=_options([(name, badge.text) for name, badge in STATES.items()], sent.get("state", "")),
        ),
        first_url=page_url("/deliveries", sent, cursor="", done="") if "cursor" in sent else None,
        next_url=None if data.next is None else page_url("/deliveries", sent, cursor=data.next, done=""),
    )


def _options(choices: Sequence[tuple[str, str]], chosen: str) -> list[SimpleNamespace]:
    return [SimpleNamespace(value=value, title=title, chosen=value == chosen) for value, title in choices]


_TYPES = {"email": "Email", "slack": "Slack", "webhook": "Webhook", "apprise": "Apprise"}
_CHANNEL_STATES = {
    "working": Badge("Working", "delivered"),
    "failing": Badge("Failing", "arriving"),
    "off": Badge("Switched off", "bad"),
}


def _channel(channel: Mapping[str, Any], view: ViewContext) -> SimpleNamespace:
    state, name = channel["state"], channel["name"]
    return SimpleNamespace(
        name=escape_control(name, 64),
        type=_TYPES.get(channel["type"]) or escape_control(channel["type"], 40),
        destination=text(channel["destination"], 120) or Text(""),
        badge=_CHANNEL_STATES[state],
        is_off=state == "off",
        can_resume=state != "working",
        last_sent=view.ago(channel["last_sent_at"]),
        failing_since=view.ago(channel["failing_since"]),
        retry=view.until(channel["retry_at"]) if state == "failing" and channel["retry_at"] else None,
        error=text(channel["error"], 300),
        pending=count(channel["pending"], "message") if channel["pending"] else None,
        failed=count(channel["failed"], "message") if channel["failed"] else None,
        failed_url=f"/deliveries?{urlencode({'channel': name, 'state': 'failed'})}",
        resume_url=f"/deliveries/channels/{quote(name, safe='')}/resume",
    )


class RulesData(NamedTuple):
    """Rules as configured, with their matches."""

    rules: Sequence[Mapping[str, Any]]


async def _query_rules(request: web.Request) -> str:
    query_params.parse_unique(request.query, ())
    return stamp(request.app[CLOCK].now() - RULE_PERIOD)


def read_rules(tx: Transaction, request: web.Request, since: str) -> RulesData:
    """The rules with their matches since a time."""
    return RulesData(rule_documents(tx, request.app[NOTIFICATIONS].list_rules(), since))


@PAGES.page("/deliveries/rules", "notification_rules.html", query=_query_rules, read=read_rules)
def rules_page(data: RulesData, context: PageContext) -> SimpleNamespace:
    """The rules as configured, with their last matches."""
    return SimpleNamespace(days=RULE_PERIOD.days, rules=tuple(_rule(rule, context.view) for rule in data.rules))


def _rule(rule: Mapping[str, Any], view: ViewContext) -> SimpleNamespace:
    quiet = f"quiet {rule['quiet']}" if rule["quiet"] else None
    limit = f"at most {rule['max_per_hour']:,} per hour" if rule["max_per_hour"] else None
    outcomes = {"sent": rule["sent"], "dropped": rule["dropped"]}
    outcomes["waiting"] = rule["matches"] - sum(outcomes.values())
    zone = rule["timezone"] if rule["digest"] or rule["quiet"] else None
    return SimpleNamespace(
        name=text(rule["name"], 100) or Text(""),
        is_enabled=rule["enabled"],
        is_shipped=rule["shipped"],
        on=tuple(text(topic, 80) for topic in rule["on"]),
        when=tuple(text(f"{name} = {toml_value(value)}", 200) for name, value in rule["when"].items()),
        channels=text(", ".join(rule["channels"]), 200),
        timing=text(", ".join(filter(None, (rule["digest"], quiet, limit, zone))), 200),
        has_template=rule["has_template"],
        matches=f"{rule['matches']:,}",
        outcomes=tuple(f"{number:,}\N{NO-BREAK SPACE}{state}" for state, number in outcomes.items() if number),
        last=view.ago(rule["last_matched_at"]),
        url=f"/api/v1/notifications?{urlencode({'rule': rule['name']})}",
    )


class DeliveryData(NamedTuple):
    """A message as the API shows it, as a row, and the message of a form."""

    document: Mapping[str, Any]
    row: Mapping[str, Any]
    done: str | None


async def _query_one(request: web.Request) -> str | None:
    return query_params.parse_unique(request.query, ("done",)).get("done")


def read_one(tx: Transaction, request: web.Request, done: str | None) -> DeliveryData:
    """The message that the path names. Raises NotFoundError."""
    number = delivery_id(request)
    document = detail(tx, request.app[NOTIFICATIONS], number)
    (row,) = delivery_rows(tx, [msgspec.structs.asdict(load(tx, number))])
    return DeliveryData(document, row, done)


@PAGES.page("/deliveries/{id:[0-9]+}", "delivery.html", query=_query_one, read=read_one)
def delivery_page(data: DeliveryData, context: PageContext) -> SimpleNamespace:
    """One message: its text, what it contains, and what became of it."""
    document, view = data.document, context.view
    row = delivery_row(data.row, view)
    letter, replaced = document["dead_letter"], document["replaces"]
    details = [
        ("Channel", text(f"{document['channel']} ({_TYPES.get(document['channel_type'], document['channel_type'])})")),
        ("Rules", row.rules),
        ("Created", time_text(document["created_at"], view)),
        ("Sent", time_text(document["sent_at"], view)),
        ("Attempts", Text(f"{document['attempts']:,}")),
        ("Next attempt", time_text(document["next_attempt_at"], view)),
        ("May have arrived twice", Text("Yes") if document["repeated"] else None),
        ("Note", text(document["note"], 300)),
        ("Replaces", Text(f"Message {replaced}", url=f"/deliveries/{replaced}") if replaced else None),
        ("Dead letter", Text(letter, url=f"/queue/dead-letters/{letter}") if letter else None),
    ]
    return SimpleNamespace(
        row=row,
        notice=NOTICES.get(data.done or ""),
        groups=value_group("Details", named_values(details)),
        lines="\n".join(escape_control(line, _LONGEST_LINE) for line in document["text"][:_LONGEST_TEXT].splitlines()),
        contains=tuple(_contained(one, view) for one in document["contains"]),
        hidden=document["notifications"] - len(document["contains"]),
        json_url=f"/api/v1/deliveries/{document['id']}",
        contains_url=f"/api/v1/notifications?delivery={document['id']}",
    )


def _contained(one: Mapping[str, Any], view: ViewContext) -> SimpleNamespace:
    number, exception = one["shipment_id"], one["exception_id"]
    return SimpleNamespace(
        topic=short_text(one["topic"], 80),
        rule=text(one["rule"], 100),
        at=view.ago(one["created_at"]),
        shipment=Text(f"FLEX-{number}", url=f"/shipments/{number}") if number is not None else None,
        exception=Text(f"Exception {exception}", url=f"/exceptions/{exception}") if exception is not None else None,
    )


@PAGES.form("/deliveries/{id:[0-9]+}/retry", on="/deliveries/{id:[0-9]+}")
async def retry(request: web.Request) -> web.StreamResponse:
    """Send a message again; one that was sent, if the form says so."""
    number, control = delivery_id(request), request.app[NOTIFICATIONS]
    again = bool(await form_field(request, "again", 10))
    await request.app[SUBMIT_GUARD].once(request, lambda: control.retry(number, again=again), again)
    return done(f"/deliveries/{number}", "retried")


@PAGES.form("/deliveries/{id:[0-9]+}/discard", on="/deliveries/{id:[0-9]+}")
async def discard(request: web.Request) -> web.StreamResponse:
    """Discard a message, with the reason in the field `why`."""
    number, control = delivery_id(request), request.app[NOTIFICATIONS]
    reason = await discard_reason(request)
    await request.app[SUBMIT_GUARD].once(request, lambda: control.discard(number, "dashboard", reason), reason)
    return done(f"/deliveries/{number}", "discarded")


@PAGES.form("/deliveries/channels/{name}/resume")
async def resume(request: web.Request) -> web.StreamResponse:
    """Attempt the next message of a channel that fails or is switched off."""
    name, control = request.match_info["name"], request.app[NOTIFICATIONS]
    await request.app[SUBMIT_GUARD].once(request, lambda: control.resume_channel(name))
    return done("/deliveries", "resumed")

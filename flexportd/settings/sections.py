"""The sections of the configuration. The type, default and sentence of each key are also its documentation.

Rules between keys are checked at the later key, against the earlier ones if these are valid: so all problems of a file
are reported at once, each with a key and its line.
"""

import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, create_model, field_validator

from flexportd.settings import addresses, defaults
from flexportd.settings.defaults import default_lifetimes, profile, profile_names
from flexportd.settings.notify import NotifySettings
from flexportd.settings.section_model import SectionModel, TimeZone, require_both
from flexportd.settings.value_types import (
    Duration,
    FilePath,
    Interval,
    Line,
    Number,
    RateLimit,
    Retention,
    RuleError,
    Size,
    Switch,
    Token,
    ValueType,
    WebhookSecrets,
    Whole,
    Words,
    ensure,
    format_duration,
    key,
    show_list,
    suggest,
)

_ZERO = timedelta(0)
_MIN_INTERVAL = timedelta(seconds=10)  # more often would flood Flexport, and runs would overlap
_DAY = timedelta(days=1)
_BY_PROFILE = {"shown": "by environment", "sample": "https://api.flexport.com"}
_TOKENS = _BY_PROFILE | {"sample": "https://api.flexport.com/oauth/token"}


# `core.resources.registry` has the same names; a test compares them, since settings know nothing of core.
RESOURCES = (
    "shipments", "legs", "containers", "container_legs", "products", "invoices", "commercial_invoices",
    "bookings", "booking_line_items", "purchase_orders", "purchase_order_line_items", "documents",
    "customs_entries", "companies", "company_entities", "contacts", "locations", "ports",
)  # fmt: skip


def _check_resource(name: str) -> str:
    if name not in RESOURCES:
        raise ValueError(f"unknown resource; {suggest(name, RESOURCES)}")
    return name


Resources = Annotated[
    tuple[Annotated[str, AfterValidator(_check_resource)], ...],
    ValueType("list of resources", kind="list", show=show_list, missing="all"),
]


# `core.outbox.kinds` has the same names; a test compares them.
WRITE_GROUPS = ("bookings", "commercial_invoices", "documents", "network", "products", "shipments")


def _check_write_group(name: str) -> str:
    if name not in WRITE_GROUPS:
        raise ValueError(f"unknown kind; {suggest(name, WRITE_GROUPS)}")
    return name


WriteGroups = Annotated[
    tuple[Annotated[str, AfterValidator(_check_write_group)], ...],
    ValueType("list of kinds of writes", kind="list", show=show_list, missing="all"),
]


def _from_profile(data: dict[str, Any]) -> Any:
    return profile(data.get("environment", "production"))


class FlexportSettings(SectionModel):
    """Flexport's API: address, credentials, request limits."""

    environment: Annotated[
        Line, ensure(lambda name: name in profile_names(), f"expected one of {', '.join(profile_names())}")
    ] = key(
        "production",
        "The profile that supplies base_url, token_url and audience: production, or sandbox for `flexportd sandbox`.",
    )
    base_url: addresses.Url = key(
        lambda data: _from_profile(data).base_url, "The base URL of Flexport's API.", **_BY_PROFILE
    )
    api_version: Literal["2"] = key("2", "The version of Flexport's API to use.")
    api_key: Token | None = key(
        None, "A Flexport API key. Use either this, or client_id and client_secret.", sample="..."
    )
    client_id: Line | None = key(None, "The client ID of Flexport API credentials (OAuth).", sample="...")
    client_secret: Token | None = key(None, "The client secret that belongs to client_id.", sample="...")
    token_url: addresses.Url = key(
        lambda data: _from_profile(data).token_url, "The URL that issues access tokens.", **_TOKENS
    )
    audience: Line = key(
        lambda data: _from_profile(data).audience, "The audience to request access tokens for.", **_BY_PROFILE
    )
    proxy: addresses.ForwardProxy | None = key(
        None,
        "The HTTP proxy for every request to Flexport: API, tokens and files. HTTP_PROXY and HTTPS_PROXY of the "
        "environment are not used.",
        sample="http://user:password@proxy.example.com:3128",
    )
    requests_per_second: Number = key(5, "The maximum number of requests per second.", gt=0, allow_inf_nan=False)
    concurrency: Whole = key(4, "The maximum number of concurrent requests.", ge=1, le=32)
    timeout: Duration = key("30s", "The timeout of one request.", gt=_ZERO)

    @property
    def has_key(self) -> bool:
        """Whether the API can be called."""
        return self.api_key is not None or self.client_id is not None

    @field_validator("client_secret")
    @classmethod
    def _one_way_to_sign_in(cls, value: object, info: ValidationInfo) -> object:
        if "api_key" not in info.data or "client_id" not in info.data:
            return value
        client_id = info.data["client_id"]
        if info.data["api_key"] is not None and (client_id is not None or value is not None):
            raise RuleError("set either api_key, or client_id and client_secret, not both")
        require_both(value, client_id, "client_id")
        return value


class WebhookSettings(SectionModel):
    """Webhooks from Flexport."""

    path: addresses.Route = key("/webhooks/flexport", "The path that receives Flexport's webhooks.")
    secrets: WebhookSecrets = key(
        (),
        "The secrets that Flexport signs webhooks with. Any of them may match, so that they can be rotated.",
        shown="none: every webhook is refused",
        sample=["CHANGE-ME"],
    )
    allow_sha1: Switch = key(False, "Accept a SHA-1 signature when no SHA-256 signature is sent.")
    max_body: Size = key("8MiB", "The maximum size of a webhook. Events embed whole shipments.", ge=1024, le=2**28)
    allowed_networks: addresses.AllowedNetworks = key(
        (), "Accept webhooks only from clients in these networks. Empty: from everywhere.", shown="[]"
    )
    max_pending: Whole = key(
        100_000, "When this many items are waiting, answer webhooks with 503 and Retry-After.", ge=1
    )
    self_check: Interval = key(
        "off",
        "How often to send a signed test event to public_url and back, to find out which step of the path from the "
        "internet fails: DNS, TLS, proxy or secret. The event is not stored.",
    )

    @field_validator("self_check")
    @classmethod
    def _signed(cls, value: timedelta | None, info: ValidationInfo) -> timedelta | None:
        if value is not None and info.data.get("secrets") == ():
            raise RuleError("requires [webhook] secrets, which is missing: the test event must be signed")
        return value


class ServerSettings(SectionModel):
    """The web server."""

    listen: addresses.Listens = key(
        "127.0.0.1:8080",
        "The addresses to listen on. Port 0 chooses a free port. A name means all of its addresses; 0.0.0.0 means "
        "all IPv4 addresses and [::] all IPv6 addresses, and neither includes the other.",
    )
    public_url: addresses.Url | None = key(
        None,
        "The URL under which people reach flexportd, used in links and to recognize its own pages.",
        sample="https://freight.example.com",
    )
    trusted_proxies: addresses.Networks = key(
        (),
        "Trust X-Forwarded-For, -Proto and -Host from these proxies. The peer on a Unix socket is always trusted.",
        shown="[]",
    )
    tls_cert: FilePath | None = key(
        None, "The certificate chain (PEM), to serve HTTPS without a proxy.", sample="/etc/flexportd/tls/cert.pem"
    )
    tls_key: FilePath | None = key(
        None, "The private key (PEM) that belongs to tls_cert.", sample="/etc/flexportd/tls/key.pem"
    )

    max_connections: Whole = key(8192, "The maximum number of connections. A low limit of open files lowers it.", ge=16)
    max_connections_per_address: Whole = key(
        2048, "The maximum number of connections per client address (IPv6: per /64). Trusted proxies are exempt.", ge=8
    )

    @field_validator("tls_key")
    @classmethod
    def _both_or_none(cls, value: object, info: ValidationInfo) -> object:
        if "tls_cert" in info.data:
            require_both(value, info.data["tls_cert"], "tls_cert")
        return value

    @property
    def exposures(self) -> tuple[str, ...]:
        """The settings that let other machines connect, directly or through a proxy."""
        listens = [f"listen {address}" for address in self.listen if not address.is_loopback]
        return (*listens, *(name for name in ("public_url", "trusted_proxies") if getattr(self, name)))


class StorageSettings(SectionModel):
    """Where data is stored, and for how long."""

    data_dir: FilePath = key(
        lambda: defaults.data_folder(os.environ),
        "The directory of the database and of archived files. Back it up.",
        shown="$STATE_DIRECTORY, else ~/.local/share/flexportd",
        sample="/var/lib/flexportd",
    )
    cache_dir: FilePath = key(
        lambda: defaults.cache_folder(os.environ),
        "The directory of the disk cache. It can be deleted at any time.",
        shown="$CACHE_DIRECTORY, else ~/.cache/flexportd",
        sample="/var/cache/flexportd",
    )
    control_socket: Annotated[FilePath, AfterValidator(addresses.check_socket_path)] = key(
        lambda data: defaults.control_socket(os.environ, data.get("data_dir", Path("/"))),
        "The Unix socket through which commands reach the daemon.",
        shown="$RUNTIME_DIRECTORY/control.sock, else control.sock in data_dir",
        sample="/run/flexportd/control.sock",
    )
    event_retention: Retention = key(
        "400d", "How long to keep the payloads of events, messages to channels, ended operations and the audit log."
    )
    history_retention: Retention = key("forever", "How long to keep the change history.")

    @field_validator("cache_dir")
    @classmethod
    def _apart(cls, value: Path, info: ValidationInfo) -> Path:
        if "data_dir" in info.data:
            mine, other = (os.path.realpath(path) for path in (value, info.data["data_dir"]))
            # The cache may be deleted at any time, which must never reach the data.
            if os.path.commonpath([mine, other]) in {mine, other}:
                raise ValueError("must be separate from data_dir: neither may be inside the other")
        return value


class QueueSettings(SectionModel):
    """Queue processing and retries."""

    workers: Whole = key(4, "The number of concurrent fetches and sends.", ge=1, le=64)
    max_attempts: Whole = key(8, "Failed attempts after which an item becomes a dead letter.", ge=1, le=100)
    base_delay: Duration = key(
        "2s", "The delay after the first failure. It doubles with each further failure.", gt=_ZERO
    )
    max_delay: Duration = key("15m", "The maximum delay between two attempts.", gt=_ZERO)
    lease: Duration = key("60s", "How long a fetch or send may run before it is retried.", gt=_ZERO)

    @field_validator("max_delay")
    @classmethod
    def _not_below_base(cls, value: timedelta, info: ValidationInfo) -> timedelta:
        if "base_delay" in info.data and value < info.data["base_delay"]:
            raise ValueError(f"must be at least base_delay, which is {format_duration(info.data['base_delay'])}")
        return value


class SyncSettings(SectionModel):
    """Reconciliation with Flexport's API."""

    full_interval: Duration = key("1h", "How often to compare all objects (full sync).", ge=_MIN_INTERVAL)
    incremental_interval: Duration = key("5m", "How often to read recent changes (incremental sync).", ge=_MIN_INTERVAL)
    events_interval: Duration = key("2m", "How often to poll Flexport's list of events.", ge=_MIN_INTERVAL)
    overlap: Duration = key(
        "10m", "How far an incremental sync reaches back before the previous one.", ge=_ZERO, le=_DAY
    )
    resources: Resources = key((), "Sync only these resources. Empty: all.", shown="[]", sample=["shipments"])
    refresh_after_event: Switch = key(True, "Fetch the resource of an event after the event arrived.")


class DocumentsSettings(SectionModel):
    """Files of documents."""

    archive: Switch = key(False, "Download the file of every document and keep it in data_dir permanently.")
    max_size: Size = key("50MiB", "The maximum size of a file. Larger files are not downloaded.", ge=1024, le=2**30)
    types: Words = key(
        (),
        "Archive only these document types (Flexport's names). Empty: all.",
        shown="[]",
        sample=["commercial_invoice", "packing_list"],
    )


# The lifetimes of resources come first, in the same order.
_KINDS = dict(zip(default_lifetimes(), RESOURCES, strict=False))
_CACHED = {kind: f"responses about {name.replace('_', ' ')}" for kind, name in _KINDS.items()} | {
    "invoice": "responses about freight invoices",
    "timeline": "timelines of shipments",
    "page": "pages of the dashboard, and responses of no other type here",
    "file": "files of documents",
}
_LIFETIMES: dict[str, Any] = {
    kind: (Duration, key(default, f"How long to cache {_CACHED[kind]}."))
    for kind, default in default_lifetimes().items()
}


class Lifetimes(create_model("Lifetimes", __base__=SectionModel, **_LIFETIMES)):  # type: ignore[misc]  # made of data
    """How long to cache each type of response; `0s` disables caching."""


class CacheSettings(SectionModel):
    """The disk cache of responses. A response is dropped when its data changes; 0s disables caching of a type."""

    size_limit: Size = key("256MiB", "The maximum size on disk.", ge=2**20)
    ttl: Lifetimes = Field(default_factory=Lifetimes)

    def seconds(self) -> dict[str, float]:
        """The lifetime of each type of response."""
        return {kind: span.total_seconds() for kind, span in self.ttl}


class ApiSettings(SectionModel):
    """The JSON API."""

    require_key: Switch | None = key(
        None,
        "Require an API key, also for pages and administration. Default: only if other machines can connect, that is, "
        "if listen names anything but loopback addresses (a Unix socket counts, also one from systemd), or if "
        "public_url or trusted_proxies is set. With false, everyone who can connect can read and administer.",
        shown="true, unless listen is loopback only and neither public_url nor trusted_proxies is set",
        sample=True,
    )
    cors_origins: addresses.Origins = key(
        (),
        'Allow pages of these origins to call the API. ["*"] allows all; it needs keys to be required.',
        shown="[]",
        sample=["https://app.example.com"],
    )
    rate_limit: RateLimit = key("3000/1m", "The rate limit of a key that has none of its own.")
    page_size: Whole = key(50, "The default number of rows on a page of a list.", ge=1, le=1000)
    max_page_size: Whole = key(500, "The maximum number of rows on a page of a list.", ge=1, le=1000)

    @field_validator("max_page_size")
    @classmethod
    def _not_below_page(cls, value: int, info: ValidationInfo) -> int:
        if "page_size" in info.data and value < info.data["page_size"]:
            raise ValueError(f"must be at least page_size, which is {info.data['page_size']}")
        return value

    def keys_required(self, server: ServerSettings) -> bool:
        """Whether every client on the network needs a key."""
        return bool(server.exposures) if self.require_key is None else self.require_key


class DashboardSettings(SectionModel):
    """The web dashboard."""

    enabled: Switch = key(True, "Serve the dashboard.")
    title: Line = key("flexportd", "The title on every page.", max_length=80)
    timezone: TimeZone = key("UTC", "The IANA time zone of times on pages.")


DocumentTypes = Annotated[
    tuple[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,99}(/[a-z0-9][a-z0-9_]{0,99}){0,9}$")], ...],
    ValueType(
        "list of lower-case words such as packing_list; a/b means either", kind="list", show=show_list, missing="none"
    ),
]


def _required_documents(mode: str, *sample: str) -> Any:
    sentence = f"Document types that {mode} shipments need after departure (Flexport's names); a/b means either."
    return key((), sentence, shown="[]", sample=list(sample))


class RequiredDocuments(SectionModel):
    """Required documents by mode. None by default, since the types that Flexport provides differ between clients."""

    ocean: DocumentTypes = _required_documents(
        "ocean", "flexport_bill_of_lading", "commercial_invoice/commercial_invoice_packing_list"
    )
    air: DocumentTypes = _required_documents("air", "commercial_invoice/commercial_invoice_packing_list")
    truck: DocumentTypes = _required_documents("truck", "trucking_bill_of_lading")
    rail: DocumentTypes = _required_documents("rail", "commercial_invoice/commercial_invoice_packing_list")


class ExceptionsSettings(SectionModel):
    """When something counts as an exception. Days are local to the place."""

    eta_slip_days: Whole = key(2, "Report an arrival that is this many days later than first estimated.", ge=1, le=365)
    free_time_days: Whole = key(2, "Warn this many days before a container's last free day.", ge=0, le=60)
    empty_return_days: Whole = key(
        5, "Report a container not returned empty more than this many days after its delivery.", ge=1, le=365
    )
    silent_days: Whole = key(7, "Report a shipment in transit that had no update for this many days.", ge=1, le=365)
    invoice_due_days: Whole = key(3, "Warn this many days before a freight invoice is due.", ge=0, le=90)
    booking_days: Whole = key(3, "Report a booking that Flexport has not answered after this many days.", ge=1, le=90)
    required_documents: RequiredDocuments = Field(default_factory=RequiredDocuments)

    def required(self) -> dict[str, tuple[tuple[str, ...], ...]]:
        """The required documents by mode; one of the types of each entry suffices."""
        return {
            mode: tuple(tuple(entry.split("/")) for entry in entries)
            for mode, entries in self.required_documents
            if entries
        }


class WritesSettings(SectionModel):
    """Writing to Flexport: bookings, products, commercial invoices, shipment metadata, documents, network."""

    enabled: Switch = key(False, "Allow writes to Flexport, for keys with the scope write.")
    allow: WriteGroups = key(
        WRITE_GROUPS,
        "The kinds that may be written. Empty: none.",
        shown=show_list(WRITE_GROUPS),
        sample=["products", "documents"],
    )
    approval: WriteGroups = key(
        (), "These kinds wait until a second key with the scope admin approves them.", shown="[]", sample=["bookings"]
    )
    marker_metadata_key: Line | None = key(
        None,
        "Mark bookings in this metadata key, which the consignee must have defined, instead of the special "
        "instructions.",
        shown="not set",
        sample="flexportd",
    )


class LogSettings(SectionModel):
    """Logging."""

    level: Literal["debug", "info", "warning", "error"] = key("info", "The minimum level of log lines.")
    format: Literal["auto", "console", "json"] = key("auto", "auto: console on a terminal, otherwise JSON.")
    access: Switch = key(True, "Log each request (level info), except webhooks: those are logged as events.")


class Settings(SectionModel):
    """All sections."""

    flexport: FlexportSettings = Field(default_factory=FlexportSettings)
    webhook: WebhookSettings = Field(default_factory=WebhookSettings)
    server: ServerSettings = Field(default_factory=ServerSettings)
    storage: StorageSettings = Field(default_factory=StorageSettings)
    queue: QueueSettings = Field(default_factory=QueueSettings)
    sync: SyncSettings = Field(default_factory=SyncSettings)
    documents: DocumentsSettings = Field(default_factory=DocumentsSettings)
    cache: CacheSettings = Field(default_factory=CacheSettings)
    api: ApiSettings = Field(default_factory=ApiSettings)
    dashboard: DashboardSettings = Field(default_factory=DashboardSettings)
    exceptions: ExceptionsSettings = Field(default_factory=ExceptionsSettings)
    notify: NotifySettings = Field(default_factory=NotifySettings)
    writes: WritesSettings = Field(default_factory=WritesSettings)
    log: LogSettings = Field(default_factory=LogSettings)

    @field_validator("server")
    @classmethod
    def _address_to_check(cls, value: ServerSettings, info: ValidationInfo) -> ServerSettings:
        if "webhook" in info.data and info.data["webhook"].self_check is not None and value.public_url is None:
            raise RuleError("public_url is missing, but [webhook] self_check requires it: it is the address to check")
        return value

    @field_validator("api")
    @classmethod
    def _any_origin_with_keys_alone(cls, value: ApiSettings, info: ValidationInfo) -> ApiSettings:
        if (
            addresses.ANY_ORIGIN in value.cors_origins
            and "server" in info.data
            and not value.keys_required(info.data["server"])
        ):
            raise RuleError('cors_origins = ["*"] lets every web page read all data: it requires require_key = true')
        return value

    @property
    def keys_required(self) -> bool:
        """Whether every client on the network needs a key."""
        return self.api.keys_required(self.server)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every secret of the configuration, to be redacted in logs and stored responses."""
        secrets = (*self.webhook.secrets, self.flexport.api_key, self.flexport.client_secret)
        values = tuple(secret.get_secret_value() for secret in secrets if secret is not None)
        proxy = () if self.flexport.proxy is None else self.flexport.proxy.secrets
        return (*values, *proxy, *self.notify.secrets)

    @property
    def notify_timezone(self) -> str:
        """The time zone of digests and quiet hours of rules without their own."""
        return self.notify.timezone or self.dashboard.timezone

    @classmethod
    def for_tests(cls, directory: Path, **overrides: object) -> "Settings":
        """Settings that touch nothing outside `directory`; `overrides` are dotted keys with values as in a file."""
        values: dict[str, object] = {
            "webhook.secrets": ["test-secret-0123456789"],
            "server.listen": "127.0.0.1:0",
            "storage.data_dir": directory / "data",
            "storage.cache_dir": directory / "cache",
            "storage.control_socket": directory / "control.sock",
            "log.access": False,
        }
        return cls.model_validate(nest(values | overrides))


def nest(values: dict[str, object]) -> dict[str, Any]:
    """Dotted keys as nested tables; `rules[0].name` is a key of the first table in a list."""
    root: dict[str, Any] = {}
    for dotted, value in values.items():
        *tables, name = dotted.split(".")
        table = root
        for part in tables:
            key_name, is_element, place = part.partition("[")
            if is_element:
                elements = table.setdefault(key_name, [])
                number = int(place.removesuffix("]"))
                elements.extend({} for _ in range(len(elements), number + 1))
                table = elements[number]
            else:
                table = table.setdefault(part, {})
        table[name] = value
    return root

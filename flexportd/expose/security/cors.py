"""Origins: which pages may read responses and send requests that change something, ours and the configured ones.

A browser reports the origin of a request in `Sec-Fetch-Site` (https://www.w3.org/TR/fetch-metadata/), which no page can
set, and in `Origin` (https://fetch.spec.whatwg.org/#origin-header). The first is missing in Safari before 16.4, and in
every browser if the page has neither TLS nor a loopback address. The second is `null` where a page or an extension
hides it. A form that is sent without either needs a token (`expose/security/csrf.py`).
"""

from collections.abc import Collection, Iterable, Mapping

from aiohttp import hdrs, web
from yarl import URL

FETCH_SITE = "Sec-Fetch-Site"
_OWN_SITES = frozenset({"same-origin", "none"})
_EXPOSED_HEADERS = (
    "ETag, Link, Age, Location, Retry-After, RateLimit, RateLimit-Policy, X-Request-Id, Content-Disposition, "
    "Content-Range, Accept-Ranges"
)
_ALLOWED_HEADERS = (
    "Authorization, Content-Type, If-None-Match, If-Range, Range, Idempotency-Key, Last-Event-ID, X-Request-Id"
)
_CORS_HEADERS: dict[str, str] = {
    hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: "*",
    hdrs.ACCESS_CONTROL_EXPOSE_HEADERS: _EXPOSED_HEADERS,
}
_VARY_ORIGIN: dict[str, str] = {hdrs.VARY: "Origin"}
_USUAL_PORTS = {"http": ":80", "https": ":443"}
_MAX_SHOWN = 100  # characters of a header in a message
_PROGRAM_HINT = "programs send Authorization: Bearer"

PROXY_FIX = "let the proxy pass on the Host header that it receives (nginx: proxy_set_header Host $http_host)"
"""The fix where a proxy replaces the host name that people use."""


def origin_of(url: str) -> str:
    """The origin of a valid http(s) URL, as browsers write it."""
    return str(URL(url).origin())


def cors_headers(request: web.BaseRequest, allowed: Collection[str]) -> Mapping[str, str]:
    """The headers that let a page of an allowed origin read the response.

    Where they depend on the origin, `Vary` keeps caches from giving the response to another page.
    https://fetch.spec.whatwg.org/#cors-protocol-and-http-caches
    """
    if not allowed or not request.path.startswith("/api/"):
        return {}
    if "*" in allowed:
        return _CORS_HEADERS
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is None or origin not in allowed:
        return _VARY_ORIGIN
    return {**_CORS_HEADERS, **_VARY_ORIGIN, hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: origin}


def preflight_headers(request: web.BaseRequest, allowed: Collection[str]) -> Mapping[str, str] | None:
    """The headers of the response to a CORS preflight request; None for all other requests."""
    if request.method != hdrs.METH_OPTIONS or hdrs.ACCESS_CONTROL_REQUEST_METHOD not in request.headers:
        return None
    headers = cors_headers(request, allowed)
    if hdrs.ORIGIN not in request.headers or hdrs.ACCESS_CONTROL_ALLOW_ORIGIN not in headers:
        return None
    return {
        **headers,
        hdrs.ACCESS_CONTROL_ALLOW_METHODS: "GET, HEAD, POST, PATCH, DELETE",
        hdrs.ACCESS_CONTROL_ALLOW_HEADERS: _ALLOWED_HEADERS,
        hdrs.ACCESS_CONTROL_MAX_AGE: "3600",
    }


def request_origins(request: web.BaseRequest, *, is_trusted: bool) -> list[str]:
    """The origins that this request may have been sent to, that of its Host header first.

    `is_trusted`: a trusted proxy sent it, so `X-Forwarded-Host` and `X-Forwarded-Proto` count, which are what the proxy
    received. Where neither TLS nor the proxy shows the scheme, it can be both: a proxy may have terminated TLS.
    """
    headers = request.headers
    hosts, schemes = [headers.get(hdrs.HOST, "")], ["https"] if request.secure else []
    if is_trusted:
        hosts += forwarded_hosts(request)
        schemes += forwarded_schemes(request)
    known = schemes or ["http", "https"]
    return [
        f"{scheme}://{host.strip().lower().removesuffix(_USUAL_PORTS[scheme])}"
        for host in hosts
        if host
        for scheme in known
    ]


def forwarded_hosts(request: web.BaseRequest) -> list[str]:
    """The hosts that proxies report in `X-Forwarded-Host`, the browser's first; trust is not checked."""
    return _values(request.headers.getall("X-Forwarded-Host", ()))


def forwarded_schemes(request: web.BaseRequest) -> list[str]:
    """`http` or `https` as proxies report in `X-Forwarded-Proto`, the browser's first; trust is not checked."""
    values = (value.lower() for value in _values(request.headers.getall("X-Forwarded-Proto", ())))
    return [value for value in values if value in _USUAL_PORTS]


def is_allowed_origin(request: web.BaseRequest, own: Iterable[str], allowed: Collection[str]) -> bool | None:
    """Whether a page of an own or `allowed` origin, or no browser, sent this; None if the browser does not say."""
    origins = request.headers.getall(hdrs.ORIGIN, [])
    if origins and all(origin in allowed for origin in origins):
        return True
    sites = request.headers.getall(FETCH_SITE, [])
    if sites:
        return all(site.strip() in _OWN_SITES for site in sites)
    if not origins:
        return None if _is_browser(request.headers) else True
    if origins == ["null"]:
        return None
    ours = set(own)
    return all(origin.lower() in ours for origin in origins)


def foreign_origin_message(headers: Mapping[str, str], own: str, public: str | None) -> str:
    """Why another site's page is refused, and the fix; `own`: where the request was sent, `public`: public_url."""
    site, origin, own = headers.get(FETCH_SITE), headers.get(hdrs.ORIGIN, "")[:_MAX_SHOWN], own[:_MAX_SHOWN]
    set_to = f"[server] public_url is {public}" if public else "[server] public_url is not set"
    if site is not None:
        return (
            f"The browser reports that a page of another site sent this ({FETCH_SITE}: {site[:_MAX_SHOWN]}). "
            f"Nothing was changed. Use the pages of flexportd itself, at {public or own} ({set_to})."
        )
    if origin == "null":
        return (
            f"The browser did not say which page sent this (Origin: null, no {FETCH_SITE}). Nothing was changed. "
            f"Use the pages of flexportd itself, at {public or own} ({set_to}); {_PROGRAM_HINT}."
        )
    return (
        f"The browser sent Origin {origin}, but flexportd is reached as {own}, and {set_to}. Nothing was changed. "
        f'If {origin} is the address of this dashboard, set public_url = "{origin}", or {PROXY_FIX}. '
        "Otherwise a page of another site sent this."
    )


def unknown_host_message(reached: str, public: str | None) -> str:
    """Why a request to an unknown host name is refused, and the fix."""
    scheme, _, host = reached.partition("://")
    shown = host[:_MAX_SHOWN]
    set_to = f"[server] public_url is {public}" if public else "[server] public_url is not set"
    return (
        f"The Host header is {shown}, which is no known name of flexportd: {set_to}. If people use this name, set "
        f'public_url = "{scheme}://{shown}". If a proxy sets it, {PROXY_FIX}.'
    )


def _is_browser(headers: Mapping[str, str]) -> bool:
    """Whether a browser may have sent this. No page can change these headers without a CORS preflight."""
    return headers.get(hdrs.USER_AGENT, "").startswith("Mozilla/") or "text/html" in headers.get(hdrs.ACCEPT, "")


def _values(lines: Iterable[str]) -> list[str]:
    return [part.strip() for line in lines for part in line.split(",") if part.strip()]

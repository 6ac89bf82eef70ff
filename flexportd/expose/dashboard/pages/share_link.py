"""The page behind a share link: for somebody without a key, mostly on a phone."""

import asyncio

from aiohttp import hdrs, web

from flexportd.expose.api import shares
from flexportd.expose.dashboard import render
from flexportd.expose.dashboard.page_handler import site_title, view_context
from flexportd.expose.dashboard.pages import share
from flexportd.expose.openapi.parameters import identifier
from flexportd.expose.openapi.route import Response, Route
from flexportd.http.compression import compress, negotiate
from flexportd.http.responses import HTML, NO_REFERRER, PreparedResponse, PreparedStreamResponse


async def read(request: web.Request) -> web.StreamResponse:
    """`GET /s/{token}`. Never kept: each look counts, and says how old it is."""
    seen = await shares.open_share(request)
    sight, title, coding = (
        view_context(request.app),
        site_title(request.app),
        negotiate(request.headers.get(hdrs.ACCEPT_ENCODING, "")),
    )

    def work() -> bytes:
        page = share.share_page(seen["shipment"], seen["expires_at"], title, sight)
        body = render.render_standalone("share.html", page)
        return compress(body, coding) if coding else body

    headers = {"x_robots_tag": "noindex, nofollow", "vary": hdrs.ACCEPT_ENCODING, "referrer_policy": NO_REFERRER}
    if coding is not None:
        headers["content_encoding"] = coding
    return PreparedStreamResponse(PreparedResponse(200, await asyncio.to_thread(work), HTML, **headers))


ROUTES = (
    Route(
        method="GET",
        path=shares.PAGE_PATH,
        handler=read,
        name="get_share_page",
        tag="shares",
        summary="Shipment page of a share link",
        description="Needs no key: this is the link itself. Each view is counted. Browsers also receive errors as "
        "pages.",
        scope=None,
        any_query=True,  # messengers add what they like to links
        path_parameters=(identifier("The token of the link.", "token", "fxs_…"),),
        returns=(Response(description="The page.", media=("text/html",)),),
        problems=("not-found", "share-expired", "share-revoked"),
    ),
)

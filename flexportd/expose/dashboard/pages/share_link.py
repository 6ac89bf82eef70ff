"""The page behind a share link: for somebody without a key, mostly on a phone."""

import asyncio

from aiohttp import hdrs, web

from flexportd.expose.api import shares
from flexportd.expose.dashboard import render
from flexportd.expose.dashboard.page_handler import site_title, view_context
from flexportd.expose.dashboard.pages import share
from flexportd.expose.openapi.declaration import route
from flexportd.expose.openapi.parameters import identifier
from flexportd.expose.openapi.route import Response
from flexportd.http.compression import compress, negotiate
from flexportd.http.responses import HTML, NO_REFERRER, PreparedResponse, PreparedStreamResponse


@route(
    "GET",
    shares.PAGE_PATH,
    prefix="",
    tag="shares",
    returns=Response(description="The page.", media=("text/html",)),
    scope=None,
    any_query=True,  # messengers add parameters to links
    path_parameters=(identifier("The token of the link.", "token", "fxs_…"),),
    problems=("not-found", "share-expired", "share-revoked"),
)
async def get_share_page(request: web.Request) -> web.StreamResponse:
    """Get the page of a share link.

    Needs no key: this is the link itself. Each view is counted. Browsers also receive errors as pages.
    """
    seen = await shares.open_share(request)  # not cached: each view is counted
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

"""A page from request to response: query, one snapshot, view model and markup in a thread; and the pages' forms."""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from flexportd.core.access.keys import Scope, parse_line
from flexportd.errors import ConflictError, ExpiredError, FlexportdError, InvalidError, NotFoundError, UnavailableError
from flexportd.expose.cached_response import Producer, respond
from flexportd.expose.context import CACHE, CLOCK, DB, OPERATIONS, PRINCIPAL, UPSTREAM
from flexportd.expose.dashboard.layout import (
    FailedForm,
    error_response,
    is_customer,
    page_layout,
    view_context,
)
from flexportd.expose.dashboard.render import render
from flexportd.expose.dashboard.view import alerts
from flexportd.expose.dashboard.view.alerts import PageContext
from flexportd.expose.dashboard.view.operations import write_access
from flexportd.expose.middleware import AUDIENCE_ALLOWED, FORM_SCOPE
from flexportd.expose.openapi import query_params
from flexportd.expose.openapi.query_params import ListRequest
from flexportd.expose.security import csrf
from flexportd.http.problems import FLEXPORT_PROBLEMS, as_problem
from flexportd.http.responses import HTML, PreparedResponse, PreparedStreamResponse
from flexportd.storage.transaction import Transaction

D = TypeVar("D")

Query = Callable[[web.Request], Awaitable[Any]]
"""Reads and checks the query; a response that it returns (a redirect) is sent instead of the page."""

DOUBLE_CLICK = 1.0  # seconds within which the same form counts as a double click

_TAGS = ("pages",)
_DELAY_PERIOD = 15 * 60  # seconds: in every zone a day begins at a quarter of an hour


class ListPageQuery(NamedTuple):
    """The query of a page with a list: as it was sent, and as the list understands it."""

    sent: Mapping[str, str]
    params: ListRequest


async def no_query(request: web.Request) -> None:
    """Of a page without parameters. Raises InvalidError."""
    query_params.parse_unique(request.query, ())


@dataclass(frozen=True, slots=True)
class Page:
    """One page: `query` reads the request, `read` the database in one snapshot, `view` words it for the template.

    `view` runs in a thread: it takes milliseconds, and may read a time zone from disk. `is_cached` says whether the
    page for a query is kept until the next commit; pages about the present moment are not. `section` is the page's
    entry in the navigation.
    """

    template: str
    section: str
    query: Query
    read: Callable[[Transaction, web.Request, Any], Any]
    view: Callable[[Any, PageContext], object]
    is_cached: Callable[[Any], bool] = lambda _: False

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a GET."""
        query = await self.query(request)
        if isinstance(query, web.StreamResponse):
            return query
        build = functools.partial(self.render, request, query)
        return await respond(request, _cached(request, build) if self.is_cached(query) else build, (), HTML)

    async def render(self, request: web.Request, query: Any, failed_form: FailedForm | None = None) -> bytes:
        """The page for a query; with `failed_form`, the page of that form once more."""
        app = request.app
        view, runtime = view_context(app), alerts.runtime_status(app)
        data, stored = await app[DB].read(lambda tx: (self.read(tx, request, query), alerts.read(tx, view.now)))
        upstream = app[UPSTREAM]
        forecast = upstream.forecast(stored.lists) if upstream else None  # on the loop: it reads the client's state
        customer, token, scopes = is_customer(request), csrf.form_token(request), request[PRINCIPAL].scopes
        is_section = request.path == ("/" if self.section == "overview" else f"/{self.section}")

        def work() -> bytes:
            current = alerts.current_alerts(runtime, stored, view)
            page = self.view(data, PageContext(view, stored, runtime, current, forecast))
            layout = page_layout(
                app,
                self.section,
                current,
                stored,
                is_customer=customer,
                is_section=is_section,
                form_token=token,
                scopes=scopes,
                failed_form=failed_form,
            )
            return render(self.template, page, layout)

        return await asyncio.to_thread(work)


class PageTable(web.RouteTableDef):
    """The pages and forms of one section."""

    def __init__(self, section: str) -> None:
        super().__init__()
        self._section = section
        self._pages: dict[str, Page] = {}

    def page(
        self,
        path: str,
        template: str,
        *,
        read: Callable[[Transaction, web.Request, Any], D],
        query: Query = no_query,
        is_cached: Callable[[Any], bool] = lambda _: False,
        for_audiences: bool = False,
    ) -> Callable[[Callable[[D, PageContext], object]], Callable[[D, PageContext], object]]:
        """Register the decorated view as the page at this path; `for_audiences`: also for limited keys."""

        def register(view: Callable[[D, PageContext], object]) -> Callable[[D, PageContext], object]:
            self.add(path, Page(template, self._section, query, read, view, is_cached), for_audiences=for_audiences)
            return view

        return register

    def add(self, path: str, page: Page, *, for_audiences: bool = False) -> None:
        """Register a page."""
        self._pages[path] = page
        self.get(path)(html_errors(page.section, page.handle, for_audiences=for_audiences))

    def form(self, path: str, scope: Scope = "admin", *, on: str | None = None) -> Callable[[Handler], Handler]:
        """Register the decorated handler for the form that posts to this path; `scope` is what a key needs.

        If it fails, the page at the path `on` shows the problem and what was entered; None: an error page does.
        """

        def register(handler: Handler) -> Handler:
            page = None if on is None else self._pages[on]
            wrapped = html_errors(self._section, handler if page is None else _shown_again(page, handler))
            setattr(wrapped, FORM_SCOPE, scope)
            self.post(path)(wrapped)
            return handler

        return register


def _shown_again(page: Page, handler: Handler) -> Handler:
    """Answer an expected error of a form with its page. If that has an error too, it is raised."""

    @functools.wraps(handler)
    async def wrapped(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except FlexportdError as error:
            if (
                not isinstance(error, InvalidError | NotFoundError | ConflictError)
                and error.slug not in FLEXPORT_PROBLEMS
            ):
                raise
            problem, fields = as_problem(request, error), await csrf.form_fields(request) or {}
            failed = FailedForm(problem.detail, {name: values[0] for name, values in fields.items()})
            body = await page.render(request, None, failed)
            return PreparedStreamResponse(PreparedResponse(problem.status, body, HTML, **problem.headers))

    return wrapped


def html_errors(section: str, handler: Handler, *, for_audiences: bool = False) -> Handler:
    """Turn expected errors into pages of this section; all others are left to the middleware."""

    @functools.wraps(handler)
    async def wrapped(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except (InvalidError, NotFoundError, ConflictError, ExpiredError, UnavailableError) as error:
            return await error_response(request, error, section)

    setattr(wrapped, AUDIENCE_ALLOWED, for_audiences)
    return wrapped


def _cached(request: web.Request, build: Callable[[], Awaitable[bytes]]) -> Producer:
    """The page that `build` makes, kept until a commit or a change of the alerts.

    Under a key that no path has: pages show delays, so none may be answered by path alone. All callers get the same
    page, so it must not hold a form that changes something: the token in it belongs to one caller.
    """
    if is_customer(request):
        return build  # it shows only what this caller may see
    app, cache = request.app, request.app[CACHE]
    quarter = int(app[CLOCK].now().timestamp()) // _DELAY_PERIOD

    async def cached() -> bytes:
        current = alerts.current_alerts(alerts.runtime_status(app), None, view_context(app))
        # Links to forms for writes depend on the caller's scopes and on `[writes]`.
        access = (write_access(request), app[OPERATIONS].rules)
        key = ("page", request.raw_path, quarter, tuple(alert.sentence for alert in current), access)
        answer, epoch = cache.get(key), cache.epoch
        if answer is not None:
            return answer.body
        body = await build()
        cache.put(key, PreparedResponse(200, body, HTML), _TAGS, epoch)
        return body

    return cached


async def form_field(request: web.Request, name: str, most: int) -> str | None:
    """A field of the submitted form; None if missing or longer than `most` characters. Raises RefusedError."""
    fields = await csrf.form_fields(request)
    if fields is None:
        return None
    value = fields.get(name, [""])[0]
    return value if len(value) <= most else None


async def discard_reason(request: web.Request) -> str:
    """The reason for a discard, from the field `why` of the submitted form. Raises InvalidError, RefusedError."""
    why = await form_field(request, "why", 500)
    if why is None:
        raise InvalidError("The reason is longer than 500 characters", "why")
    return why.strip() or "no reason given"


async def line_field(request: web.Request, name: str, most: int) -> str:
    """One line of text from a field of the submitted form. Raises InvalidError, RefusedError."""
    value = await form_field(request, name, 10 * most)
    if value is None:
        raise InvalidError(f"{name} is missing or too long; one line of 1 to {most} characters is required", name)
    return parse_line(name, value, most)


def redirect(url: str) -> web.StreamResponse:
    """To a page, as a GET."""
    return PreparedStreamResponse(PreparedResponse(303, b"", None, location=url))


def done(path: str, notice: str) -> web.StreamResponse:
    """Back to the page after its form; reloading that page repeats nothing."""
    return redirect(f"{path}?done={notice}")


class DoubleSubmitGuard:
    """Lets a form that is sent twice take effect once: it knows the results of the last DOUBLE_CLICK."""

    def __init__(self) -> None:
        self._recent: dict[Hashable, asyncio.Future[Exception | None]] = {}

    async def once(self, request: web.Request, work: Callable[[], Awaitable[object]], *about: Hashable) -> None:
        """Run `work`, unless the same form with the same `about` was sent just before: then wait for its result.

        Raises what `work` raises. It applies only to browsers, which send an Origin with forms: a program that sends
        two requests wants both.
        """
        if hdrs.ORIGIN not in request.headers:
            await work()
            return
        key, loop = (request.path, about), asyncio.get_running_loop()
        known = self._recent.get(key)
        if known is not None:
            error = await asyncio.shield(known)
            if error is not None:
                raise error
            return
        done = self._recent[key] = loop.create_future()
        try:
            await work()
        except BaseException as error:
            failed = UnavailableError("An identical request, sent just before, was interrupted. Try again.")
            done.set_result(error if isinstance(error, Exception) else failed)
            del self._recent[key]
            raise
        done.set_result(None)
        loop.call_later(DOUBLE_CLICK, self._recent.pop, key, None)


SUBMIT_GUARD: web.AppKey[DoubleSubmitGuard] = web.AppKey("presses", DoubleSubmitGuard)

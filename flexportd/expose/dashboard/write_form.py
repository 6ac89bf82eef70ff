"""The pages with forms for writes to Flexport: entered, checked, shown as it would be sent, then sent once.

Everything works without scripts: rows are added and references are searched by buttons that show the form again.
"""

import json
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, NamedTuple

import msgspec
from aiohttp import web

from flexportd.core.outbox.actions import InvalidBodyError, WriteCommand
from flexportd.core.outbox.kinds import OperationKind
from flexportd.core.outbox.request_builder import OutgoingWrite
from flexportd.core.outbox.validation.account import PORT_CODES, SELF
from flexportd.core.outbox.validation.problems import FieldProblem
from flexportd.core.resources.registry import REGISTRY as RESOURCES
from flexportd.errors import ConflictError, ForbiddenError, InvalidError
from flexportd.escape import escape_control
from flexportd.expose.api.operations import actor
from flexportd.expose.context import DB, OPERATIONS, PRINCIPAL
from flexportd.expose.dashboard.body_form import (
    MAX_ROWS,
    Choices,
    FormChange,
    FormField,
    FormRows,
    FormSection,
    Values,
    all_fields,
    body_of,
    changes_of,
    entered_values,
    field_of,
    rows_of,
    submitted_rows,
    values_of,
)
from flexportd.expose.dashboard.page import Page, PageTable, no_query, redirect
from flexportd.expose.dashboard.view.labels import Text, sentence, short_text, text
from flexportd.expose.security import csrf
from flexportd.http.responses import HTML, PreparedResponse, PreparedStreamResponse
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.queries.table import Key
from flexportd.storage.repositories.operations import Operation
from flexportd.storage.transaction import Transaction

MAX_MATCHES = 30  # of a search
_LONGEST_WORDS = 100  # characters of a search
_KEY_BYTES = 12
_LONGEST_KEY = 40
_LONGEST_PROBLEM = 500  # characters
_LONGEST_LINE = 500
OMITTED = "which this form does not show and cannot change"
_SEARCH = "find:"
_NO_CHANGE: Sequence[Mapping[str, Any]] = ({}, {"metadata": {}})

BodyBuilder = Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]
"""(entered, as it was when the form was opened) → the body to send."""

ChangeLister = Callable[[Mapping[str, Any], Mapping[str, Any]], Sequence[FormChange]]
"""(as it was when the form was opened, the body to send) → what changes."""


@dataclass(frozen=True, slots=True)
class WriteForm:
    """A form for one kind of write. `base` is what is changed, as the form shows it; None for a new object.

    `finish` makes the body from what was entered, and may raise InvalidBodyError; `describe` lists what it changes.
    `hidden` fields are kept. `others` are the paths of forms that a button changes to, with its title. `is_outdated`:
    the object has changed since the form was opened. `omitted` are lists of the object that are too long for the form:
    they are not in `base`, and cannot be changed.
    """

    kind: OperationKind
    title: str
    path: str
    crumbs: Sequence[tuple[str, str]]
    sections: Sequence[FormSection]
    finish: BodyBuilder = lambda body, _: dict(body)
    describe: ChangeLister | None = None
    target: Key | None = None
    base: Mapping[str, Any] | None = None
    hint: str = ""
    hidden: Mapping[str, str] = field(default_factory=dict)
    others: Choices = ()
    is_outdated: bool = False
    omitted: Sequence[FormRows] = ()


class FormState(NamedTuple):
    """What a form shows: what was entered, searches, and the result of a check.

    `added` is the list that gets a row; it then has `rows_wanted`, also empty ones.
    """

    form: WriteForm
    values: Values
    key: str
    searches: Mapping[str, str] = {}
    problems: Sequence[FieldProblem] = ()
    preview: OutgoingWrite | None = None
    changes: Sequence[FormChange] = ()
    checked: str = ""
    added: str = ""
    note: str = ""
    earlier: Operation | None = None
    needs_approval: bool = False
    rows_wanted: int = 0


class FormData(NamedTuple):
    """A form with the choices of its references, by the name of their inputs; `unmatched` searches found nothing."""

    state: FormState
    choices: Mapping[str, Choices]
    unmatched: frozenset[str] = frozenset()


def check_access(request: web.Request, kind: OperationKind) -> None:
    """Raises ForbiddenError unless the caller may create operations of a kind."""
    if "write" not in request[PRINCIPAL].scopes:
        raise ForbiddenError("Writing to Flexport requires a key with the scope write.")
    refusal = request.app[OPERATIONS].rules.refusal(kind)
    if refusal is not None:
        raise ForbiddenError(f"{refusal[:1].upper()}{refusal[1:]}.")


def opened(request: web.Request, form: WriteForm, body: Mapping[str, Any], note: str = "") -> FormState:
    """The form as it is opened, with these values. Raises ForbiddenError."""
    check_access(request, form.kind)
    return FormState(form, values_of(body, form.sections), secrets.token_urlsafe(_KEY_BYTES), note=note)


async def submitted_fields(request: web.Request) -> csrf.Fields:
    """The submitted fields. Raises InvalidError."""
    fields = await csrf.form_fields(request)
    if fields is None:
        raise InvalidError(f"The form is malformed, or has more than {csrf.MAX_FIELDS:,} fields", "form")
    return fields


def first(fields: csrf.Fields, name: str) -> str:
    """The value of a field; empty if it is missing."""
    return fields.get(name, [""])[0]


def submitted_base(fields: csrf.Fields) -> dict[str, Any]:
    """What the form showed when it was opened. Raises InvalidError."""
    try:
        return msgspec.json.decode(first(fields, "base") or "{}", type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidError("The form is malformed; open it again", "base") from error


async def submit(
    request: web.Request, form: WriteForm, fields: csrf.Fields, render: Callable[[web.Request, FormState], Any]
) -> web.StreamResponse:
    """Do what the pressed button says: add or remove a row, search, check, or send and show the operation.

    The key in the form makes sending it twice one operation. Raises InvalidError, ForbiddenError, ConflictError.
    """
    check_access(request, form.kind)
    do, key = first(fields, "do"), first(fields, "key")
    if not 0 < len(key) <= _LONGEST_KEY or not key.isascii() or not key.isprintable():
        raise InvalidError("The form is malformed; open it again", "key")
    searches = {
        name.removeprefix(_SEARCH): words
        for name, given in fields.items()
        if name.startswith(_SEARCH) and (words := given[0].strip()[:_LONGEST_WORDS])
    }
    verb, _, argument = do.partition(":")
    values = entered_values(fields, form.sections, argument if verb == "remove" else "")
    state = FormState(form, values, key, searches)
    if verb == "add":
        state = state._replace(added=argument, rows_wanted=submitted_rows(fields, argument) + 1)
    if do == "enter" and not searches:  # Enter in a field: the first button of the form
        do = "check"
    if do in ("check", "send"):
        result = await _check_or_send(request, state, first(fields, "checked"), is_send=do == "send")
        if isinstance(result, Operation):
            return redirect(f"/operations/{result.id}?done=created")
        state = result
    body = await render(request, state)
    return PreparedStreamResponse(PreparedResponse(400 if state.problems else 200, body, HTML))


async def _check_or_send(
    request: web.Request, state: FormState, checked: str, *, is_send: bool
) -> FormState | Operation:
    form, control = state.form, request.app[OPERATIONS]
    base = form.base or {}
    try:
        body = _body(form, state.values)
    except InvalidBodyError as error:
        return state._replace(problems=_problems(error))
    command = WriteCommand(form.kind, body, form.target, f"form-{state.key}")
    identity = actor(request).identity
    earlier = await request.app[DB].read(
        lambda tx: tx.operations.by_idempotency_key(identity, command.idempotency_key or "")
    )
    if is_send and earlier is not None and earlier.digest == command.digest:
        return earlier  # the form was sent before: this is a double click, or a reload
    try:
        preview = await control.preview(command)
        if is_send and checked == command.digest and earlier is None:
            operation, _ = await control.create(command, actor(request))
            return operation
    except InvalidBodyError as error:
        return state._replace(problems=_problems(error))
    except ConflictError as error:
        return state._replace(problems=[FieldProblem("", str(error))])
    changed = form.describe or _describe(form, state.values)
    is_other = is_send and checked != command.digest
    note = "The values have changed since they were checked. Check them once more." if is_other else ""
    return state._replace(
        preview=preview,
        changes=() if form.base is None else changed(base, body),
        checked=command.digest,
        key=state.key if earlier is None or earlier.digest == command.digest else secrets.token_urlsafe(_KEY_BYTES),
        note=note,
        earlier=earlier,
        needs_approval=form.kind.group in control.rules.approval,
    )


def _body(form: WriteForm, values: Values) -> dict[str, Any]:
    """The body to send. Raises InvalidBodyError."""
    too_long = [one for one in form.omitted if rows_of(values, one)]
    if too_long:
        detail = f"has more than {MAX_ROWS} rows, which this form cannot change; use the command line or the API"
        raise InvalidBodyError([FieldProblem(one.pointer, detail) for one in too_long])
    body = form.finish(body_of(values, form.sections), form.base or {})
    if form.base is not None and body in _NO_CHANGE:
        raise InvalidBodyError([FieldProblem("", "Nothing was changed")])
    return body


def _describe(form: WriteForm, values: Values) -> ChangeLister:
    return lambda base, _: changes_of(values_of(base, form.sections), values, form.sections)


def _problems(error: InvalidBodyError) -> list[FieldProblem]:
    return [FieldProblem(one["pointer"], one["detail"]) for one in error.errors]


# --- choices of references ---


def read_choices(tx: Transaction, _request: web.Request, state: FormState) -> FormData:
    """The form with the choices of its references: the chosen one, and the matches of a search or the first ones."""
    found, unmatched = dict[str, Choices](), set[str]()
    sections = state.form.sections
    fields = [one for one, _ in all_fields(sections, _with_blank_rows(state))]
    cached: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for one in fields:
        if one.kind not in ("reference", "port"):
            continue
        resource = "ports" if one.kind == "port" else one.source
        words, chosen = state.searches.get(one.pointer, ""), state.values.get(one.pointer, [""])[0]
        if (resource, words) not in cached:
            cached[resource, words] = _matches(tx, resource, words)
        matches = cached[resource, words]
        own = [] if not chosen or chosen in dict(matches) else [(chosen, _title_of(tx, resource, chosen))]
        if words and not matches:
            unmatched.add(one.pointer)
            matches = [(words, f"{words} (as typed)")]
        found[one.pointer] = [*own, *matches]
    return FormData(state, found, frozenset(unmatched))


def _matches(tx: Transaction, resource: str, words: str) -> list[tuple[str, str]]:
    filters = {"q": (words,)} if words else {}
    page = PageRequest(MAX_MATCHES, "name", descending=False, filters=filters)
    rows = [row for row in tx.resources.page(RESOURCES[resource].table, page)[:MAX_MATCHES] if not row["removed_at"]]
    matches = [_choice(resource, row) for row in rows]
    if resource == "company_entities" and not words:
        matches.insert(0, (SELF, "Your own company (self)"))
    return list(dict(one for one in matches if one is not None).items())


def _choice(resource: str, row: Mapping[str, Any]) -> tuple[str, str] | None:
    name = row["name"] or "?"
    if resource == "ports":
        kind = next((kind for kind, column in PORT_CODES.items() if row[column]), None)
        return None if kind is None else (f"{kind}:{row[PORT_CODES[kind]]}", f"{name} ({row[PORT_CODES[kind]]})")
    ref = row["ref"] or f"id-{row['id']}"
    return ref, ", ".join(filter(None, (name, row["address"]))) + f" ({ref})"


def _title_of(tx: Transaction, resource: str, chosen: str) -> str:
    """The title of a chosen reference."""
    kind, _, code = chosen.rpartition(":")
    column, value = (PORT_CODES.get(kind, "unlocode"), code) if resource == "ports" else ("ref", chosen)
    records = tx.resources.with_value(RESOURCES[resource].table, column, value, 1)
    choice = _choice(resource, {**records[0].fields, "id": records[0].id}) if records else None
    return "Your own company (self)" if chosen == SELF else choice[1] if choice else value


def _with_blank_rows(state: FormState) -> Values:
    """The values, with an input for each row that is shown."""
    values = dict(state.values)
    for rows in _lists(state.form.sections):
        for index in range(rows_of(values, rows), _shown_rows(state, rows)):
            values[rows.fields[0].at(f"{rows.pointer}/{index}").pointer] = [""]
    return values


def _lists(sections: Sequence[FormSection]) -> list[FormRows]:
    return [item for section in sections for item in section.items if isinstance(item, FormRows)]


def _shown_rows(state: FormState, rows: FormRows) -> int:
    entered = rows_of(state.values, rows)
    return min(MAX_ROWS, max(rows.fewest, entered, state.rows_wanted if state.added == rows.pointer else 0))


# --- the view ---


def form_view(data: FormData) -> SimpleNamespace:
    """The form for the template."""
    state, form = data.state, data.state.form
    values = _with_blank_rows(state)
    labels = {one.pointer: label for one, label in all_fields(form.sections, values)}
    at_fields: dict[str, str] = {}
    summary = []
    for problem in state.problems:
        place = field_of(problem, form.sections, values)
        if place is None:
            summary.append(SimpleNamespace(words=sentence(problem.detail, _LONGEST_PROBLEM), url=None, label=None))
            continue
        # The message begins with the name in Flexport's document, where the page has a label.
        words = sentence(problem.detail.removeprefix(f"{problem.pointer.rpartition('/')[2]} "), _LONGEST_PROBLEM)
        at_fields.setdefault(place.pointer, words)
        label = place.nouns.capitalize() if isinstance(place, FormRows) else labels[place.pointer]
        summary.append(SimpleNamespace(words=words, url=f"#{element_id(place.pointer)}", label=label))
    base = "" if form.base is None else json.dumps(form.base, ensure_ascii=False)
    earlier = state.earlier
    return SimpleNamespace(
        title=text(form.title, 160) or Text("?"),
        crumbs=tuple(SimpleNamespace(title=text(title, 80), url=url) for title, url in form.crumbs),
        path=form.path,
        hint=form.hint,
        is_outdated=form.is_outdated,
        hidden={**form.hidden, "key": state.key, "base": base, "checked": state.checked},
        others=tuple(SimpleNamespace(path=path, title=title) for path, title in form.others),
        note=state.note,
        earlier=None if earlier is None else SimpleNamespace(id=earlier.id, url=f"/operations/{earlier.id}"),
        problems=tuple(summary),
        preview=None if state.preview is None else _preview(state.preview),
        changes=tuple(
            SimpleNamespace(label=one.label, old=text(one.old, 300), new=text(one.new, 300)) for one in state.changes
        ),
        is_change=form.base is not None,
        needs_approval=state.needs_approval,
        sections=tuple(_section(section, data, values, at_fields) for section in form.sections),
    )


def _preview(sent: OutgoingWrite) -> SimpleNamespace:
    lines = json.dumps(sent.body, ensure_ascii=False, indent=2).splitlines()
    return SimpleNamespace(
        request_line=text(f"{sent.method} {sent.path}", 200),
        body="\n".join(escape_control(line, _LONGEST_LINE) for line in lines),
    )


def element_id(pointer: str) -> str:
    """The id of the element of a field or list."""
    return f"field{pointer.replace('/', '-')}"


def _section(section: FormSection, data: FormData, values: Values, problems: Mapping[str, str]) -> SimpleNamespace:
    items = []
    for item in section.items:
        if isinstance(item, FormField):
            items.append(SimpleNamespace(rows=None, field=_field(item, data, values, problems)))
            continue
        count = _shown_rows(data.state, item)
        places = [f"{item.pointer}/{index}" for index in range(count)]
        items.append(
            SimpleNamespace(
                field=None,
                noun=item.noun,
                id=element_id(item.pointer),
                add=f"add:{item.pointer}" if count < MAX_ROWS else None,
                problem=problems.get(item.pointer),
                rows=tuple(
                    SimpleNamespace(
                        number=number,
                        remove=f"remove:{place}" if count > 1 or item.fewest == 0 else None,
                        fields=tuple(_field(one.at(place), data, values, problems) for one in item.fields),
                    )
                    for number, place in enumerate(places, 1)
                ),
            )
        )
    return SimpleNamespace(title=section.title, hint=section.hint, id=element_id(f"/{section.title}"), items=items)


_YES_NO: Choices = (("true", "Yes"), ("false", "No"))


def _field(one: FormField, data: FormData, values: Values, problems: Mapping[str, str]) -> SimpleNamespace:
    state, choices = data.state, data.choices
    entered = values.get(one.inputs()[0], [""])
    options = choices.get(one.pointer, one.choices or (_YES_NO if one.kind == "yes_no" else ()))
    chosen = set(entered) if one.kind != "quantity" else set(values.get(one.inputs()[-1], []))
    if one.kind in ("choice", "yes_no", "quantity", "many"):  # also a word that is none of the choices is kept
        options = [*options, *((text, text) for text in sorted(chosen) if text and text not in dict(options))]
    return SimpleNamespace(
        kind="reference" if one.kind == "port" else one.kind,
        id=element_id(one.pointer),
        name=one.inputs()[0],
        unit_name=one.inputs()[-1],
        label=one.label,
        hint=one.hint,
        is_required=one.required,
        value=entered[0],
        options=tuple(
            SimpleNamespace(value=value, title=short_text(title, 120), chosen=value in chosen)
            for value, title in options
        ),
        problem=problems.get(one.pointer),
        search_name=f"{_SEARCH}{one.pointer}",
        search_button=f"search:{one.pointer}",
        search=state.searches.get(one.pointer, ""),
        has_matches=one.pointer not in data.unmatched,
    )


def omitted_note(lists: Sequence[FormRows], consequence: str) -> str:
    """What the page says about lists that are too long for the form."""
    return "".join(f" There are more than {MAX_ROWS} {one.nouns}, {consequence}." for one in lists)


def with_base(form: WriteForm, base: Mapping[str, Any]) -> WriteForm:
    """The form with what it showed when it was opened; it is outdated if that has changed since."""
    return replace(form, base=base, is_outdated=form.base != base)


FormLoader = Callable[[web.Request], Awaitable[WriteForm]]
"""The form for the object in the path. Raises ForbiddenError, NotFoundError."""


def add_change_form(pages: PageTable, path: str, nav: str, load: FormLoader) -> None:
    """Declare the page of a form that changes an object, and the handler of what is submitted."""

    async def query(request: web.Request) -> FormState:
        form = await load(request)
        await no_query(request)
        return opened(request, form, form.base or {})

    page = Page("write_form.html", nav, query, read_choices, lambda data, _: form_view(data))
    pages.add(path, page)

    @pages.form(path, scope="write")
    async def check_or_send(request: web.Request) -> web.StreamResponse:
        form, fields = await load(request), await submitted_fields(request)
        return await submit(request, with_base(form, submitted_base(fields)), fields, page.render)


def changed_members(base: Mapping[str, Any], body: Mapping[str, Any], cleared: Mapping[str, Any]) -> dict[str, Any]:
    """The members of a body that differ from the base; `cleared` are the values of members that may be emptied.

    Raises InvalidBodyError if another member was emptied.
    """
    changed = {name: value for name, value in body.items() if base.get(name) != value}
    problems = []
    for name in base.keys() - body.keys():
        stem = name.partition("_port_")[0]
        if name in cleared:
            changed[name] = cleared[name]
        elif "_port_" not in name or not any(one.startswith(f"{stem}_port_") for one in body):
            problems.append(
                FieldProblem(f"/{name}", "is empty; a change cannot remove it, so another value is required")
            )
    if problems:
        raise InvalidBodyError(problems)
    return changed

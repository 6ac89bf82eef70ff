"""Templates of rules: Jinja2 in a sandbox whose work and output are bounded.

A template is the admin's own, but it runs in the daemon: a mistake in it must neither reach more than its variables nor
take the memory or the processor. So it has few filters and methods, and a budget: each element that a loop or filter
handles and each character that is written costs one unit.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from functools import wraps
from typing import Any

import jinja2
from jinja2 import meta, nodes
from jinja2.filters import FILTERS
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from flexportd.errors import FlexportdError
from flexportd.escape import closest_match, escape_control

VARIABLES: Mapping[str, str] = {
    "title": "the title that the message has without a template",
    "lines": "the lines: label, texts (a list), severity, path (of its page), shipment_id",
    "message": "the message of the stream, as a webhook receives it in `data`",
    "shipment": "the fields of the shipment, or none",
    "exception": "the exception with its evidence, or none",
}
"""What a template can use. In a message about several shipments, `shipment` and `exception` are those of the first."""

MAX_OUTPUT = 64 * 1024
"""Bytes of a rendered text."""

_MAX_SOURCE = 20_000  # characters
_BUDGET = 100_000  # elements and characters
_MAX_RANGE = 1000
_MAX_NUMBER = 10**18  # of a factor; more than any id or amount
_MAX_PRECISION = 10  # decimal places

_TEXT_FILTERS = ("capitalize", "lower", "replace", "string", "title", "trim", "truncate", "upper", "wordcount")
_FILTERS = (
    "abs", "count", "d", "default", "dictsort", "first", "float", "groupby", "int", "items", "join", "last", "length",
    "list", "map", "max", "min", "reject", "rejectattr", "reverse", "select", "selectattr", "sort", "sum", "unique",
    *_TEXT_FILTERS,
)  # fmt: skip
_TEXT_METHODS = frozenset(
    {"capitalize", "endswith", "lower", "lstrip", "rstrip", "split", "startswith", "strip", "title", "upper"}
)
_TABLE_METHODS = frozenset({"get", "items", "keys", "values"})
_SCALARS = (str, int, float, Decimal, date)
_SIZED = (str, list, tuple, dict, range)


class TemplateError(FlexportdError):
    """A template that cannot be used or that failed; the sentence names the line where it is known."""

    slug = "template"


def render_template(source: str, variables: Mapping[str, Any]) -> str:
    """The text that a template makes of these variables (plain JSON data, by the names in `VARIABLES`).

    Bounded in work and in size (`MAX_OUTPUT`), but it may take some tenths of a second: call it in a thread. Raises
    TemplateError.
    """
    environment = _TemplateEnvironment()
    template = _compile(environment, source)
    parts: list[str] = []
    size = 0
    try:
        for part in template.generate(variables):
            size += len(part.encode("utf-8", "replace"))
            if size > MAX_OUTPUT:
                break
            parts.append(part)
    except TemplateError:
        raise
    except Exception as error:
        raise TemplateError(_sentence(error)) from error
    if size > MAX_OUTPUT:
        raise TemplateError(f"the text is longer than {MAX_OUTPUT // 1024} KiB")
    return "".join(parts)


def check_template(source: str, names: Sequence[str] = tuple(VARIABLES)) -> None:
    """Check syntax, filters and the names of variables. Raises TemplateError."""
    environment = _TemplateEnvironment()
    _compile(environment, source)
    # Jinja reports these in a branch only when that is rendered.
    for node in environment.parse(source).find_all((nodes.Filter, nodes.Test)):
        kind = "filter" if isinstance(node, nodes.Filter) else "test"
        if node.name not in (environment.filters if kind == "filter" else environment.tests):
            raise TemplateError(f"line {node.lineno} of the template: there is no {kind} {node.name[:50]!r}")
    unknown = sorted(meta.find_undeclared_variables(environment.parse(source)) - {*names, *environment.globals})
    if unknown:
        near = closest_match(unknown[0], names)
        raise TemplateError(
            f"there is no variable {escape_control(unknown[0], 50)!r}; "
            + (f"did you mean {near!r}?" if near else f"expected one of {', '.join(names)}")
        )


def _compile(environment: "_TemplateEnvironment", source: str) -> jinja2.Template:
    if len(source) > _MAX_SOURCE:
        raise TemplateError(f"the template has {len(source)} characters; at most {_MAX_SOURCE} are allowed")
    try:
        return environment.from_string(source)
    except TemplateError:
        raise
    except Exception as error:  # also what Python's compiler raises, such as for too many nested loops
        raise TemplateError(_sentence(error)) from error


def _sentence(error: Exception) -> str:
    """The error of Jinja, or of Python in a template, with the line of the template."""
    if isinstance(error, RecursionError | MemoryError):
        return "the template is nested too deeply or needs too much memory"
    line = error.lineno if isinstance(error, jinja2.TemplateSyntaxError) else None
    trace = error.__traceback__
    while trace is not None and line is None:
        line = trace.tb_lineno if trace.tb_frame.f_code.co_filename == "<template>" else None
        trace = trace.tb_next
    text = (error.message if isinstance(error, jinja2.TemplateError) else None) or str(error) or type(error).__name__
    return f"{f'line {line} of the template: ' if line else ''}{escape_control(text)}"


class _TemplateEnvironment(ImmutableSandboxedEnvironment):
    """The sandbox for one rendering. Nothing is computed at compile time, where nothing could be counted."""

    intercepted_binops = frozenset({"*", "**", "%", "+"})

    def __init__(self) -> None:
        super().__init__(
            undefined=jinja2.StrictUndefined,
            finalize=self.write,
            optimized=False,
            trim_blocks=True,
            lstrip_blocks=True,
            cache_size=0,
        )
        self.left = _BUDGET
        self.filters = {name: self._bounded(name) for name in _FILTERS} | {"round": _round}
        self.globals = {"range": _range, "namespace": jinja2.utils.Namespace}

    def spend(self, units: int) -> None:
        """Count work. Raises TemplateError when the budget is used up."""
        self.left -= units
        if self.left < 0:
            raise TemplateError("the template does too much work: too many repetitions or too much text")

    def text(self, value: object) -> str:
        """A value as text, which costs its length; nothing for None."""
        if not isinstance(value, (*_SCALARS, jinja2.Undefined, type(None))):
            raise TemplateError(f"{_KINDS.get(type(value), 'this value')} is not text: use a loop, or join")
        made = "" if value is None else str(value)
        self.spend(1 + len(made))
        return made

    @jinja2.pass_context  # keeps Jinja from calling it at compile time
    def write(self, _context: object, value: object) -> str:
        """What an expression writes, also in a macro or in a block that a variable keeps."""
        return self.text(value)

    def concat_texts(self, parts: Sequence[object]) -> str:
        """The operator `~`."""
        return "".join(map(self.text, parts))

    def _bounded(self, name: str) -> Callable[..., Any]:
        """A filter that costs the size of its arguments, and of its text where that may be longer."""
        function = FILTERS[name]

        @wraps(function)  # keeps the mark of a filter that is given the environment
        def bounded(*args: Any, **options: Any) -> Any:
            self.spend(1 + sum(len(arg) for arg in (*args, *options.values()) if isinstance(arg, _SIZED)))
            place = 1 if hasattr(function, "jinja_pass_arg") else 0
            if name in _TEXT_FILTERS:
                self.text(args[place])
            if name == "replace":
                text, old, new = (str(arg) for arg in args[place : place + 3])
                self.spend(text.count(old) * len(new))
            if name == "join":
                items = list(args[place])
                separator = options.get("d", (*args, "")[place + 1])
                self.concat_texts([separator] * len(items))
                if not options.get("attribute") and len(args) < place + 3:
                    self.concat_texts(items)
                args = (*args[:place], items, *args[place + 1 :])
            return function(*args, **options)

        return bounded

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Text and lists can be added only; huge numbers cannot be made."""
        numbers = all(isinstance(side, int | float | Decimal) for side in (left, right))
        if operator == "+" and not numbers:
            self.spend(sum(len(side) for side in (left, right) if isinstance(side, _SIZED)))
        elif operator == "**" or not numbers or abs(left) > _MAX_NUMBER or abs(right) > _MAX_NUMBER:
            raise TemplateError(f"the operator {operator} is not available for these values")
        return super().call_binop(context, operator, left, right)

    def call(self, context: Any, function: Any, /, *args: Any, **options: Any) -> Any:
        """A method costs the size of what it is called on."""
        owner = getattr(function, "__self__", None)
        self.spend(len(owner) if isinstance(owner, _SIZED) else 0)
        return super().call(context, function, *args, **options)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """The value of a key comes before a method of its name."""
        return obj[attribute] if isinstance(obj, dict) and attribute in obj else super().getattr(obj, attribute)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Whether a template can use it: the listed methods, and what Jinja's own objects offer."""
        if isinstance(obj, str):
            return attr in _TEXT_METHODS
        if isinstance(obj, dict):
            return attr in _TABLE_METHODS
        return type(obj).__module__.startswith("jinja2.") and super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, _value: Any) -> None:
        """`str.format` is not available: it makes texts of any length."""
        return

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        return _Accounting().visit(super()._parse(source, name, filename))  # type: ignore[no-any-return]


class _Accounting(NodeTransformer):
    """Lets each repetition cost one unit and the text that it contains, and `~` what it makes."""

    def _count(self, node: Any) -> nodes.Node:
        self.generic_visit(node)
        texts = [data.data for data in node.find_all(nodes.TemplateData)]
        cost = nodes.Const(1 + sum(map(len, texts)))
        node.body.insert(0, nodes.ExprStmt(_call("spend", cost), lineno=node.lineno))
        return node  # type: ignore[no-any-return]

    visit_For = visit_Macro = visit_CallBlock = visit_Block = _count  # noqa: N815 (Jinja's names)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802 (Jinja's name)
        self.generic_visit(node)
        return _call("concat_texts", nodes.List(node.nodes))


def _call(name: str, argument: nodes.Expr) -> nodes.Call:
    return nodes.Call(nodes.EnvironmentAttribute(name), [argument], [], None, None)


_KINDS: Mapping[type, str] = {list: "a list", tuple: "a list", dict: "a table"}


def _round(value: Any, precision: int = 0) -> Any:
    return round(value, max(0, min(precision, _MAX_PRECISION)))


def _range(*bounds: int) -> range:
    made = range(*bounds)
    if len(made) > _MAX_RANGE:
        raise TemplateError(f"a range may have at most {_MAX_RANGE} numbers")
    return made

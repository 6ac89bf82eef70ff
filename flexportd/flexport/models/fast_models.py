"""Wire models without pydantic: what comes as documented is decoded in C, several times as quickly.

A wire model is tolerant and lossless, and that has its price. Of what comes as documented, which is nearly everything,
our fields need the declared parts alone. So each model has a plain form, derived from it: a struct with the same
attributes that keeps nothing else and accepts nothing but the documented types. What it refuses, the model reads:

bytes ─ plain form ─▶ struct
            └ refused ─▶ wire model, and a sentence for each field that was set aside
"""

import functools
import types
from collections.abc import Callable
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from pydantic import BeforeValidator

from flexportd.flexport.models import wire
from flexportd.type_lock import TYPE_LOCK

M = TypeVar("M", bound=wire.WireModel)

_UNREADABLE = (ValueError, RecursionError)
_LARGEST = 2**63 - 1
_STRUCT_TYPES: dict[Any, Any] = {
    **{scalar: scalar for scalar in (str, int, float, bool, type(None), Any)},
    wire.Id: Annotated[int, msgspec.Meta(ge=0, le=wire.MAX_ID)],
    wire.AnyId: Annotated[int, msgspec.Meta(ge=0, le=wire.MAX_ID)],
    wire.TextId: Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[^\x00]*$")],
    wire.Flag: bool,
    **dict.fromkeys((wire.Whole, wire.Count), Annotated[int, msgspec.Meta(ge=-_LARGEST - 1, le=_LARGEST)]),
}
"""What a type that is no container and no model is in a plain form."""


class _NoStructError(Exception):
    """A model makes more of what comes than a struct can."""


def load_fast(model: type[M], text: bytes) -> tuple[M, list[wire.FieldFault]]:
    """One JSON object, of which only the declared attributes are needed; raises the errors of `model.load`.

    What is returned has the attributes and properties of the model, but may be its plain form.
    """
    decode = _decoder(model)
    if decode is not None:
        try:
            found = decode(text)
        except _UNREADABLE:
            pass  # not as documented: the model says what is wrong, or makes sense of it
        else:
            return found, wire.value_faults(model, found)
    return model.load(text)


@functools.cache
def _decoder(model: type[wire.WireModel]) -> Callable[[bytes], Any] | None:
    try:
        with TYPE_LOCK:
            return msgspec.json.Decoder(_struct(model)).decode
    except _NoStructError:
        return None


@functools.cache
def _struct(model: type[wire.WireModel]) -> type[msgspec.Struct]:
    lineage = [parent for parent in reversed(model.__mro__) if issubclass(parent, wire.WireModel)]
    decorators, loads = model.__pydantic_decorators__, [parent for parent in lineage if "load" in vars(parent)]
    if decorators.model_validators or decorators.field_validators or loads != [wire.WireModel]:
        raise _NoStructError
    hints = get_type_hints(model, include_extras=True)
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    for name, field in model.model_fields.items():
        if name == "object_name":  # it is known already; none of our fields uses it
            continue
        if field.alias is not None or field.default_factory is not None:
            raise _NoStructError
        form = _struct_type(hints[name])
        fields.append((name, form) if field.is_required() else (name, form, field.default))
    properties = {
        name: value for parent in lineage for name, value in vars(parent).items() if isinstance(value, property)
    }
    return msgspec.defstruct(model.__name__, fields, namespace=properties, frozen=True, gc=False)


def _is_plain(hint: Any) -> bool:
    return hint in _STRUCT_TYPES or (get_origin(hint) is Annotated and _is_plain(get_args(hint)[0]))


def _struct_type(hint: Any) -> Any:
    """The type of a struct's field for that of a model's. Raises _NoFormError where there is none."""
    if hint in _STRUCT_TYPES:
        return _STRUCT_TYPES[hint]
    if isinstance(hint, type) and issubclass(hint, wire.WireModel):
        return _struct(hint)
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated and all(isinstance(one, BeforeValidator | wire.Check) for one in hint.__metadata__):
        return _struct_type(inner[0])
    if origin in (list, dict):
        return origin[tuple(_struct_type(one) for one in inner)]
    if origin in (Union, types.UnionType):
        # Members of a union of models or containers are distinguished by class: only the model can do that.
        if any(not _is_plain(one) for one in inner) and (len(inner) > 2 or type(None) not in inner):
            raise _NoStructError
        return Union[tuple(_struct_type(one) for one in inner)]  # noqa: UP007 (made of what is only known here)
    raise _NoStructError

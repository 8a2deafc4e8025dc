"""Results as data: one serializer for all that this package tells. It needs nothing of ours.

What is told of an object is its fields and its public properties, by their names; ``raw``, the vendor's own
payload, is left out. Its JSON Schema is made of the same names, and of their annotations.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

from attrs import fields


class Data:
    """What can be told as JSON: results, reports, vouchers, events, progress, rows of the journal.

    ``dict(result)`` and ``{**result}`` are the same as ``result.to_dict()``: that is how encoders that know
    nothing of this package take it for data.
    """

    __slots__ = ()
    __iter__: ClassVar[None] = None  # else Python would try __getitem__(0)

    def to_dict(self) -> dict[str, Any]:
        """All that it tells, ready for JSON.

        Returns:
            Enums and references as text, dates and times as ISO 8601 text, money as decimal text, an error as
            its message, and every property (``billed_calls``, say) beside the fields; all without ``raw``.
        """
        return {name: jsonable(getattr(self, name)) for name in names(type(self))}

    def keys(self) -> Iterable[str]:
        """The names of what ``to_dict`` tells."""
        return names(type(self))

    def __getitem__(self, name: str) -> Any:
        if name not in names(type(self)):
            raise KeyError(name)
        return jsonable(getattr(self, name))

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """The JSON Schema (2020-12) of what ``to_dict`` gives, whole: without a ``$ref``."""
        return describe(cls)

    # Pydantic's core schemas are plain dictionaries, so these hooks need no Pydantic.

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> dict[str, Any]:
        return {
            "type": "is-instance",
            "cls": cls,
            "serialization": {"type": "function-plain", "function": cls.to_dict},
        }

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: Any) -> dict[str, Any]:
        return cls.json_schema()


_NAMES: dict[type, tuple[str, ...]] = {}


def names(kind: type) -> tuple[str, ...]:
    """What is told of this class: its fields in their order, then its properties, from the base on."""
    if kind not in _NAMES:
        told = [each.name for each in fields(kind)]
        for base in reversed(kind.__mro__):
            told += [name for name, value in vars(base).items() if isinstance(value, property)]
        _NAMES[kind] = tuple(name for name in dict.fromkeys(told) if name != "raw" and name[0] != "_")
    return _NAMES[kind]


def jsonable(value: object) -> Any:  # noqa: PLR0911 - one for each kind of value
    """A value of this package, alone or inside of lists and mappings, as what ``json.dumps`` takes.

    Fit for ``default=`` of ``json`` and ``orjson``, and wherever a library asks how to encode what it does
    not know.

    Raises:
        TypeError: It is none of ours, and nothing that JSON has.
    """
    match value:
        case Data():
            return value.to_dict()
        case Enum():
            return value.value
        case None | bool() | int() | float() | str():
            return value
        case date():
            return value.isoformat()
        case Decimal():
            return f"{value:f}"
        case Mapping():
            return {str(jsonable(key)): jsonable(each) for key, each in value.items()}
        case list() | tuple():
            return [jsonable(each) for each in value]
        case Exception():
            return str(value)
        case _:
            raise TypeError(f"{type(value).__name__} is no data of tusfacturas_async")


# -- the schema -----------------------------------------------------------------------------------

_PLAIN: Mapping[Any, dict[str, Any]] = {
    Any: {},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    type(None): {"type": "null"},
    datetime: {"type": "string", "format": "date-time"},
    date: {"type": "string", "format": "date"},
    Decimal: {"type": "string", "pattern": r"^-?\d+(\.\d+)?$"},
}


def describe(kind: Any) -> dict[str, Any]:  # noqa: PLR0911 - one for each kind of type
    """The schema of a class of ours, or of whatever its annotations name."""
    if kind in _PLAIN:
        return dict(_PLAIN[kind])
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in {types.UnionType, Union}:
        return _any_of([describe(each) for each in arguments])
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is tuple:
        return _array(arguments)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": describe(arguments[1])}
    if isinstance(kind, type) and issubclass(kind, Data):
        return _object(kind)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {"type": "string", "enum": [each.value for each in kind]}
    if isinstance(kind, type) and issubclass(kind, Exception):
        return {"type": "string"}
    raise TypeError(f"no schema for {kind!r}")


def _any_of(options: list[dict[str, Any]]) -> dict[str, Any]:
    if all(each.keys() == {"type"} for each in options):
        return {"type": [each["type"] for each in options]}
    return {"anyOf": options}


def _array(items: tuple[Any, ...]) -> dict[str, Any]:
    if items[-1] is Ellipsis:
        return {"type": "array", "items": describe(items[0])}
    each = [describe(item) for item in items]
    return {"type": "array", "prefixItems": each, "minItems": len(each), "maxItems": len(each)}


def _object(kind: type[Data]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    told = {name: hints[name] if name in hints else _returned(kind, name) for name in names(kind)}
    return {
        "type": "object",
        "title": kind.__name__,
        "description": (kind.__doc__ or "").partition("\n")[0].replace("``", "`"),
        "properties": {name: describe(hint) for name, hint in told.items()},
        "required": list(told),
    }


def _returned(kind: type, name: str) -> Any:
    return get_type_hints(getattr(kind, name).fget)["return"]

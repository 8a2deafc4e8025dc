"""The JSON Schema of what ``to_dict`` gives, from the same types.

Only who asks for a schema loads this. ``python -m tusfacturas_async._schema`` prints ``docs/schema.json``.
"""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ._data import Data, names

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

Refs = dict[str, dict[str, Any]]


def describe(kind: Any, refs: Refs | None = None) -> dict[str, Any]:  # noqa: PLR0911 - one for each kind of type
    """The schema of a type.

    Args:
        kind: A class of ours, or whatever its annotations name.
        refs: Where the schemas of our classes go, each once, with a ``$ref`` in their place; ``None`` to have
            them in place.
    """
    if kind in _PLAIN:
        return dict(_PLAIN[kind])
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in {types.UnionType, Union}:
        return _any_of([describe(each, refs) for each in arguments])
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is tuple:
        return _array(arguments, refs)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": describe(arguments[1], refs)}
    if isinstance(kind, type) and issubclass(kind, Data):
        return _object(kind, refs)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {"type": "string", "enum": [each.value for each in kind]}
    if isinstance(kind, type) and issubclass(kind, Exception):
        return {"type": "string"}
    raise TypeError(f"no schema for {kind!r}")


def _any_of(options: list[dict[str, Any]]) -> dict[str, Any]:
    if all(each.keys() == {"type"} for each in options):
        return {"type": [each["type"] for each in options]}
    return {"anyOf": options}


def _array(items: tuple[Any, ...], refs: Refs | None) -> dict[str, Any]:
    if items[-1] is Ellipsis:
        return {"type": "array", "items": describe(items[0], refs)}
    each = [describe(item, refs) for item in items]
    return {"type": "array", "prefixItems": each, "minItems": len(each), "maxItems": len(each)}


def _object(kind: type[Data], refs: Refs | None) -> dict[str, Any]:
    if refs is not None and kind.__name__ in refs:
        return {"$ref": f"#/$defs/{kind.__name__}"}
    whole: dict[str, Any] = {"type": "object", "title": kind.__name__}
    if refs is not None:
        refs[kind.__name__] = whole
    hints = get_type_hints(kind)
    told = {name: hints[name] if name in hints else _returned(kind, name) for name in names(kind)}
    whole["description"] = (kind.__doc__ or "").partition("\n")[0].replace("``", "`")
    whole["properties"] = {name: describe(hint, refs) for name, hint in told.items()}
    whole["required"] = list(told)
    return whole if refs is None else {"$ref": f"#/$defs/{kind.__name__}"}


def _returned(kind: type, name: str) -> Any:
    return get_type_hints(getattr(kind, name).fget)["return"]


def document() -> dict[str, Any]:
    """The schemas of all that the package tells, as one document."""
    import tusfacturas_async as package  # noqa: PLC0415 - it stands above us; here we are its tool

    refs: Refs = {}
    for name in package.__all__:
        value = getattr(package, name)
        if isinstance(value, type) and issubclass(value, Data) and value is not Data:
            describe(value, refs)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "tusfacturas_async",
        "$defs": dict(sorted(refs.items())),
    }


if __name__ == "__main__":
    print(json.dumps(document(), indent=1, ensure_ascii=False))  # noqa: T201 - that is what it is for

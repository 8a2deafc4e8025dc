"""Names that load their room when they are first asked for (PEP 562), and are listed before."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TypeAlias


class Later:
    """A module that loads with its first use: for annotations that only some will resolve.

    Type-checkers see the module itself::

        if TYPE_CHECKING:
            import httpx
        else:
            httpx = Later("httpx")
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> object:
        return getattr(import_module(self._name), name)


GetAttr: TypeAlias = Callable[[str], object]
Dir: TypeAlias = Callable[[], list[str]]


def rooms(package: str, names: Mapping[str, tuple[str, ...]]) -> tuple[GetAttr, Dir]:
    """A package's ``__getattr__`` and ``__dir__``.

    Args:
        package: The package's ``__name__``.
        names: From each room, a module below the package, to the names that it has for the package. Rooms
            can be asked for by their own names, too, and those without an underscore are listed.
    """
    where = {name: room for room, those in names.items() for name in those}

    def load(name: str) -> object:
        if name in where:
            value: object = getattr(import_module(f".{where[name]}", package), name)
            setattr(sys.modules[package], name, value)
            return value
        if name in names:
            return import_module(f".{name}", package)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def listed() -> list[str]:
        here = vars(sys.modules[package])
        own = {name for name in here if name.startswith("__")}
        return sorted({*own, *here["__all__"], *(room for room in names if not room.startswith("_"))})

    return load, listed

"""Public names: listed before they are loaded, and their annotations resolve when the program runs."""

from __future__ import annotations

import inspect
import pydoc
import subprocess
import sys
import typing
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

import tusfacturas_async
from tusfacturas_async import instrumentation, sandbox, webhooks

PACKAGES = (tusfacturas_async, instrumentation, sandbox, webhooks)


def public_objects() -> Iterator[tuple[str, Any]]:
    """Every public class and function, and of each class its methods and the getters of its properties."""
    for package in PACKAGES:
        for name in package.__all__:
            value = getattr(package, name)
            if not getattr(value, "__module__", "").startswith("tusfacturas_async"):
                continue  # a type alias
            yield f"{package.__name__}.{name}", value
            for member, found in vars(value).items() if isinstance(value, type) else ():
                if member.startswith("_") and not member.startswith("__"):
                    continue
                if member == "__new__" and issubclass(value, tuple):
                    continue  # Python's own, of a NamedTuple; it has no builtins to resolve by
                function = (
                    found.fget
                    if isinstance(found, property)
                    else inspect.unwrap(getattr(found, "__func__", found))
                )
                if inspect.isfunction(function):
                    yield f"{package.__name__}.{name}.{member}", function


OBJECTS = dict(public_objects())


@pytest.mark.parametrize("name", OBJECTS)
def test_annotations_resolve(name: str) -> None:
    """``typing.get_type_hints`` works on whatever is public, as dependency injection and encoders need it."""
    typing.get_type_hints(OBJECTS[name])
    if inspect.isclass(OBJECTS[name]) and attrs.has(OBJECTS[name]):
        attrs.resolve_types(OBJECTS[name])


def test_there_are_objects_to_resolve() -> None:
    """The collection above reaches methods, class methods, properties and functions."""
    names = ("AsyncClient.__init__", "Credentials.from_env", "Voucher.lane", "parse_webhook", "Journal.open")
    assert {f"tusfacturas_async.{name}" for name in names} <= OBJECTS.keys()


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_names_are_listed_before_they_are_loaded(package: Any) -> None:
    """``dir`` shows every public name in a fresh interpreter, and loads none for it."""
    code = f"import sys, {package.__name__} as package; n = len(sys.modules); print(*dir(package)); "
    code += "assert len(sys.modules) == n"
    listed = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert set(package.__all__) - set(listed) == set()


def test_help_shows_every_name() -> None:
    """``help(tusfacturas_async)``."""
    shown = pydoc.plain(pydoc.render_doc(tusfacturas_async))
    assert [name for name in tusfacturas_async.__all__ if name not in shown] == []


def test_tab_completion() -> None:
    """The interpreter's own, on a fresh import."""
    code = "import rlcompleter, tusfacturas_async as t; c = rlcompleter.Completer({'t': t}); "
    code += "print([c.complete('t.AsyncC', 0), c.complete('t.parse_w', 0)])"
    completed = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert "t.AsyncClient(" in completed
    assert "t.parse_webhook(" in completed

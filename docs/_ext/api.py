"""The API reference: docstrings as they are written here, and each public name at each of its addresses."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sphinx.domains.python import ObjectEntry

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

AGAIN = ("results", "models", "journal", "webhooks")
"""Rooms whose names the package has, too: described by their shortest address, and found by both."""


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", no_type_before_the_colon, priority=400)  # napoleon's is 500
    app.connect("env-updated", add_addresses)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def no_type_before_the_colon(
    _app: Sphinx, what: str, _name: str, _obj: object, _options: object, lines: list[str]
) -> None:
    """Napoleon reads ``Whether it is so: as far as known`` of an attribute as its type and text."""
    if what in {"attribute", "data", "property"} and lines:
        lines[0] = f": {lines[0]}"


def add_addresses(app: Sphinx, env: BuildEnvironment) -> None:
    """``tusfacturas_async.webhooks.Inbox`` leads to where ``tusfacturas_async.Inbox`` is described."""
    objects: dict[str, Any] = env.domains.python_domain.objects
    package = app.config.project.replace("-", "_")
    for room in AGAIN:
        module = f"{package}.{room}"
        for name in import_module(module).__all__:
            if (entry := objects.get(f"{package}.{name}")) is not None:
                objects.setdefault(f"{module}.{name}", ObjectEntry(*entry[:3], aliased=True))

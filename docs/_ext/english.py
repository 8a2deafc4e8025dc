"""Pages that stay English say so in the Spanish site."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

NOTE = """
```{note}
Esta página está solo en inglés.
```
"""


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_config_value("english_only", [], "env", list)
    app.connect("source-read", say_so)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def say_so(app: Sphinx, page: str, source: list[str]) -> None:
    """Below the title."""
    if app.config.language == "es" and any(fnmatchcase(page, kind) for kind in app.config.english_only):
        title, _, text = source[0].partition("\n")
        source[0] = f"{title}\n{NOTE}{text}"

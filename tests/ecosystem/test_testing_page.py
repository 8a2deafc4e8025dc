"""The recipes of ``docs/how-to/testing.md``, each run as a user's test file, with the network shut."""

from __future__ import annotations

import re
from pathlib import Path

from tests.ecosystem.runs import ROOT, run_pytest

PAGE = (ROOT / "docs" / "how-to" / "testing.md").read_text()
RECIPES = dict(re.findall(r"<!-- recipe: (\w+) -->\n```python\n(.*?)```", PAGE, re.DOTALL))


def test_the_recipes_pass_as_they_stand(tmp_path: Path) -> None:
    """The sandbox, and each mock beside it: respx, pytest-httpx, vcrpy."""
    run = run_pytest(tmp_path, RECIPES, "--tusfacturas-no-network", "-o", "asyncio_mode=auto")
    expected = dict.fromkeys(("sandbox", "webhooks", "respx", "pytest_httpx", "vcrpy"), "passed")
    assert run.outcomes == expected, run.printed

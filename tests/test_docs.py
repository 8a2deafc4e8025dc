"""Every Python example in the README and the docs is executed; the README's two commands are what CI runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from sybil import Document, Example, Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

from tests.helpers import asked_by_all

ROOT = Path(__file__).parent.parent
BLOB = "https://github.com/tusfacturas-async/tusfacturas-async/blob/main/"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def examples() -> list[Any]:
    sybil = Sybil(parsers=[PythonCodeBlockParser()])
    pages: list[tuple[Path, Document]] = [(page, sybil.parse(page)) for page in PAGES]
    return [
        pytest.param(list(document.examples()), id=str(page.relative_to(ROOT)))
        for page, document in pages
        if list(document.examples())
    ]


@pytest.mark.parametrize("page", examples())
def test_examples_run(page: list[Example], capsys: pytest.CaptureFixture[str]) -> None:
    """In the order of the page, sharing its names. The marked ones are served for real, elsewhere."""
    for example in page:
        before = example.document.text[: example.region.start].rstrip().rpartition("\n")[2]
        if not before.startswith("<!-- recipe:"):
            example.evaluate()


async def test_the_readmes_backend_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    """The example inside a web backend sweeps beside its requests, and ends with the app."""
    source = re.search(
        r"example: backend -->\n```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL
    )
    assert source is not None
    names: dict[str, Any] = {}
    exec(source[1], names)  # noqa: S102 - it is our own README
    app = names["app"]
    async with asked_by_all(["pedido-1"], monkeypatch), app.router.lifespan_context(app):
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app), base_url="http://test"
        ) as browser:
            started = await browser.post("/sweeps", json=["pedido-1", "pedido-2"])
            await names["sweeps"][0][1]
            status = await browser.get(f"/sweeps/{started.json()['sweep']}")
            await browser.post("/sweeps", json=[f"other-{n}" for n in range(50)])
    assert (started.status_code, status.json()["done"]) == (202, {"accepted": 1, "not_found": 1})
    assert names["sweeps"][1][0].progress.done["held"] > 0


def test_links_lead_somewhere() -> None:
    """Every link of the README and the docs to a file of ours is one that is there."""
    for page in PAGES:
        text = page.read_text().replace(f"]({BLOB}", f"]({ROOT}/")
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_readmes_links_work_on_a_package_index() -> None:
    """It is shown there without the files beside it."""
    assert re.findall(r"\]\((?!https://)[^)]+\)", (ROOT / "README.md").read_text()) == []

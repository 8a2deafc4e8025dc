"""The documentation site: it builds in both languages, names every public name, and is translated whole."""

from __future__ import annotations

import enum
import inspect
import pkgutil
import re
import runpy
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po

import tusfacturas_async
from tests.browser import chromium, needs_chromium

DOCS = Path(__file__).parent.parent / "docs"
CONF = runpy.run_path(str(DOCS / "conf.py"))
CATALOGUES = runpy.run_path(str(DOCS / "catalogues.py"))

BESIDE = {
    "tusfacturas_async.__version__",
    "tusfacturas_async.testing.plugin.tusfacturas_sandbox",
    "tusfacturas_async.testing.plugin.tusfacturas_webhooks",
    "tusfacturas_async.testing.webhooks.Webhooks",
    "tusfacturas_async.triage.Finding",
    "tusfacturas_async.triage.Rule",
}
"""What is described besides ``__all__``: fixtures, and what a public name leads to."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both languages, as they are published. No warning is let pass."""
    html = tmp_path_factory.mktemp("site")
    for language, folder in (("en", html), ("es", html / "es")):
        command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-D", f"language={language}"]
        command += ["-d", str(html / ".doctrees" / language), str(DOCS), str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    return html


def html_pages(site: Path) -> list[Path]:
    return [page for page in site.rglob("*.html") if page.parent.name != "_static"]


class Described(NamedTuple):
    name: str
    kind: str
    again: bool
    page: str
    anchor: str


def described(site: Path) -> Iterator[Described]:
    """What ``objects.inv`` says of Python's names: what other sites link to."""
    _head, _project, _version, _zlib, packed = (site / "objects.inv").read_bytes().split(b"\n", 4)
    for line in zlib.decompress(packed).decode().splitlines():
        name, kind, priority, place, _shown = line.split(maxsplit=4)
        page, _, anchor = place.partition("#")
        if kind.startswith("py:"):
            yield Described(name, kind[3:], priority == "-1", page, anchor.replace("$", name))


def public_modules() -> Iterator[Any]:
    """Those without an underscore on their way that say what is public."""
    yield tusfacturas_async
    for found in pkgutil.walk_packages(tusfacturas_async.__path__, "tusfacturas_async."):
        if "._" not in found.name and "__main__" not in found.name and ".cli" not in found.name:
            module = import_module(found.name)
            if hasattr(module, "__all__"):
                yield module


def public() -> dict[str, Any]:
    return {f"{m.__name__}.{name}": getattr(m, name) for m in public_modules() for name in m.__all__}


def test_the_reference_names_every_public_name_and_no_other(site: Path) -> None:
    """By each address that ``__all__`` of a public module gives it."""
    found = list(described(site))
    assert {"tusfacturas_async", "tusfacturas_async.fleet", "tusfacturas_async.webhooks"} <= {
        module.__name__ for module in public_modules()
    }
    assert public().keys() - {entry.name for entry in found} == set()
    whole = {
        entry.name
        for entry in found
        if entry.kind in {"class", "exception", "function", "data"} and not entry.again
    }
    assert whole - public().keys() == BESIDE


def test_every_public_name_can_be_linked_to_and_shows_its_signature(site: Path) -> None:
    """The anchor is there, and what is called shows what it takes."""
    pages: dict[str, str] = {}
    values = public()
    for entry in described(site):
        if entry.name not in values:
            continue
        html = pages.setdefault(entry.page, (site / entry.page).read_text())
        place = html.find(f'id="{entry.anchor}"')
        assert place > 0, entry
        if takes_arguments(values[entry.name]):
            assert "sig-param" in html[place : html.index("</dt>", place)], entry


def takes_arguments(value: Any) -> bool:
    called = inspect.isfunction(value) or (isinstance(value, type) and not issubclass(value, enum.Enum))
    return called and bool(inspect.signature(value).parameters)


def test_the_language_switch_leads_to_the_same_page(site: Path) -> None:
    """From every page to a page that is there, and back."""
    pages = html_pages(site)
    english = [page for page in pages if "es" not in page.relative_to(site).parts]
    assert len(pages) == 2 * len(english) > 60
    for page in pages:
        (target,) = re.findall(r'<a href="([^"]+)" hreflang="(?:en|es)"', page.read_text())
        other = (page.parent / target).resolve()
        assert other.exists(), f"{page} leads to {target}"
        assert str(other.relative_to(site)).removeprefix("es/") == str(page.relative_to(site)).removeprefix(
            "es/"
        )


def test_what_stands_around_a_page_is_spanish(site: Path) -> None:
    """The theme's own words, too; in English they stay as they are."""
    shown = re.compile(r">\s*(Back to top|Home|Next|On this page|Previous|Skip to content)\s*<")
    for page in ("index", "how-to/journal", "reference/outcomes"):
        assert shown.findall((site / f"{page}.html").read_text()) != []
        assert shown.findall((site / "es" / f"{page}.html").read_text()) == []


def test_pages_that_stay_english_say_so(site: Path) -> None:
    """In the Spanish site, and nowhere else."""
    for page in DOCS.rglob("*.md"):
        name = page.relative_to(DOCS).with_suffix("")
        stays = any(fnmatchcase(str(name), kind) for kind in CONF["english_only"])
        assert ("solo en inglés" in (site / "es" / name.with_suffix(".html")).read_text()) == stays, name
        assert "solo en inglés" not in (site / name.with_suffix(".html")).read_text()


@needs_chromium
async def test_no_page_is_wider_than_its_screen(site: Path) -> None:
    """On a telephone, a tablet and a desk, in both languages: what is wide scrolls in a box of its own."""
    wide = []
    async with chromium() as browser:
        tab = await browser.new_page()
        for page in html_pages(site):
            await tab.goto(page.as_uri(), wait_until="domcontentloaded")
            for width in (390, 900, 1400):
                await tab.set_viewport_size({"width": width, "height": 900})
                if (found := await tab.evaluate("document.documentElement.scrollWidth")) > width:
                    wide.append((str(page.relative_to(site)), width, found))
    assert wide == []


@needs_chromium
async def test_diagrams_are_text_in_the_colours_of_the_page(site: Path) -> None:
    """They can be read, selected and found, in light and in dark, and are told to who does not see them."""
    async with chromium() as browser:
        for scheme in ("light", "dark"):
            tab = await browser.new_page(color_scheme=scheme)
            await tab.goto((site / "reference" / "outcomes.html").as_uri())
            drawn = tab.get_by_role("img", name=re.compile("An attempt is answered"))
            box, words = drawn.locator("rect").first, drawn.locator("text").first
            assert "One attempt" in (await words.text_content() or "")
            fill = "element => getComputedStyle(element).fill"
            assert await words.evaluate(fill) == await tab.evaluate("getComputedStyle(document.body).color")
            assert await words.evaluate(fill) != await box.evaluate(fill)


@needs_chromium
async def test_the_chart_is_dark_where_the_page_is(site: Path) -> None:
    """As the system has it, or as the reader chose on the page; on paper it stays as it is drawn."""
    async with chromium() as browser:
        for scheme in ("light", "dark"):
            tab = await browser.new_page(color_scheme=scheme)
            await tab.goto((site / "explanation" / "performance.html").as_uri())
            chart = tab.get_by_alt_text("CPU per request over requests in flight")
            for theme in ("auto", "light", "dark"):
                await tab.evaluate("theme => document.body.dataset.theme = theme", theme)
                turned = await chart.evaluate("element => getComputedStyle(element).filter") != "none"
                assert turned == ("dark" in {theme, scheme if theme == "auto" else ""})
            await tab.emulate_media(media="print")
            assert await chart.evaluate("element => getComputedStyle(element).filter") == "none"


def messages(file: Path) -> list[Message]:
    with file.open("rb") as opened:
        catalogue: Catalog = read_po(opened)
    return [message for message in catalogue if message.id]


def catalogues() -> dict[str, list[Message]]:
    folder: Path = CATALOGUES["CATALOGUES"]
    return {
        str(file.relative_to(folder).with_suffix("")): messages(file) for file in sorted(folder.rglob("*.po"))
    }


def test_the_catalogues_are_what_the_pages_say_today(tmp_path: Path) -> None:
    """``nox -f .ci/noxfile.py -s translate`` would change nothing."""
    wanted = {page: messages(file) for page, file in CATALOGUES["extract"](tmp_path).items()}
    kept = {page: found for page, found in catalogues().items() if page != CATALOGUES["THEME"]}
    assert {page: [m.id for m in found] for page, found in kept.items()} == {
        page: [m.id for m in found] for page, found in wanted.items()
    }


def code_and_links(text: Any) -> tuple[Counter[str], Counter[str]]:
    """Literals, and where links and roles lead."""
    literals = Counter(re.findall(r"(`+)(.+?)\1(?!`)", text))
    return (
        Counter({code: n for (_ticks, code), n in literals.items()}),
        Counter(re.findall(r"\]\(([^)]*)\)|<(https?:[^>]+)>", re.sub(r"`[^`]*`", "", text))),
    )


@pytest.mark.parametrize("page", catalogues())
def test_a_translation_keeps_code_and_links(page: str) -> None:
    """Names, commands and targets are the original's, to the letter and as often."""
    for message in catalogues()[page]:
        if message.string:
            assert code_and_links(str(message.string)) == code_and_links(str(message.id)), message.id


def has_words(text: Any) -> bool:
    """Figures and code alone are the same in every language."""
    return re.search(r"[^\W\d]", re.sub(r"(`+).+?\1", "", text)) is not None


@pytest.mark.parametrize("page", catalogues())
def test_a_translation_is_whole(page: str) -> None:
    """Nothing is left without one, and nothing to be looked at again (``fuzzy``)."""
    found = catalogues()[page]
    assert [m.id for m in found if m.fuzzy or (has_words(m.id) and not m.string)] == []

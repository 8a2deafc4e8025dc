"""The HTML report: complete in itself, and nothing from outside means anything in it."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tusfacturas_async import (
    Attempt,
    BatchReport,
    Evidence,
    NotSentError,
    Outcome,
    OutcomeUnknownError,
    RejectedError,
    ReprocessResult,
)
from tusfacturas_async.cli.report import page as page_of
from tusfacturas_async.cli.texts import choose

START = datetime(2026, 3, 18, 3, 0, tzinfo=UTC)
HOSTILE = (
    '<script>document.title="pwned"</script>',
    "<img src=x onerror=\"document.title='pwned'\">",
    "</td></table></style><svg onload=alert(1)>",
    "$title ${legend} {bar}",
    "W" * 255,
    "\u202eevil\u202c\u0000",
)


def attempt(number: int) -> Attempt:
    return Attempt(1, START + timedelta(seconds=number / 9), 0.05 + number % 7 / 10, Evidence.ANSWERED, 200)


def sample() -> BatchReport:
    results = [
        ReprocessResult(f"pedido-{n}", Outcome.ACCEPTED, settled_by="response", attempts=(attempt(n),))
        for n in range(200)
    ]
    results += [
        ReprocessResult(
            text, Outcome.REJECTED, attempts=(attempt(n),), error=RejectedError(text, errores=(text,))
        )
        for n, text in enumerate(HOSTILE)
    ]
    data = (
        "Cod. Error: #6661145.10036 - El campo FchVtoPago no puede ser anterior a la fecha del comprobante."
    )
    results.append(
        ReprocessResult("pedido-900", Outcome.REJECTED, error=RejectedError(data, errores=(data,)))
    )
    results.append(ReprocessResult("pedido-901", Outcome.UNKNOWN, error=OutcomeUnknownError("lost")))
    results.append(ReprocessResult("pedido-902", Outcome.HELD, error=NotSentError("held")))
    return BatchReport(tuple(results))


def test_the_page_is_complete_in_itself() -> None:
    """No script, no address, every hostile text escaped, each voucher that needs a person with its advice."""
    page = page_of(sample())
    assert re.findall(r"<(script|img|link|iframe|object)|\bon\w+=\"|https?://", page) == []
    assert "&lt;script&gt;" in page
    assert "delete it, and send it again corrected" in page
    assert page.count("<tr>") == 1 + len(HOSTILE) + 3
    assert "200 accepted" in page
    assert "billed calls: 206" in page


@pytest.mark.parametrize(
    ("language", "told"), [("es", "Nada necesita una persona."), ("en", "Nothing needs a person.")]
)
def test_an_empty_report_in_both_languages(language: str, told: str) -> None:
    """Nothing was sent, nothing is drawn."""
    choose(language)
    page = page_of(BatchReport(()))
    assert told in page
    assert "<svg" not in page
    assert f'<html lang="{language}">' in page


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HEADLESS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
def test_in_a_browser_nothing_executes_and_nothing_overflows(tmp_path: Path) -> None:
    """A probe is added to the page's end, with a policy that lets it run: it reports title and widths."""
    assert CHROMIUM is not None
    path = tmp_path / "report.html"
    page = page_of(sample())
    path.write_text(page)
    probe = """<script>
        const wide = [...document.querySelectorAll("td,th,li,p,svg,h1")].filter(
            each => each.scrollWidth > each.clientWidth + 1 && each.clientWidth > 0);
        const page = document.documentElement;
        document.body.insertAdjacentHTML("beforeend", `<pre id=probe>${document.title}|`
            + `${page.scrollWidth - page.clientWidth}|${wide.length}|${document.scripts.length}</pre>`);
    </script>"""
    open_page = re.sub(r"<meta http-equiv=.*?>\n", "", page).replace("</body>", probe + "</body>")
    (tmp_path / "probed.html").write_text(open_page)
    for width in (420, 1200):
        command = [
            CHROMIUM,
            *HEADLESS,
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--window-size={width},900",
        ]
        dumped = subprocess.run(
            [*command, "--dump-dom", (tmp_path / "probed.html").as_uri()],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout
        found = re.search(r'<pre id="probe">(.*?)\|(-?\d+)\|(\d+)\|(\d+)</pre>', dumped)
        assert found is not None, dumped[-500:]
        title, overflow, wide, scripts = found.groups()
        assert (title, overflow, wide, scripts) == ("Re-sending errored vouchers", "0", "0", "1")
    picture = tmp_path / "report.png"
    subprocess.run(
        [*command, f"--screenshot={picture}", path.as_uri()], capture_output=True, check=True, timeout=120
    )
    assert picture.stat().st_size > 10_000

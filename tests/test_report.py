"""The HTML report: complete in itself, and nothing from outside means anything in it."""

from __future__ import annotations

import html
import re
import shlex
import subprocess
from datetime import UTC, datetime, timedelta
from inspect import signature
from pathlib import Path
from typing import Any

import pytest

from tests.browser import CHROMIUM, chromium, needs_chromium
from tusfacturas_async import (
    Attempt,
    BatchReport,
    Evidence,
    NotSentError,
    Outcome,
    OutcomeUnknownError,
    RateLimitError,
    RejectedError,
    ReprocessResult,
    VoucherNotFoundError,
)
from tusfacturas_async.cli.commands import reprocess
from tusfacturas_async.cli.figures import About, latency, stopped_lanes, timeline
from tusfacturas_async.cli.options import Options
from tusfacturas_async.cli.people import remedy
from tusfacturas_async.cli.report import _again
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


def told(report: BatchReport) -> str:
    """The page with everything that it can say."""
    about = About(
        began=START,
        ended=START + timedelta(minutes=2, seconds=7),
        source=HOSTILE[0],
        host="www.tusfacturas.app",
        point="0123456789abcdef",
        command=f"tusfacturas reprocess {HOSTILE[1]}",
        again="tusfacturas reprocess sweep.jsonl --failed",
    )
    held_up = [(START + timedelta(seconds=n), "backoff") for n in range(9)]
    held_up.append((START + timedelta(seconds=12), "maintenance"))
    return page_of(report, about, held_up=held_up, lane_of=lambda _: HOSTILE[2])


def test_the_page_is_complete_in_itself() -> None:
    """No script, no address, every hostile text escaped, each voucher that needs a person with its advice."""
    page = told(sample())
    assert re.findall(r"<(script|img|link|iframe|object)|\bon\w+=\"|https?://|url\(", page) == []
    assert "&lt;script&gt;" in page
    assert "delete it, and send it again corrected" in page
    assert page.count("<tr><td>") == len(HOSTILE) + 3
    assert "200 accepted" in page
    assert "billed calls: 206" in page
    assert "saved by the check" not in page


def test_whose_run_it_was() -> None:
    """Date, duration, source, host, point of sale and command; and what goes on from here."""
    whole = re.sub(r"</?span>", "", told(sample()))  # of the words of commands
    page = html.unescape(re.sub(r"<[^>]+>", "\n", whole))
    for line in (
        *("2026-03-18 00:00:00 … 00:02:07 (UTC-3)", "127.0 s", "www.tusfacturas.app", "0123456789abcdef"),
        *(HOSTILE[0], f"tusfacturas reprocess {HOSTILE[1]}", "tusfacturas reprocess sweep.jsonl --failed"),
        "stopped behind pedido-901 (unknown); 1 waits",
    ):
        assert line in page


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


def test_the_time_line_counts_each_call_once() -> None:
    """By what became of it; refusals by the rate limit, waits and maintenance are marked beside it."""
    limited = Attempt(1, START, 0.01, Evidence.NOT_SENT, 429)
    results = [
        ReprocessResult("a", Outcome.ACCEPTED, attempts=(limited, attempt(9))),
        ReprocessResult("b", Outcome.NOT_SENT, attempts=(limited,), error=RateLimitError("429")),
        ReprocessResult("c", Outcome.HELD),
    ]
    waits = [(START + timedelta(seconds=2), "backoff"), (START, "rate_limit")]
    drawn = timeline(results, waits)
    assert drawn is not None
    assert {kind: sum(counts) for kind, counts in drawn.sent.items()} == {"accepted": 2, "not_sent": 1}
    assert {kind: sum(counts) for kind, counts in drawn.held_up.items()} == {"rate_limit": 2, "backoff": 1}
    assert (drawn.labels[0], drawn.sent[Outcome.ACCEPTED][0]) == ("00:00:00.00", 1)
    assert timeline(results[2:], waits) is None


def test_latency_is_told_by_median_and_99th_percentile() -> None:
    """One slow call does not hide the shape of the others."""
    times = [n / 100 for n in range(1, 100)] + [30.0]
    results = [
        ReprocessResult(str(n), Outcome.ACCEPTED, attempts=(Attempt(1, START, each, Evidence.ANSWERED, 200),))
        for n, each in enumerate(times)
    ]
    told = latency(results)
    assert told is not None
    assert (told.median, told.p99, sum(told.counts)) == (0.5, 0.99, 100)
    assert told.counts[-1] == 1
    assert max(told.counts) < 10


def test_lanes_that_stopped() -> None:
    """Where, behind which reference, and how many wait; a lane that went through is not among them."""
    results = [
        ReprocessResult("1-a", Outcome.ACCEPTED),
        ReprocessResult("2-a", Outcome.UNKNOWN, error=OutcomeUnknownError("lost")),
        ReprocessResult("2-b", Outcome.HELD),
        ReprocessResult("2-c", Outcome.HELD),
        ReprocessResult("1-b", Outcome.ACCEPTED),
    ]
    found = stopped_lanes(results, lambda reference: (int(reference[0]), "FACTURA A"))
    assert found == [("2 · FACTURA A", "2-a", Outcome.UNKNOWN, 2)]
    assert stopped_lanes(results, None) == []


@pytest.mark.parametrize("reference", ["pedido-1", "-1", "a b; rm -rf $HOME", "it's", *HOSTILE[:4]])
def test_the_next_command_quotes_the_reference(reference: str) -> None:
    """A shell takes it as one word that is no option."""
    rejected = RejectedError("no", errores=("CbteFch: N-10 y N+10",))
    results = {
        "change-date": ReprocessResult(reference, Outcome.REJECTED, error=rejected),
        "lookup": ReprocessResult(reference, Outcome.NOT_FOUND, error=VoucherNotFoundError("no")),
    }
    for command, result in results.items():
        words = shlex.split(remedy(result)[1])
        assert words[:2] == ["tusfacturas", command]
        assert words[-3 if command == "change-date" else -1] == reference
        assert ("--" in words) == reference.startswith("-")


HEADLESS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
WIDTHS = (390, 900, 1400)
DARK = ("--force-dark-mode", "--blink-settings=preferredColorScheme=0")

FRAME = '<iframe width="{width}" height="900" srcdoc="{page}"></iframe>'
PROBE = """<!doctype html><body>FRAMES<script>
addEventListener("load", () => document.querySelectorAll("iframe").forEach(frame => {
    const inner = frame.contentDocument;
    const root = inner.documentElement;
    const style = each => inner.defaultView.getComputedStyle(each);
    const wide = [...inner.querySelectorAll("td,th,li,p,dd,svg,h1,h3,figure")].filter(
        each => each.scrollWidth > each.clientWidth + 1 && each.clientWidth > 0);
    const label = inner.querySelector("svg .axis.x text");
    inner.getSelection().selectAllChildren(label);
    document.body.insertAdjacentHTML("beforeend", `<pre class=probe>${inner.title}|`
        + `${root.clientWidth}|${root.scrollWidth - root.clientWidth}|${wide.length}|`
        + `${inner.querySelectorAll("svg").length}|${inner.getSelection().toString()}|`
        + `${style(inner.body).backgroundColor}|${style(label).fill}|${inner.scripts.length}</pre>`);
}));
</script>"""


@needs_chromium
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_in_a_browser(dark: bool, tmp_path: Path) -> None:
    """Nothing executes, nothing overflows, text in charts can be selected, and is read in either light.

    The page is shown in a frame of each width, without its policy: its escaping alone must hold.
    """
    assert CHROMIUM is not None
    page = re.sub(r"<meta http-equiv=.*?>\n", "", told(sample()))
    frames = (FRAME.format(width=width, page=html.escape(page, quote=True)) for width in WIDTHS)
    (tmp_path / "probe.html").write_text(PROBE.replace("FRAMES", "".join(frames)))
    command = [CHROMIUM, *HEADLESS, *(DARK if dark else ()), f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--window-size=1500,1000", "--dump-dom", (tmp_path / "probe.html").as_uri()]
    dumped = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    found = re.findall(r'<pre class="probe">(.*?)</pre>', dumped)
    assert len(found) == len(WIDTHS), dumped[-500:]
    for width, told_of_it in zip(WIDTHS, found, strict=True):
        title, seen, overflow, wide, charts, selected, paper, ink, scripts = told_of_it.split("|")
        assert (title, seen, overflow, wide) == ("Re-sending errored vouchers", str(width), "0", "0")
        assert (charts, scripts) == ("3", "0")
        assert re.fullmatch(r"\d\d:\d\d:\d\d(\.\d)?", selected)
        assert (paper, ink) == (
            ("rgb(13, 17, 23)", "rgb(230, 237, 243)") if dark else ("rgb(255, 255, 255)", "rgb(27, 31, 36)")
        )


@needs_chromium
def test_on_paper_and_as_it_is_sent(tmp_path: Path) -> None:
    """Printed with its own policy in force, its text is text."""
    assert CHROMIUM is not None
    (tmp_path / "report.html").write_text(told(sample()))
    printed = tmp_path / "report.pdf"
    command = [CHROMIUM, *HEADLESS, f"--user-data-dir={tmp_path / 'profile'}", f"--print-to-pdf={printed}"]
    subprocess.run(
        [*command, (tmp_path / "report.html").as_uri()], capture_output=True, check=True, timeout=120
    )
    assert printed.read_bytes().count(b"/Type /Font") > 0


@needs_chromium
async def test_on_paper_of_a_dark_screen(tmp_path: Path) -> None:
    """The colours are those of paper, a legend has its dots, and no line breaks within a command's word."""
    (tmp_path / "report.html").write_text(told(sample()))
    async with chromium() as browser:
        tab = await browser.new_page(color_scheme="dark", viewport={"width": 390, "height": 900})
        await tab.goto((tmp_path / "report.html").as_uri())
        words = await tab.get_by_text("--failed", exact=True).all()
        assert words
        for word in words:
            assert await word.evaluate("element => element.getClientRects().length") == 1
            assert await word.evaluate("element => element.offsetHeight") < 30
        await tab.emulate_media(media="print")
        accepted = "getComputedStyle(document.documentElement).getPropertyValue('--accepted')"
        assert await tab.evaluate(accepted) == "#1a7f37"
        dot = "getComputedStyle(document.querySelector('.part .dot')).printColorAdjust"
        assert await tab.evaluate(dot) == "exact"


def test_calls_are_counted_in_whole_ones() -> None:
    """Also where there are few."""
    results = sample().results[:9]
    axis = re.findall(r'<g class="axis y[^>]*>(.*?)</g></g>', page_of(BatchReport(results)), re.DOTALL)
    labels = re.findall(r"<text[^>]*>([^<]*)</text>", "".join(axis))
    assert "1" in labels
    assert all(label.isdigit() for label in labels)


@pytest.mark.parametrize(
    ("options", "ordered", "line"),
    [
        ({"output": (Path("r.csv"),)}, False, "tusfacturas reprocess r.csv --failed"),
        ({"output": (Path("r.csv"),)}, True, "tusfacturas reprocess refs.csv --check-first"),
        ({"check_first": True}, True, "tusfacturas reprocess refs.csv"),
        ({"journal": Path("j"), "output": (Path("r.csv"),)}, True, "tusfacturas reprocess refs.csv"),
    ],
)
def test_going_on_keeps_the_order(
    options: dict[str, Any], ordered: bool, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An earlier output tells no lanes, so the command is the same one again where there are some."""
    monkeypatch.setattr("sys.argv", ["tusfacturas", "reprocess", "refs.csv"])
    usual = {name: option.default for name, option in signature(reprocess).parameters.items()}
    assert _again(Options(**usual | options), ordered=ordered) == line


@pytest.mark.parametrize("seconds", [0.02, 0.7, 2.5, 20, 90, 7000])
def test_no_two_bars_of_one_name(seconds: float) -> None:
    """A chart finds the names that it shows by their text: repeated ones lay over each other."""
    ends = (Attempt(1, START + timedelta(seconds=n), seconds, Evidence.ANSWERED, 200) for n in (0, seconds))
    results = [ReprocessResult("a", Outcome.ACCEPTED, attempts=(end,)) for end in ends]
    drawn, told = timeline(results, []), latency(results)
    assert drawn is not None
    assert told is not None
    for labels in (drawn.labels, told.labels):
        assert len(set(labels)) == len(labels)

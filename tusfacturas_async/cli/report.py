"""``--report FILE.html``: one page, complete in itself: no network, no script, text from outside escaped."""

from __future__ import annotations

import shlex
import sys
from datetime import UTC, datetime
from string import Template
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from .._wire.convert import ARGENTINA
from ..results import Outcome
from .charts import CHART_STYLE, bars
from .figures import About, latency, stopped_lanes, timeline
from .people import as_command, people
from .table import summary
from .texts import language, say
from .visible import as_html

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

    from ..results import BatchReport, ReprocessResult
    from .connection import Service
    from .figures import Recorder
    from .given import Given
    from .options import Options

COLOURS: Final[Mapping[str, str]] = {outcome: f"var(--{outcome.replace('_', '-')})" for outcome in Outcome}
_MARKS: Final = {
    "rate_limit": "var(--rejected)",
    "backoff": "var(--not-found)",
    "retry_after": "var(--held)",
    "maintenance": "var(--unknown)",
}

_PAGE: Final = Template("""<!doctype html>
<html lang="$lang"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<style>
:root { --paper: #fff; --ink: #1b1f24; --faint: #59636e; --line: #d1d9e0;
  --accepted: #1a7f37; --skipped: #6fbf73; --not-found: #bf8700; --rejected: #cf222e; --not-sent: #d15704;
  --held: #8c959f; --unknown: #8250df; }
@media screen and (prefers-color-scheme: dark) { :root { --paper: #0d1117; --ink: #e6edf3; --faint: #9198a1;
  --line: #3d444d; --accepted: #3fb950; --skipped: #7ee787; --not-found: #d29922; --rejected: #f85149;
  --not-sent: #f0883e; --held: #9198a1; --unknown: #ab7df8; } }
@media print { :root { --paper: #fff; --ink: #000; --faint: #333; --line: #bbb; } body { margin: 0; }
  tr { break-inside: avoid; } thead { display: table-header-group; }
  .bar, .dot { print-color-adjust: exact; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem;
  background: var(--paper); color: var(--ink); }
h1 { line-height: 1.2; } h2 { margin-top: 2.5rem; } h3 { margin-bottom: .2rem; }
table { border-collapse: collapse; width: 100%; table-layout: fixed; }
th, td { text-align: left; vertical-align: top; padding: .4rem .6rem .4rem 0;
  border-bottom: 1px solid var(--line); }
th, td, dd, p, li, code, figcaption { overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .1rem 1rem; }
dt { color: var(--faint); } dd { margin: 0; }
code { font: .9em ui-monospace, Consolas, monospace; }
code span { display: inline-block; max-width: 100%; }
ul { list-style: none; padding: 0; }
.bar { display: flex; height: 1.4rem; border-radius: .3rem; overflow: hidden; }
.charts { display: flex; flex-wrap: wrap; gap: 0 2rem; }
@media (max-width: 40rem) { table.wide thead { display: none; }
  table.wide tr, table.wide td { display: block; border: 0; padding: .1rem 0; }
  table.wide tr { border-bottom: 1px solid var(--line); padding: .5rem 0; } }
$chart_style
</style></head><body>
<h1>$title</h1>
<p>$summary</p>
$about
<div class="bar">$bar</div>
<ul>$legend</ul>
$lanes
<div class="charts">$charts</div>
<h2>$needs</h2>
$people
</body></html>
""")


def page(
    report: BatchReport,
    about: About | None = None,
    *,
    held_up: Iterable[tuple[datetime, str]] = (),
    lane_of: Callable[[str], Hashable] | None = None,
) -> str:
    """The page of these results.

    Args:
        report: What became of each.
        about: Whose run it was; ``None`` leaves that out.
        held_up: When it waited, and for what.
        lane_of: From a reference to its lane; ``None`` where no order was asked for.
    """
    total = max(len(report.results), 1)
    counts = sorted(report.counts.items(), key=lambda item: -item[1])
    return _PAGE.substitute(
        lang=language(),
        title=as_html(say("report title")),
        chart_style=CHART_STYLE,
        summary=as_html("; ".join(summary(report, counts, report.billed_calls))),
        about="" if about is None else _about(about),
        bar="".join(
            f'<div style="width:{100 * count / total:.2f}%;background:{COLOURS[outcome]}"></div>'
            for outcome, count in counts
        ),
        legend="".join(
            f'<li><span class="dot" style="background:{COLOURS[outcome]}"></span>'
            f"<b>{count}</b> {as_html(say(outcome, count=count))}: {as_html(say(f'{outcome} means'))}</li>"
            for outcome, count in counts
        ),
        lanes=_lanes(report.results, lane_of),
        charts=_charts(report.results, held_up),
        needs=as_html(say("needs a person")),
        people=people(report.results, "" if about is None else about.again),
    )


def reporting(
    service: Service, given: Given, options: Options, recorder: Recorder
) -> Callable[[BatchReport], str]:
    """What makes the page of a run that begins now, once it has ended."""
    began = datetime.now(UTC)
    lanes = {item.external_reference: given.lane(item) for item in given.items} if given.lane else None
    dates = say("dates", since=options.errored_since, until=options.until or options.errored_since)

    def made(report: BatchReport) -> str:
        about = About(
            began=began,
            ended=datetime.now(UTC),
            source=dates if options.file is None else options.file,
            host=urlsplit(service.base_url).hostname or "",
            point=service.credentials.fingerprint,
            command=shlex.join(["tusfacturas", *sys.argv[1:]]),
            again=_again(options, ordered=given.lane is not None),
        )
        return page(report, about, held_up=recorder.held_up, lane_of=None if lanes is None else lanes.get)

    return made


def _again(options: Options, *, ordered: bool) -> str:
    """The command that sends what was not sent: the same one again, for an order or a journal."""
    if options.outputs and options.journal is None and not ordered:
        return shlex.join(["tusfacturas", "reprocess", str(options.outputs[0]), "--failed"])
    checks = [] if options.check_first or options.journal is not None else ["--check-first"]
    return shlex.join(["tusfacturas", *sys.argv[1:], *checks])


def _about(about: About) -> str:
    began, ended = (each.astimezone(ARGENTINA) for each in (about.began, about.ended))
    told = {
        "report date": f"{began:%Y-%m-%d %H:%M:%S} … {ended:%H:%M:%S} (UTC-3)",
        "report duration": f"{(ended - began).total_seconds():.1f} s",
        "report source": about.source,
        "report host": about.host,
        "report point": about.point,
    }
    lines = [f"<dt>{as_html(say(key))}</dt><dd>{as_html(value)}</dd>" for key, value in told.items() if value]
    if about.command:
        lines.append(f"<dt>{as_html(say('report command'))}</dt><dd>{as_command(about.command)}</dd>")
    return f"<dl>{''.join(lines)}</dl>"


def _lanes(results: Sequence[ReprocessResult], lane_of: Callable[[str], Hashable] | None) -> str:
    stopped = stopped_lanes(results, lane_of)
    if not stopped:
        return ""
    items = "".join(
        f"<li><b>{as_html(each.lane)}</b>: "
        + as_html(say("lane stopped", reference=each.behind, outcome=say(each.outcome), count=each.waiting))
        + "</li>"
        for each in stopped
    )
    return f"<h2>{as_html(say('lanes that stopped'))}</h2><ul>{items}</ul>"


def _charts(results: Sequence[ReprocessResult], held_up: Iterable[tuple[datetime, str]]) -> str:
    sent, slow = timeline(results, held_up), latency(results)
    if sent is None or slow is None:
        return ""
    outcomes = {
        say(outcome, count=2): (COLOURS[outcome], values) for outcome, values in sorted(sent.sent.items())
    }
    drawn = [bars(say("timeline"), say("timeline note"), sent.labels, outcomes, "")]
    if sent.held_up:
        marks = {say(f"mark {kind}"): (_MARKS[kind], values) for kind, values in sorted(sent.held_up.items())}
        drawn.append(bars(say("held up"), say("timeline note"), sent.labels, marks, ""))
    note = say("latency note", median=f"{slow.median:.3g}", p99=f"{slow.p99:.3g}")
    calls = {say("calls"): ("var(--skipped)", slow.counts)}
    drawn.append(bars(say("latency"), note, slow.labels, calls, say("latency axis")))
    return "".join(drawn)

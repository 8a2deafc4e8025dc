"""``--report FILE.html``: one page, complete in itself: no network, no script, text from outside escaped."""

from __future__ import annotations

from collections import Counter
from html import escape
from itertools import chain
from string import Template
from typing import TYPE_CHECKING, Final

from ..errors import ServiceError
from ..results import Outcome
from ..triage import triage
from .table import why
from .texts import say
from .visible import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..results import BatchReport, ReprocessResult

_FINE: Final = frozenset({Outcome.ACCEPTED, Outcome.SKIPPED})
_COLOURS: Final = {
    Outcome.ACCEPTED: "#2e7d32",
    Outcome.SKIPPED: "#7cb342",
    Outcome.NOT_FOUND: "#f9a825",
    Outcome.REJECTED: "#c62828",
    Outcome.NOT_SENT: "#ef6c00",
    Outcome.HELD: "#90a4ae",
    Outcome.UNKNOWN: "#6a1b9a",
}
_BINS, _WIDTH, _HEIGHT = 20, 480, 120

_PAGE: Final = Template("""<!doctype html>
<html lang="$lang"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; table-layout: fixed; }
th, td { text-align: left; vertical-align: top; padding: .4rem .6rem; border-bottom: 1px solid #ddd;
         overflow-wrap: anywhere; }
.bar { display: flex; height: 1.6rem; border-radius: .3rem; overflow: hidden; }
.charts { display: flex; flex-wrap: wrap; gap: 2rem; }
svg { max-width: 100%; height: auto; }
figure { margin: 1rem 0; }
.dot { display: inline-block; width: .8em; height: .8em; border-radius: 50%; margin-right: .4em; }
</style></head><body>
<h1>$title</h1>
<p>$summary</p>
<div class="bar">$bar</div>
<ul>$legend</ul>
<div class="charts">$charts</div>
<h2>$needs</h2>
$people
</body></html>
""")


def page(report: BatchReport) -> str:
    """The page of these results."""
    total = max(len(report.results), 1)
    counts = sorted(report.counts.items(), key=lambda item: -item[1])
    bar = "".join(
        f'<div style="width:{100 * count / total:.2f}%;background:{_COLOURS[outcome]}"></div>'
        for outcome, count in counts
    )
    legend = "".join(
        f'<li><span class="dot" style="background:{_COLOURS[outcome]}"></span>'
        f"<b>{count}</b> {escape(say(outcome))}: {escape(say(f'{outcome} means'))}</li>"
        for outcome, count in counts
    )
    summary = (
        say("summary", count=len(report.results), counts=", ".join(f"{n} {say(o)}" for o, n in counts)),
        say("billed calls", count=report.billed_calls),
        say("saved calls", count=report.saved_calls),
    )
    return _PAGE.substitute(
        lang=escape((say("yes")[:1] == "s" and "es") or "en"),
        title=escape(say("report title")),
        summary=escape("; ".join(summary)),
        bar=bar,
        legend=legend,
        charts=_charts(report.results),
        needs=escape(say("needs a person")),
        people=_people([result for result in report.results if result.outcome not in _FINE]),
    )


def _people(results: Sequence[ReprocessResult]) -> str:
    if not results:
        return f"<p>{escape(say('nobody'))}</p>"
    heads = "".join(f"<th>{escape(say(name))}</th>" for name in ("reference", "outcome", "why", "advice"))
    rows = "".join(
        f"<tr><td>{_safe(result.external_reference)}</td><td>{escape(say(result.outcome))}</td>"
        f"<td>{_safe(why(result))}</td><td>{escape(_advice(result))}</td></tr>"
        for result in results
    )
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"


def _safe(text: str) -> str:
    """What comes from outside, without a meaning of its own in HTML or in the direction of reading."""
    return escape(visible(text))


def _advice(result: ReprocessResult) -> str:
    if result.outcome is Outcome.REJECTED and isinstance(result.error, ServiceError):
        return say(triage(result.error.errores).remedy)
    return say(f"{result.outcome} means")


def _charts(results: Sequence[ReprocessResult]) -> str:
    attempts = list(chain.from_iterable(result.attempts for result in results))
    if not attempts:
        return ""
    seconds = [attempt.elapsed for attempt in attempts]
    starts = [attempt.started_at.timestamp() for attempt in attempts]
    first, span = min(starts), max(max(starts) - min(starts), 1.0)
    longest = max(*seconds, 0.001)
    latency = Counter(min(int(_BINS * value / longest), _BINS - 1) for value in seconds)
    rate = Counter(min(int(_BINS * (start - first) / span), _BINS - 1) for start in starts)
    per_second = [_BINS * rate[n] / span for n in range(_BINS)]
    return _chart(say("latency"), [float(latency[n]) for n in range(_BINS)], f"0 … {longest:.2f} s") + _chart(
        say("rate"), per_second, f"0 … {span:.0f} s"
    )


def _chart(title: str, values: Sequence[float], scale: str) -> str:
    top = max(values) or 1.0
    width = _WIDTH / len(values)
    bars = "".join(
        f'<rect x="{n * width:.1f}" y="{_HEIGHT * (1 - value / top):.1f}" width="{width - 2:.1f}" '
        f'height="{_HEIGHT * value / top:.1f}" fill="#1565c0"/>'
        for n, value in enumerate(values)
    )
    return (
        f'<figure><figcaption>{escape(title)}</figcaption><svg viewBox="0 0 {_WIDTH} {_HEIGHT + 20}" '
        f'width="{_WIDTH}" role="img" aria-label="{escape(title)}">{bars}'
        f'<text x="0" y="{_HEIGHT + 16}" font-size="12">{escape(scale)}; ▲ {top:.1f}</text></svg></figure>'
    )

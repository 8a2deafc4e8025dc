"""Numbers are true wherever they are shown: in the table, in the sums, in a dry run, and after Ctrl-C."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from tests.cli.helpers import counting, environment, piped, written
from tests.loopback import FAULTS
from tusfacturas_async import BatchReport, Outcome, ReprocessResult, Voucher, VoucherStatus
from tusfacturas_async.cli.given import Given
from tusfacturas_async.cli.report import page
from tusfacturas_async.cli.story import Story


def test_repeats_are_billed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """a, a, b, a, x, x: three calls, in the question's cost, the sums, the files and the report."""
    monkeypatch.chdir(tmp_path)
    written(tmp_path, "a\na\nb\na\nx\nx\n")
    with counting(["a", "b", "x"]) as server:
        for name, value in environment(server.url).items():
            monkeypatch.setenv(name, value)
        rehearsed = piped("reprocess", "refs.txt", "--dry-run").stdout
        assert "3 of 6 would be re-sent: 3 billed calls" in rehearsed
        done = piped("reprocess", "refs.txt", "--yes", "--output", "r.jsonl", "--report", "r.html")
        assert sorted(server.resends) == ["a", "b", "x"]
    assert "6 vouchers: 6 accepted; billed calls: 3" in done.stderr
    results = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert sorted(each["external_reference"] for each in results) == ["a", "a", "a", "b", "x", "x"]
    assert sum(each["billed_calls"] for each in results) == 3
    assert sum(int(line.split("\t")[3]) for line in done.stdout.splitlines()) == 3
    assert "billed calls: 3" in (tmp_path / "r.html").read_text()


def test_repeats_far_apart_are_billed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many references stand between them, and however many repeats there are."""
    names = [f"p-{n}" for n in range(1500)]
    path = written(tmp_path, "\n".join(["p-0"] * 1200 + names + ["p-7"]))
    with counting(names) as server:
        for name, value in environment(server.url).items():
            monkeypatch.setenv(name, value)
        done = piped("reprocess", path, "--yes", "--interval", "0")
        assert sorted(server.resends) == sorted(names)
    assert (done.returncode, "2701 vouchers: 2701 accepted; billed calls: 1500" in done.stderr) == (0, True)


def test_the_check_saves_each_call_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeats of what is not errored would not have been billed anyway."""
    path = written(tmp_path, "a\nb\nb\nb\n")
    with counting(["a", "b"]) as server:
        for name, value in environment(server.url).items():
            monkeypatch.setenv(name, value)
        server.queue.reprocess("b")
        assert "1 of 4 would be re-sent" in piped("reprocess", path, "--check-first", "--dry-run").stdout
        told = piped("reprocess", path, "--check-first", "--yes").stderr
    assert "4 vouchers: 1 accepted, 3 nothing to do; billed calls: 1; saved by the check: 1" in told


def test_lost_answers_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each attempt that may have been billed is told, as the service counts them."""
    path = written(tmp_path, "a\nb\n")
    (closed,) = [fault for fault in FAULTS if fault.name == "reads all and closes"]
    with counting(["a", "b"], [closed]) as server:
        for name, value in environment(server.url).items():
            monkeypatch.setenv(name, value)
        done = piped("reprocess", path, "--yes", "--concurrency", "1")
        assert f"billed calls: {len(server.resends)}" in done.stderr
        assert len(server.resends) == 3


def test_a_reckoning_adds_up_to_the_input() -> None:
    """Whatever ended how, and whenever it was broken off: each reference is counted once."""
    dice = random.Random(20261201)
    for _ in range(500):
        copies = {f"p-{n}": dice.randint(1, 3) for n in range(dice.randint(0, 30))}
        given = sum(copies.values())
        ended = dice.randint(0, len(copies))
        story = Story(given, copies)
        for n in range(ended):
            recorded = dice.choice([None, *Outcome])
            story.take(ReprocessResult(f"p-{n}", dice.choice(list(Outcome)), recorded=recorded))
        assert len(story.results) == sum(story.counts.values()) == sum(list(copies.values())[:ended])
        story.in_flight = dice.randint(0, len(copies) - ended)
        counts = story.reckoning()
        assert sum(counts.values()) == given
        assert min(counts.values()) >= 0
        assert counts["n in flight"] == story.in_flight


@pytest.mark.parametrize(
    ("outcome", "recorded", "kind"),
    [
        (Outcome.ACCEPTED, None, "n done"),
        (Outcome.SKIPPED, None, "n done"),
        (Outcome.SKIPPED, Outcome.ACCEPTED, "n done"),
        (Outcome.SKIPPED, Outcome.REJECTED, "n rejected"),
        (Outcome.SKIPPED, Outcome.NOT_FOUND, "n not found"),
        (Outcome.NOT_FOUND, None, "n not found"),
        (Outcome.REJECTED, None, "n rejected"),
        (Outcome.UNKNOWN, None, "n unclear"),
        (Outcome.NOT_SENT, None, "n not sent"),
        (Outcome.HELD, None, "n not sent"),
    ],
)
def test_what_each_outcome_counts_as(outcome: Outcome, recorded: Outcome | None, kind: str) -> None:
    """What a journal settled counts as what it has on record."""
    story = Story(1)
    story.take(ReprocessResult("a", outcome, recorded=recorded))
    assert {name for name, count in story.reckoning().items() if count} == {kind}


def test_the_report_and_the_table_say_the_same() -> None:
    """Both have what is shared once."""
    story = Story(3, {"a": 3})
    story.take(ReprocessResult("a", Outcome.SKIPPED, settled_by="lookup"))
    assert (len(story.results), story.report.saved_calls) == (3, 1)
    assert "3 vouchers" in page(BatchReport(tuple(story.results)))


def test_vouchers_are_given_once_too() -> None:
    """What is errored may list one reference twice; vouchers that have none are each their own."""
    vouchers = [
        Voucher(reference, VoucherStatus.ERRORED, tipo="FACTURA A", punto_venta=1, numero=number)
        for number, reference in enumerate(["a", None, "b", "a", None])
    ]
    given = Given.once(vouchers, None)
    assert [voucher.external_reference for voucher in given.items] == ["a", None, "b", None]
    assert (given.total, given.copies, list(given.references)) == (5, {"a": 2, "b": 1}, ["a", "b"])

"""The benchmarks run, all of them, and write what they say. What they measure is not asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def run(*command: str) -> str:
    return subprocess.check_output(
        [sys.executable, "-m", *command], text=True, cwd=Path(__file__).parent.parent
    )


def test_everything_is_measured_and_written(tmp_path: Path) -> None:
    """A hundredth of it: every contestant ends its requests, the tables and the chart are there."""
    told = run("tests.benchmarks", "--share", "0.01", "--rounds", "1", "--results", str(tmp_path))
    assert (tmp_path / "latest.md").read_text().rstrip() == told.rstrip()
    found = json.loads((tmp_path / "latest.json").read_text())
    assert set(found["latency 0.0"]["cpu_ms"]["reprocess_many"]) == {"1", "10", "50", "100", "200"}
    assert "reprocess_many" in (tmp_path / "latest.svg").read_text()
    assert told.count("| reprocess_many") >= 12


def test_memory_is_measured() -> None:
    """Each figure in a process of its own."""
    told = run("tests.benchmarks.memory", "--share", "0.01")
    assert (told.count(" references: "), told.count(" bytes each while held, ")) == (2, 1)


def test_the_shares_of_the_layers() -> None:
    """Every layer is measured."""
    told = run("tests.benchmarks.shares", "--count", "10", "--rounds", "1")
    assert told.count("\n|") == 11

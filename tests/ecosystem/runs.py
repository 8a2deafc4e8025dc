"""A pytest run of its own, with our plugin found as an installed package's is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent.parent


class Run(NamedTuple):
    """What came of it: each test's outcome (each file's, where there are several), and what was printed."""

    outcomes: dict[str, str]
    printed: str


def run_pytest(folder: Path, source: str | dict[str, str], *arguments: str, seconds: float = 60) -> Run:
    """Run these tests in a new process; one that hangs is killed, and fails by ``TimeoutExpired``.

    Args:
        folder: Where to write them.
        source: One file, or several by name.
        *arguments: Of pytest.
        seconds: That it may take.
    """
    for name, text in (source if isinstance(source, dict) else {"backend": source}).items():
        (folder / f"test_{name}.py").write_text(textwrap.dedent(text))
    _install(folder)
    (folder / "pytest.ini").write_text("[pytest]\n")  # or that of a project above would be taken
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-vv",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:faker",
        "-W",
        "error",
    ]
    if "no:asyncio" not in arguments:
        command += ["-o", "asyncio_default_fixture_loop_scope=function"]
    done = subprocess.run(
        [*command, "--rootdir", str(folder), *arguments, str(folder)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    printed = done.stdout + done.stderr
    outcomes: dict[str, str] = {}
    for line in done.stdout.splitlines():
        if found := re.match(r"test_(\w+)\.py::(\S+) ([A-Z]+) ", line):
            name = found[2] if isinstance(source, str) else found[1]
            worst = found[3] if outcomes.get(name, "passed") == "passed" else outcomes[name]
            outcomes[name] = worst.lower()
    return Run(outcomes, printed)


def _install(folder: Path) -> None:
    """The metadata with the entry point, as an installed wheel has it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (plugin,) = project["entry-points"]["pytest11"].items()
    metadata = folder / "tusfacturas_under_test-0.dist-info"
    metadata.mkdir(exist_ok=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: tusfacturas-under-test\nVersion: 0\n")
    (metadata / "entry_points.txt").write_text("[pytest11]\n{} = {}\n".format(*plugin))

"""The command: reads files, re-sends on the embedded sandbox, tells by its exit status."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import httpx
import pytest

from tusfacturas_async import AsyncClient, Credentials, sign_webhook
from tusfacturas_async.cli.app import run
from tusfacturas_async.cli.references import Row, UsageError, read_references
from tusfacturas_async.models import ARGENTINA

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"


def written(folder: Path, content: str, name: str = "refs.txt", encoding: str = "utf-8") -> str:
    path = folder / name
    path.write_bytes(content.encode(encoding))
    return str(path)


# -- reading --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "# comment\none\n\n  two  \r\nthree"),
        ("a.txt", "\ufeffone\ntwo\nthree\n"),
        ("a.csv", "external_reference\none\ntwo\nthree\n"),
        ("a.csv", 'tipo;external_reference\nA;one\nB;"two"\n;\nC;three\n'),
        ("a.csv", "\ufeffexternal_reference,tipo\none,A\ntwo,B\nthree,C\n"),
        ("no-suffix", "tipo, external_reference\nA,one\nA,two\nA,three\n"),
    ],
)
def test_files_that_are_read(tmp_path: Path, name: str, content: str) -> None:
    """Text or CSV, with commas or semicolons, with a byte-order mark or not."""
    rows = read_references(written(tmp_path, content, name), "external_reference")
    assert [row.reference for row in rows] == ["one", "two", "three"]


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """``-``, as text or CSV."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"ref;x\na;1\nb;2\n")))
    assert read_references("-", "ref", ["x"]) == [Row("a", ("1",)), Row("b", ("2",))]


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("a.csv", "id,tipo\n1,A\n", "no column 'external_reference'; it has 'id', 'tipo'"),
        ("a.txt", "# nothing\n\n", "names no reference"),
        ("a.txt", None, "No such file"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, name: str, content: str | None, named: str) -> None:
    """The error names the file and the remedy."""
    path = str(tmp_path / name) if content is None else written(tmp_path, content, name)
    with pytest.raises(UsageError, match=named):
        read_references(path, "external_reference")


def test_a_file_in_another_charset_is_refused(tmp_path: Path) -> None:
    """Guessing would change references."""
    with pytest.raises(UsageError, match="not UTF-8"):
        read_references(written(tmp_path, "año\n", encoding="latin-1"), "external_reference")


# -- running --------------------------------------------------------------------------------------


def test_the_main_job(capsys: pytest.CaptureFixture[str]) -> None:
    """The README's command: mixed states, outcomes told, webhooks confirmed."""
    status = run(["reprocess", str(EXAMPLES / "references.txt"), "--sandbox", "--interval", "0"])
    out = capsys.readouterr().out
    assert status == 1
    assert "30 references: 26 accepted, 4 not_found; billed calls: 30; confirmed by webhook:" in out
    assert "lookup" in out


def test_all_accepted_is_zero(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Through the module entry, as a process."""
    command = [sys.executable, "-m", "tusfacturas_async", "reprocess", "-", "--sandbox"]
    done = subprocess.run(command, input="pedido-1001\n", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 references: 1 accepted; billed calls: 1; confirmed by webhook: 1" in done.stdout


def test_lanes_check_and_journal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The vendor's order from a CSV; the check saves calls; a second run finds its journal."""
    command = ["reprocess", str(EXAMPLES / "references.csv"), "--sandbox", "--interval", "0", "--check-first"]
    command += [
        "--lane-column",
        "punto_venta",
        "--lane-column",
        "tipo",
        "--journal",
        str(tmp_path / "journal"),
    ]
    run(command)
    first = capsys.readouterr().out
    run(command)
    second = capsys.readouterr().out
    assert "saved by the check:" in first
    assert "24 skipped; billed calls: 0" in second
    assert "accepted in the journal" in " ".join(second.replace("│", " ").split())


def test_a_batch_that_stops_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The results so far, the reason, and status 1."""
    stranger = Credentials(apikey="9", apitoken="nobody-knows-me", usertoken="nobody-knows-me")
    monkeypatch.setattr(
        "tusfacturas_async.cli.sweep.AsyncClient", lambda _, **options: AsyncClient(stranger, **options)
    )
    status = run(["reprocess", str(EXAMPLES / "references.txt"), "--sandbox", "--interval", "0"])
    captured = capsys.readouterr()
    assert (status, "stopped: the service denies access" in captured.err) == (1, True)
    assert "30 references" in captured.out


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["reprocess"], "file"),
        (["reprocess", "no-such-file", "--sandbox"], "cannot read no-such-file"),
        (
            ["reprocess", str(EXAMPLES / "references.txt"), "--sandbox", "--concurrency", "0"],
            "max_concurrency",
        ),
        (["reprocess", str(EXAMPLES / "references.txt"), "--concurrency", "many"], "many"),
        (["reprocess", str(EXAMPLES / "references.txt")], "TUSFACTURAS_APIKEY"),
        (["frobnicate"], "frobnicate"),
        (["reprocess", str(EXAMPLES / "references.csv"), "--lane-column", "lote"], "no column 'lote'"),
        (["reprocess", str(EXAMPLES / "references.txt"), "--lane-column", "tipo"], "no column"),
        (
            ["reprocess", str(EXAMPLES / "references.txt"), "--sandbox", "--journal", "/nowhere/journal"],
            "unable to open",
        ),
    ],
)
def test_bad_usage_is_two(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says what is wrong, without a traceback."""
    monkeypatch.delenv("TUSFACTURAS_APIKEY", raising=False)
    assert run(arguments) == 2
    error = capsys.readouterr().err
    assert named in error
    assert "Traceback" not in error


# -- webhooks -------------------------------------------------------------------------------------


def test_webhooks_serve(tmp_path: Path) -> None:
    """It prints each event once, keeps it over a restart, and ends with 130 on Ctrl-C."""
    command = [sys.executable, "-m", "tusfacturas_async", "webhooks", "serve", "--port", "0"]
    command += ["--inbox", str(tmp_path / "inbox")]
    environment = {**os.environ, "TUSFACTURAS_WEBHOOK_TOKEN": "shop-token"}
    printed: list[str] = []
    for _ in range(2):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as serving:
            assert serving.stdout is not None
            url = re.findall(r"http://\S+/", serving.stdout.readline())[0]
            created = datetime(2026, 3, 18, 15, 0, tzinfo=ARGENTINA)
            signed = sign_webhook(
                "shop-token", evento="error", external_reference="a", msg=["[why]"], creado=created
            )
            assert httpx.post(url, content=signed.body, headers=signed.headers).status_code == 200
            assert httpx.post(url, content=signed.body).status_code == 403
            if not printed:
                printed.append(serving.stdout.readline())
            serving.send_signal(signal.SIGINT)
            printed.append(serving.stdout.read())
            assert serving.wait() == 130
    assert printed == ["18/03/2026 15:00:00  error  a  [why]\n", "", ""]


def test_webhooks_serve_without_a_token(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says which variable to set."""
    monkeypatch.delenv("TUSFACTURAS_WEBHOOK_TOKEN", raising=False)
    assert run(["webhooks", "serve"]) == 2
    assert "TUSFACTURAS_WEBHOOK_TOKEN" in capsys.readouterr().err

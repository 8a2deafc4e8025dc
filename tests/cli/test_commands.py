"""The command: reads files, re-sends on the embedded sandbox, tells by its exit status."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest

from tests.cli import preloaded
from tests.cli.helpers import (
    COMMAND,
    EXAMPLES,
    Running,
    counting,
    environment,
    piped,
    plain,
    printed,
    status,
    summed,
    terminal,
    written,
)
from tests.loopback import FAULTS
from tusfacturas_async import Credentials, Inbox, Journal, parse_webhook, sign_webhook
from tusfacturas_async._wire.convert import ARGENTINA
from tusfacturas_async.cli.app import run
from tusfacturas_async.cli.connection import Service
from tusfacturas_async.cli.wording import WORDING
from tusfacturas_async.sandbox import Sandbox

# -- running --------------------------------------------------------------------------------------


def test_the_main_job(capsys: pytest.CaptureFixture[str]) -> None:
    """The README's command: mixed states, outcomes told, webhooks confirmed."""
    out = summed(
        capsys, "reprocess", str(EXAMPLES / "references.txt"), "--sandbox", "--interval", "0", status=1
    )
    assert "30 vouchers: 26 accepted, 4 not found; billed calls: 30; confirmed by webhook: 26" in out
    assert "lookup" in out


def test_all_accepted_is_zero(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Through the module entry, as a process."""
    command = [*COMMAND, "reprocess", "-", "--sandbox"]
    done = preloaded.run(command, input="pedido-1001\n", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "pedido-1001\taccepted\tresponse\t1\tencolado\t\n")
    assert "1 voucher: 1 accepted; billed calls: 1; confirmed by webhook: 1" in done.stderr


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
    assert "saved by the check:" in summed(capsys, *command, status=1)
    second = summed(capsys, *command, status=1)
    assert "24 nothing to do; billed calls: 0" in second
    assert "accepted in the journal" in second


def test_a_batch_that_stops_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The results so far, the reason, and status 1."""
    stranger = Credentials(apikey="9", apitoken="nobody-knows-me", usertoken="nobody-knows-me")
    make = Service.client
    monkeypatch.setattr(
        Service, "client", lambda s, **options: make(Service(s.base_url, stranger), **options)
    )
    status = run(["reprocess", str(EXAMPLES / "references.txt"), "--sandbox", "--interval", "0"])
    captured = capsys.readouterr()
    assert (status, "stopped: the service denies access" in captured.err) == (1, True)
    assert "30 vouchers" in captured.err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["reprocess", "no-such-file", "--sandbox"], "cannot read no-such-file"),
        (
            ["reprocess", str(EXAMPLES / "references.txt"), "--sandbox", "--concurrency", "0"],
            "--concurrency is out of its range",
        ),
        (["reprocess", str(EXAMPLES / "references.txt"), "--concurrency", "many"], "many"),
        (["reprocess", str(EXAMPLES / "references.txt")], "TUSFACTURAS_APIKEY"),
        (["frobnicate"], "frobnicate"),
        (["reprocess", str(EXAMPLES / "references.csv"), "--lane-column", "lote"], "no column 'lote'"),
        (["reprocess", str(EXAMPLES / "references.txt"), "--lane-column", "tipo"], "no column"),
        (
            ["reprocess", str(EXAMPLES / "references.txt"), "--sandbox", "--journal", "/nowhere/journal"],
            "No such file",
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
    command = [*COMMAND, "webhooks", "serve", "--port", "0"]
    command += ["--inbox", str(tmp_path / "inbox")]
    environment = {**os.environ, "TUSFACTURAS_WEBHOOK_TOKEN": "shop-token"}
    said: list[str] = []
    for _ in range(2):
        with preloaded.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as serving:
            assert serving.stdout is not None
            url = re.findall(r"http://\S+/", serving.stdout.readline())[0]
            created = datetime(2026, 3, 18, 15, 0, tzinfo=ARGENTINA)
            signed = sign_webhook(
                "shop-token", evento="error", external_reference="a", msg=["[why]"], creado=created
            )
            assert httpx.post(url, content=signed.body, headers=signed.headers).status_code == 200
            assert httpx.post(url, content=signed.body).status_code == 403
            if not said:
                said.append(serving.stdout.readline())
            serving.send_signal(signal.SIGINT)
            said.append(serving.stdout.read())
            assert serving.wait() == 130
    assert said == ["18/03/2026 15:00:00  error  a  [why]\n", "", ""]


def test_webhooks_serve_without_a_token(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says which variable to set."""
    monkeypatch.delenv("TUSFACTURAS_WEBHOOK_TOKEN", raising=False)
    assert run(["webhooks", "serve"]) == 2
    assert "TUSFACTURAS_WEBHOOK_TOKEN" in capsys.readouterr().err


# -- against a served sandbox ---------------------------------------------------------------------


def test_the_smaller_commands(
    served: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """lookup, errored, delete, change-date: in words, and as JSON."""
    monkeypatch.setenv("COLUMNS", "160")
    day = "2026-03-18"
    assert "pedido-1" in printed(capsys, "lookup", "pedido-1")
    (line,) = printed(capsys, "lookup", "pedido-1", "nobody", "--json", status=1).splitlines()
    assert json.loads(line)["status"] == "ENVIADO A PROCESAR - CON ERROR"
    lines = printed(capsys, "errored", day, "--json").splitlines()
    assert [json.loads(line)["external_reference"] for line in lines] == [f"pedido-{n}" for n in range(40)]
    assert "pedido-39" in printed(capsys, "errored", day, day)
    assert printed(capsys, "delete", "pedido-1", day, "--yes") == "deleted: pedido-1\n"
    assert printed(capsys, "--lang", "es", "change-date", "pedido-2", "2026-03-19", "2026-04-19", "-y") == (
        "fecha cambiada: pedido-2\n"
    )
    assert run(["delete", "pedido-1", day, "--yes"]) == 1
    assert run(["change-date", "pedido-3", "2026-03-19", "2026-03-01", "--yes"]) == 2
    assert "VENCIMIENTO comes before FECHA" in capsys.readouterr().err


def test_a_sweep_of_what_is_errored(served: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Dry run, then in earnest, with files and a journal; a second run has nothing to do."""
    since = ["reprocess", "--errored-since", "2026-03-17", "--until", "2026-03-19", "--interval", "0"]
    assert "dry run: 40 of 40 would be re-sent" in printed(capsys, *since, "--dry-run")
    checked = ["reprocess", served, "--check-first", "--dry-run"]
    assert "40 of 40" in printed(capsys, *checked)
    jsonl, table, journal = tmp_path / "r.jsonl", tmp_path / "r.csv", tmp_path / "journal"
    files = ["--output", str(jsonl), "--output", str(table), "--journal", str(journal), "--in-order"]
    assert "40 accepted; billed calls: 40" in summed(capsys, *since, *files, "--yes")
    results = [json.loads(line) for line in jsonl.read_text().splitlines()]
    assert [result["external_reference"] for result in results] == [f"pedido-{n}" for n in range(40)]
    assert results[0]["attempts"][0]["evidence"] == "answered"
    assert table.read_text().splitlines()[1].startswith("pedido-0,accepted,response,")
    assert printed(capsys, "journal", "show", str(journal)).split() == ["40", "accepted"]
    assert len(printed(capsys, "journal", "show", str(journal), "--json").splitlines()) == 40
    assert "nothing to re-send" in printed(capsys, *since, "--journal", str(journal))
    with contextlib.closing(sqlite3.connect(journal)) as connection:  # as a crash leaves it
        connection.execute("UPDATE journal SET outcome=NULL WHERE external_reference='pedido-7'")
        connection.commit()
    assert "dry run: 1 of 1 would be re-sent" in printed(
        capsys, *since, "--journal", str(journal), "--dry-run"
    )
    assert "nothing to re-send" in printed(capsys, *since), "that one is no longer errored"
    assert "1 accepted; billed calls: 0" in summed(capsys, *since, "--journal", str(journal), "--yes")
    assert printed(capsys, "journal", "show", str(journal)).split() == ["40", "accepted"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["reprocess"], "name a file"),
        (["reprocess", "x", "--errored-since", "2026-03-18"], "one of the two"),
        (["reprocess", "--errored-since", "2026-03-18", "--sandbox"], "--sandbox needs a file"),
        (["reprocess", "--errored-since", "yesterday"], "yesterday"),
        (["reprocess", str(EXAMPLES / "references.txt"), "--output", "r.xlsx"], ".jsonl or .csv"),
        (["reprocess", str(EXAMPLES / "references.txt"), "--output", "/nowhere/r.csv"], "cannot write"),
        (["reprocess", str(EXAMPLES / "references.txt"), "--report", "/nowhere/r.html"], "cannot write"),
        (["journal", "show", "no-such-journal"], "no file no-such-journal"),
        (["triage"], "one of the two"),
        (["triage", "--inbox", "no-such-inbox"], "no file no-such-inbox"),
        (["--lang", "fr", "triage", "x"], "en, es"),
    ],
)
def test_more_bad_usage(arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Named, and nothing is sent."""
    assert run(arguments) == 2
    assert named in capsys.readouterr().err


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    """For whoever asks for it."""
    assert run(["--debug", "triage"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_triage_of_texts_and_of_an_inbox(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """In the locale's language."""
    text = "Cod. Error: #6661145.10036 - FchVtoPago"
    assert "delete it, and send it again corrected" in printed(capsys, "triage", text)
    assert "eliminarlo y volver a enviarlo" in printed(capsys, "--lang", "es", "triage", text)
    found = json.loads(printed(capsys, "triage", text, "--json"))
    assert (found["remedy"], found["arca_codes"]) == ("delete_and_recreate", ["10036"])

    async def fill() -> None:
        async with Inbox.open(tmp_path / "inbox") as inbox:
            for reference, evento, msg in (("a", "error", [text]), ("b", "emitido", [])):
                signed = sign_webhook("t", evento=evento, external_reference=reference, msg=msg)
                await inbox.receive(parse_webhook(signed.body))

    asyncio.run(fill())
    assert printed(capsys, "triage", "--inbox", str(tmp_path / "inbox")).split()[0] == "a"


def test_the_language_follows_the_locale(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """``LC_ALL`` before ``LANG``; every text exists in both languages, with the same places."""
    monkeypatch.delenv("LC_ALL", raising=False)
    monkeypatch.delenv("LC_MESSAGES", raising=False)
    monkeypatch.setenv("LANG", "es_AR.UTF-8")
    assert "volver a enviarlo" in printed(capsys, "triage", "CbtesAsoc")
    monkeypatch.setenv("LC_ALL", "C")
    assert "send it again" in printed(capsys, "triage", "CbtesAsoc")
    for english, spanish in WORDING.values():
        for form in (*english.split("|"), *spanish.split("|")):
            assert set(re.findall(r"{\w+}", form)) <= set(re.findall(r"{\w+}", english + spanish))
        first, last = english.split("|")[-1], spanish.split("|")[-1]
        assert sorted(re.findall(r"{\w+}", first)) == sorted(re.findall(r"{\w+}", last))


# -- as a person would: in a pseudo-terminal ------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["no-such-file.txt"], "cannot read no-such-file.txt: No such file or directory"),
        ([str(EXAMPLES / "references.csv"), "--lane-column", "lote"], "has no column 'lote'; it has"),
        ([str(EXAMPLES / "references.txt"), "--yes"], "set the environment variables TUSFACTURAS_APIKEY"),
        ([str(EXAMPLES / "references.txt"), "--output", "/nowhere/r.csv"], "cannot write /nowhere/r.csv"),
    ],
    ids=["wrong file", "missing column", "no credentials", "unwritable output"],
)
def test_a_person_is_told_in_one_line(
    arguments: list[str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is wrong, without a traceback, and status 2."""
    for name in ("APIKEY", "APITOKEN", "USERTOKEN"):
        monkeypatch.delenv(f"TUSFACTURAS_{name}", raising=False)
    person = terminal("reprocess", *arguments)
    assert status(person) == 2
    said = re.sub(r"\x1b\[[0-9;]*m", "", person.before).strip()
    assert told in said
    assert "\n" not in said


# -- the documentation ----------------------------------------------------------------------------

DOCUMENTED = re.findall(
    r"^tusfacturas .+$",
    "".join(
        re.findall(
            r"```sh\n(.*?)```", (EXAMPLES.parent / "reference" / "command-line.md").read_text(), re.DOTALL
        )
    ),
    re.MULTILINE,
)


def test_every_documented_command_runs(
    served: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the page's order, in one folder, against the served sandbox."""
    monkeypatch.chdir(tmp_path)
    for name in ("references.txt", "references.csv"):
        shutil.copy(EXAMPLES / name, tmp_path)
    statuses = {line: run(shlex.split(line)[1:]) for line in DOCUMENTED}
    assert len(statuses) == 17
    assert set(statuses.values()) <= {0, 1}, statuses
    assert all(status == 0 for line, status in statuses.items() if "references" not in line), statuses
    for name in ("results.jsonl", "results.csv", "report.html", "sweep.journal"):
        assert (tmp_path / name).stat().st_size


def test_nothing_errored_is_told(served: str, capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error, and no table without a row."""
    assert run(["errored", "2030-01-01"]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "nothing to re-send\n")


def test_a_table_speaks_the_language(tmp_path: Path) -> None:
    """Also of who told it; on a narrow terminal the bar keeps its count."""
    one = written(tmp_path, "pedido-1001\n")
    person = terminal("reprocess", one, "--sandbox", "--lang", "es", columns=80)
    assert status(person) == 0
    told = plain(person.before)
    assert "respuesta" in told
    assert "1/1 " in told


def test_tables_are_for_a_terminal(served: str) -> None:
    """A person gets columns with names."""
    person = terminal("lookup", "pedido-1", "pedido-2")
    assert status(person) == 0
    assert "external_reference" in person.before
    assert "pedido-2" in plain(person.before)


@pytest.mark.parametrize("option", ["--quiet", "-q"])
def test_quiet_leaves_the_sums(option: str, served: str) -> None:
    """No bar, no table, no lines: on a terminal and in a pipe."""
    person = terminal("reprocess", served, "--yes", "--interval", "0", option)
    assert status(person) == 0
    assert plain(person.before).splitlines() == [
        "    40 accepted: in the queue again, or further",
        "40 vouchers: 40 accepted; billed calls: 40",
    ]
    done = piped("reprocess", served, "--yes", "--interval", "0", option)
    assert (done.stdout, done.stderr.splitlines()[-1]) == ("", "40 vouchers: 40 not found; billed calls: 40")


def test_what_is_in_use_can_be_read(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """``journal show`` and ``triage --inbox`` read what another process owns, and create nothing."""
    text = "Cod. Error: #6661145.10036 - FchVtoPago"
    journal, inbox = tmp_path / "journal", tmp_path / "inbox"

    def beside() -> set[Path]:
        return set(tmp_path.iterdir())

    async def fill() -> None:
        async with Journal.open(journal), Inbox.open(inbox) as kept:
            signed = sign_webhook("t", evento="error", external_reference="a", msg=[text])
            await kept.receive(parse_webhook(signed.body))
            shown = await asyncio.to_thread(piped, "journal", "show", str(journal))
            assert (shown.returncode, shown.stdout, shown.stderr) == (0, "", "")
            before = beside()
            advice = await asyncio.to_thread(piped, "triage", "--inbox", str(inbox))
            assert (advice.returncode, advice.stdout.split()[0], advice.stderr) == (0, "a", "")
            assert beside() == before

    asyncio.run(fill())
    command = Running("webhooks", "serve", "--port", "0", "--inbox", str(inbox),
                      env={**os.environ, "TUSFACTURAS_WEBHOOK_TOKEN": "t"})  # fmt: skip
    assert command.process.stdout is not None
    command.process.stdout.readline()
    assert printed(capsys, "triage", "--inbox", str(inbox)).split()[0] == "a"
    command.tell(signal.SIGTERM)
    assert command.end()[0] == 143


def test_the_log_does_not_clutter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the progress, the table and the sums tell, as a cool-down, is not told by the log as well."""
    (refused,) = [fault for fault in FAULTS if fault.name == "429"]
    with counting(["pedido-1"], [refused]) as server:
        for name, value in environment(server.url).items():
            monkeypatch.setenv(name, value)
        done = piped("reprocess", "-", "--yes", given="pedido-1\n")
        assert server.resends == ["pedido-1", "pedido-1"]
    assert done.stderr.splitlines() == [
        "     1 accepted: in the queue again, or further",
        "1 voucher: 1 accepted; billed calls: 1",
    ]


def test_progress_says_that_the_service_asks_for_patience(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a 429 nothing moves for a while: else a person takes it for a hang."""
    (refused,) = [fault for fault in FAULTS if fault.name == "429"]
    with counting(["a"], [refused]) as server:
        for name, value in environment(server.url).items():
            monkeypatch.setenv(name, value)
        person = terminal("reprocess", written(tmp_path, "a\n"), "--yes")
        person.expect(r"asked to slow down \(429\): waits \d+ s")
        person.expect("1 voucher: 1 accepted; billed calls: 1")
        assert status(person) == 0


async def test_progress_says_that_there_is_maintenance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what is left of it; Ctrl-C need not wait for its end."""
    async with Sandbox(["a"]) as sandbox, sandbox.serve() as url:
        sandbox.maintenance_until = datetime.now(ARGENTINA) + timedelta(hours=1)
        for name, value in environment(url).items():
            monkeypatch.setenv(name, value)

        def watch() -> None:
            file = written(tmp_path, "a\n")
            person = terminal("--lang", "es", "reprocess", file, "--yes", "--wait-maintenance", "7200")
            person.expect(r"mantenimiento: espera \d+ s")
            person.sendintr()
            assert status(person) == 130

        await asyncio.to_thread(watch)

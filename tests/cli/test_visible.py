"""What comes from outside commands no terminal: control characters are printed as what they are."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import subprocess
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.cli import preloaded
from tests.cli.helpers import COMMAND, piped, plain, status, terminal, written
from tusfacturas_async import (
    Inbox,
    Journal,
    Outcome,
    RejectedError,
    ReprocessResult,
    parse_webhook,
    sign_webhook,
)
from tusfacturas_async.cli.screen import Log
from tusfacturas_async.cli.visible import visible, visible_json, visible_lines
from tusfacturas_async.sandbox import SANDBOX_CREDENTIALS

EVIL = "\x1b]0;pwned\x07\x1b[31m\x9b2J\u202eevil\u2066\r\x08"
SHOWN = r"\x1b]0;pwned\x07\x1b[31m\x9b2J\u202eevil\u2066\x0d\x08"
ESCAPES = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def commands(text: str) -> list[str]:
    """What in a terminal's input is none of rich's own: colours and the cursor of its progress bar."""
    return ESCAPES.findall(re.sub(r"\x1b\[[0-9;]*[mKA]|\x1b\[\?25[lh]|\r", "", text))


def test_every_control_character() -> None:
    """All of Unicode's control, format and line separators, and the halves of pairs; nothing else."""
    kinds = {"Cc", "Cs", "Zl", "Zp"}
    for code in range(0x110000):
        character = chr(code)
        if unicodedata.category(character) in kinds:
            assert visible(character) != character, hex(code)
        elif unicodedata.category(character) in {"Ll", "Lu", "Nd", "Po", "So", "Zs"}:
            assert visible(character) == character, hex(code)
    assert visible(EVIL) == SHOWN
    assert visible_lines(f"one\n{EVIL}") == f"one\n{SHOWN}"
    assert visible("pay\u200bpal\U000e0041") == r"pay\u200bpal\ue0041"


@pytest.mark.parametrize("text", [EVIL, "\ud800", "\U000e0041", "\u2028", "\x7f", '"\\', "ñ\U0001f600"])
def test_json_reads_back_the_same(text: str) -> None:
    """Escaped as JSON has it, on one line."""
    line = visible_json({text: [text]})
    assert json.loads(line) == {text: [text]}
    assert ESCAPES.findall(line) == []
    assert len(line.splitlines()) == 1


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A served sandbox that has a voucher with a hostile reference; the file that names it."""
    path = written(tmp_path, json.dumps({"external_reference": EVIL}) + "\n", "evil.jsonl")
    with preloaded.Popen(
        [*COMMAND, "sandbox", "serve", path, "--port", "0"], stdout=subprocess.PIPE, text=True
    ) as serving:
        assert serving.stdout is not None
        for _ in range(4):
            name, _, value = serving.stdout.readline().removeprefix("export ").strip().partition("=")
            monkeypatch.setenv(name, value)
        yield path
        serving.terminate()
        assert serving.wait() == 143


@pytest.mark.parametrize(
    "command",
    [
        ("lookup", EVIL),
        ("errored", "2026-03-18"),
        ("reprocess", "{file}", "--yes", "--any-characters"),
        ("reprocess", "{file}", "--yes"),
        ("reprocess", "{file}", "--errored-since", EVIL),
        ("delete", EVIL, "2026-03-18", "--dry-run"),
        ("delete", EVIL, "2026-03-18", "--yes"),
        ("change-date", EVIL, "2026-03-19", "2026-04-19", "--yes"),
        ("triage", EVIL),
        ("reprocess", f"no-{EVIL}"),
        ("reprocess", "{file}", "--column", EVIL, "--output", f"{EVIL}.csv"),
        ("journal", "show", EVIL),
        ("triage", "--inbox", EVIL),
        (EVIL,),
        ("--debug", "reprocess", f"no-{EVIL}"),
        ("lookup", "a", f"--{EVIL}"),
    ],
)
def test_on_a_terminal(command: tuple[str, ...], hostile: str) -> None:
    """Every command, what it prints and what it complains about."""
    arguments = [part.replace("{file}", hostile) for part in command]
    person = terminal(*arguments)
    status(person)
    assert commands(person.before.replace("\r\n", "\n")) == [], person.before
    assert "evil" in person.before
    assert "\x1b]" not in person.before
    done = piped(*arguments)
    assert commands(done.stdout + done.stderr) == []


def test_in_a_prompt(hostile: str) -> None:
    """Also where it asks."""
    person = terminal("delete", EVIL, "2026-03-18")
    person.expect("Go on")
    asked = person.before
    person.sendline("n")
    status(person)
    assert SHOWN in plain(asked)
    assert commands(asked) == []


def test_in_a_journal_an_inbox_and_a_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was stored may be as hostile as what just came."""

    async def fill() -> None:
        async with Journal.open(tmp_path / "journal") as journal, Inbox.open(tmp_path / "inbox") as inbox:
            refused = ReprocessResult(EVIL, Outcome.REJECTED, error=RejectedError(EVIL))
            await journal.record(SANDBOX_CREDENTIALS.identity, refused)
            signed = sign_webhook("t", evento="error", external_reference=EVIL, msg=[EVIL])
            await inbox.receive(parse_webhook(signed.body))

    asyncio.run(fill())
    for arguments in (("journal", "show"), ("triage", "--inbox")):
        file = str(tmp_path / ("journal" if "journal" in arguments else "inbox"))
        for more in ((), ("--json",)):
            done = piped(*arguments, file, *more)
            assert (done.returncode, commands(done.stdout)) == (0, [])
            assert "evil" in done.stdout or not more
    Log().emit(logging.makeLogRecord({"msg": f"the service says {EVIL}"}))
    assert capsys.readouterr().err == f"the service says {SHOWN}\n"


async def test_in_the_webhooks_that_are_served(tmp_path: Path) -> None:
    """Each event is one line, whatever is in it."""
    environment = {"TUSFACTURAS_WEBHOOK_TOKEN": "t"}
    serving = await asyncio.create_subprocess_exec(
        *COMMAND, "webhooks", "serve", "--port", "0", "--inbox", str(tmp_path / "inbox"),
        stdout=asyncio.subprocess.PIPE, env={**os.environ, **environment},
    )  # fmt: skip
    assert serving.stdout is not None
    url = re.findall(r"http://\S+/", (await serving.stdout.readline()).decode())[0]
    signed = sign_webhook("t", evento="error", external_reference=EVIL, msg=[EVIL])
    async with httpx.AsyncClient() as client:
        assert (await client.post(url, content=signed.body, headers=signed.headers)).status_code == 200
    line = (await serving.stdout.readline()).decode()
    serving.terminate()
    assert await serving.wait() == 143
    assert line.count(SHOWN) == 2
    assert commands(line) == []

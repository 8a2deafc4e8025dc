"""What comes from outside commands no terminal: control characters are made visible, in every command."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import unicodedata
from pathlib import Path

from tests.cli.person import COMMAND, status, terminal, written
from tusfacturas_async import Inbox, Journal, Outcome, ReprocessResult, parse_webhook, sign_webhook
from tusfacturas_async.cli.visible import visible, visible_json
from tusfacturas_async.sandbox import SANDBOX_CREDENTIALS

HOSTILE = "x\x1b]0;pwned\x07\x1b[2J\x9b31m\u202eevil\u2028\x7f"
OURS = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b\[\d*[A-K]")
"""Colours and cursor of our own table and bar."""


def commands(said: str) -> list[str]:
    """What is left that a terminal would obey."""
    rest = OURS.sub("", said)
    kinds = {"Cc", "Cf", "Zl", "Zp"}
    return [c for c in rest if unicodedata.category(c) in kinds and c not in "\r\n\t"]


def test_every_control_character_is_made_visible() -> None:
    """C0, C1, DEL, direction marks, separators, lone surrogates; and JSON reads back the same."""
    hidden = [
        *map(chr, range(32)),
        *map(chr, range(0x7F, 0xA0)),
        *"\u061c\u200e\u200f\u202a\u202e\u2066\u2069\u2028\ud800",
    ]
    assert commands(visible("".join(hidden))) == []
    assert json.loads(visible_json({"x": "".join(hidden)})) == {"x": "".join(hidden)}
    assert visible("año 12,5 €") == "año 12,5 €"


def test_in_a_terminal_no_reference_commands_it(served: str, tmp_path: Path) -> None:
    """Re-sending, asking, looking up, deleting: in the prompt, the table, and the errors."""
    source = written(tmp_path, f"{HOSTILE}\n")
    for arguments in (
        ["reprocess", source, "--interval", "0"],
        ["reprocess", source, "--any-characters", "--interval", "0", "--yes"],
        ["delete", HOSTILE, "2026-03-18", "--dry-run"],
        ["triage", HOSTILE],
        ["reprocess", str(tmp_path / HOSTILE), "--sandbox"],
    ):
        person = terminal(*arguments)
        status(person)
        said = person.before
        assert isinstance(said, str)
        assert commands(said) == [], (arguments, said)
        assert r"\x1b]0;pwned\x07" in re.sub(r"[\s│]", "", OURS.sub("", said)), (arguments, said)


def test_journal_and_inbox_are_shown_while_their_owner_runs(tmp_path: Path) -> None:
    """``journal show`` and ``triage --inbox`` need no lock; what stands in them is made visible."""

    async def main() -> tuple[str, ...]:
        async with Journal.open(tmp_path / "journal") as journal, Inbox.open(tmp_path / "inbox") as inbox:
            await journal.record(SANDBOX_CREDENTIALS.identity, ReprocessResult(HOSTILE, Outcome.ACCEPTED))
            signed = sign_webhook("t", evento="error", external_reference=HOSTILE, msg=[HOSTILE])
            await inbox.receive(parse_webhook(signed.body))
            return await asyncio.to_thread(
                lambda: tuple(
                    subprocess.check_output([*COMMAND, *command], text=True)
                    for command in (
                        ["journal", "show", str(tmp_path / "journal")],
                        ["journal", "show", str(tmp_path / "journal"), "--json"],
                        ["triage", "--inbox", str(tmp_path / "inbox")],
                    )
                )
            )

    counted, rows, told = asyncio.run(main())
    assert counted.split() == ["1", "accepted"]
    assert json.loads(rows)["external_reference"] == HOSTILE
    assert commands(rows + told) == []
    assert r"\x1b]0;pwned" in told

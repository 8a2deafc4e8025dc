"""What the tests of journals and inboxes do alike with files."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest

from tusfacturas_async import Journal, JournalError, JournalInUseError, Outcome, ReprocessResult


def ended(reference: str, outcome: Outcome = Outcome.ACCEPTED) -> ReprocessResult:
    return ReprocessResult(reference, outcome)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def foreign_database(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE precious (x)")
    connection.commit()
    connection.close()


def newer_journal(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA application_id={0x74666A31}")
    connection.execute("PRAGMA user_version=99")
    connection.commit()
    connection.close()


async def refused(path: Path, match: str = "in use") -> None:
    """Opening it fails so; whoever can wait for its holder is told so by the class, too."""
    with pytest.raises(JournalError, match=match) as raised:
        async with Journal.open(path):
            raise AssertionError
    assert type(raised.value) is (JournalInUseError if match == "in use" else JournalError)


async def free(path: Path) -> None:
    async with Journal.open(path) as journal:
        await journal.summary()

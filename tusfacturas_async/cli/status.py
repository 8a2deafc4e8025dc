"""What a command's exit status says (the table is in ``docs/reference/command-line.md``), and bad usage."""

from __future__ import annotations

from typing import Final

FINE: Final = 0
"""All accepted, or nothing to do."""
SOME_NOT: Final = 1
"""Some were not, or the service refused."""
BAD_USAGE: Final = 2
"""Nothing was sent: the input, an option or a file is wrong."""
NOT_WRITTEN: Final = 3
"""What was to be sent was sent; results could not all be written where they were asked for."""


def ended_by(number: int) -> int:
    """The shells' convention for a signal: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP."""
    return 128 + number


class UsageError(Exception):
    """The user's input is wrong; the message says what, and how to mend it. Nothing was sent."""

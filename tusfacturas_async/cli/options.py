"""What the command line asks of a sweep. The options' help and defaults are in ``commands``."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Final

from attrs import field, frozen
from attrs.converters import optional

_STREAM: Final = Path("-")


@frozen(kw_only=True)
class Options:
    """The parameters of ``commands.reprocess``, by their names."""

    file: str | None = field(converter=optional(str))
    errored_since: date | None
    until: date | None
    column: str
    lane_column: tuple[str, ...]
    in_order: bool
    any_characters: bool
    encoding: str | None
    check_first: bool
    failed: bool
    journal: Path | None
    output: tuple[Path, ...]
    json: bool
    report: Path | None
    concurrency: int
    interval: float
    wait_maintenance: float | None
    dry_run: bool
    yes: bool
    quiet: bool
    sandbox: bool

    @property
    def outputs(self) -> tuple[Path, ...]:
        """The files that take each result."""
        return tuple(path for path in self.output if path != _STREAM)

    @property
    def streams(self) -> bool:
        """Whether standard output takes each result."""
        return self.json or _STREAM in self.output

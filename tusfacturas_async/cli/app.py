"""The commands and their options. What they do is in the modules beside this one."""

from __future__ import annotations

import asyncio
import io
import logging
import sys
import traceback
from collections.abc import Coroutine, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter

from ..errors import JournalError, TusFacturasError
from . import change, queue
from .fleet import fleet
from .references import read_references
from .screen import Log, OutputLostError, tell
from .signals import Interrupted, interruptible
from .status import BAD_USAGE, FINE, INTERRUPTED, NOT_WRITTEN, SOME_NOT, UsageError, ended_by
from .sweep import Options, sweep
from .texts import LANGUAGES, choose
from .visible import visible_lines
from .webhooks import serve

app: App = App(name="tusfacturas", help="Re-send the errored vouchers of a TusFacturasAPP queue.")
journal: App = App(name="journal", help="What a journal remembers.")
webhooks: App = App(name="webhooks", help="Receive what the service tells by itself.")
sandbox: App = App(name="sandbox", help="A local stand-in for the service.")
app.command(journal)
app.command(webhooks)
app.command(sandbox)
app.command(fleet)
app.register_install_completion_command()

Flag = Annotated[bool, Parameter(negative="")]
Yes = Annotated[bool, Parameter(name=("--yes", "-y"), negative="")]
Quiet = Annotated[bool, Parameter(name=("--quiet", "-q"), negative="")]
Json = Annotated[bool, Parameter(name="--json", negative="")]


@app.command
def reprocess(
    file: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    *,
    errored_since: date | None = None,
    until: date | None = None,
    column: str = "external_reference",
    lane_column: tuple[str, ...] = (),
    in_order: Flag = False,
    any_characters: Flag = False,
    encoding: str | None = None,
    check_first: Flag = False,
    journal: Path | None = None,
    output: tuple[Path, ...] = (),
    report: Path | None = None,
    concurrency: int = 10,
    interval: float = 0.1,
    wait_maintenance: float | None = None,
    dry_run: Flag = False,
    yes: Yes = False,
    quiet: Quiet = False,
    sandbox: Flag = False,
) -> Coroutine[Any, Any, int]:
    """Re-send every voucher that FILE names, or that is errored, and tell what became of each.

    Each re-send is billed, so it asks first. The credentials come from TUSFACTURAS_APIKEY,
    TUSFACTURAS_APITOKEN and TUSFACTURAS_USERTOKEN. Exit status: 0 all accepted or nothing to do, 1 some not,
    2 bad usage, 3 results could not be written, 130 interrupted.

    Args:
        file: A text file with one external_reference a line, a CSV file with a header, or - for stdin.
        errored_since: Instead of a file: what is errored from this date (YYYY-MM-DD), in the vendor's order.
        until: The last date for --errored-since; the first one alone when left out.
        column: The CSV column with the references.
        lane_column: A CSV column that tells the lane: rows with the same value are re-sent one at a time, in
            their order. Give it twice for the vendor's order: --lane-column punto_venta --lane-column tipo.
        in_order: Re-send everything one at a time, in the order given.
        any_characters: Take references with characters that are not allowed, for vouchers that exist already.
        encoding: How the file is written, as cp1252; left out: UTF-8, or UTF-16 where its beginning says so.
        check_first: Look all up first, free of charge, and re-send only what is errored.
        journal: A file that remembers what was sent: run again with it after a crash, nothing is repeated.
        output: Write each result to this .jsonl or .csv file as it ends; may be given twice.
        report: Write a page of HTML in the end.
        concurrency: Requests in flight at most.
        interval: Seconds between the starts of two requests.
        wait_maintenance: Seconds to wait for the end of maintenance, at most; it stops at it when left out.
        dry_run: Tell what would be sent and what it would cost, and send nothing.
        yes: Do not ask; without a terminal nothing billed starts without it.
        quiet: No progress and no table: the sums and what went wrong alone.
        sandbox: Call an embedded stand-in for the service, with these vouchers in mixed states.
    """
    return sweep(
        Options(
            file=file,
            errored_since=errored_since,
            errored_until=until,
            column=column,
            lane_columns=lane_column,
            in_order=in_order,
            any_characters=any_characters,
            encoding=encoding,
            sandbox=sandbox,
            journal=journal,
            check_first=check_first,
            outputs=output,
            report=report,
            concurrency=concurrency,
            interval=interval,
            wait_maintenance=wait_maintenance,
            dry_run=dry_run,
            yes=yes,
            quiet=quiet,
        )
    )


@app.command
def lookup(*references: str, json: Json = False) -> Coroutine[Any, Any, int]:
    """Show vouchers by reference, free of charge.

    Args:
        references: What to look up.
        json: One JSON object a line.
    """
    return queue.lookup(references, as_lines=json)


@app.command
def errored(since: date, until: date | None = None, *, json: Json = False) -> Coroutine[Any, Any, int]:
    """Show what is errored, in the order of first sending, free of charge.

    Args:
        since: The first date (YYYY-MM-DD).
        until: The last date; the first one alone when left out.
        json: One JSON object a line.
    """
    return queue.errored(since, until, as_lines=json)


@app.command
def delete(
    reference: str, fecha: date, *, yes: Yes = False, dry_run: Flag = False
) -> Coroutine[Any, Any, int]:
    """Delete a voucher from the queue; billed, so it asks first.

    Args:
        reference: The voucher's external_reference.
        fecha: The voucher's date (YYYY-MM-DD).
        yes: Do not ask; without a terminal nothing billed starts without it.
        dry_run: Show the voucher and what it would cost, and change nothing.
    """
    return change.delete(reference, fecha, yes=yes, dry_run=dry_run)


@app.command(name="change-date")
def change_date(
    reference: str, fecha: date, vencimiento: date, *, yes: Yes = False, dry_run: Flag = False
) -> Coroutine[Any, Any, int]:
    """Change a voucher's dates, which re-processes it; billed, so it asks first.

    Args:
        reference: The voucher's external_reference.
        fecha: Its new date (YYYY-MM-DD).
        vencimiento: Its new due date.
        yes: Do not ask; without a terminal nothing billed starts without it.
        dry_run: Show the voucher and what it would cost, and change nothing.
    """
    return change.change_date(reference, fecha, vencimiento, yes=yes, dry_run=dry_run)


@app.command(name="triage")
def triage_(*texts: str, inbox: Path | None = None, json: Json = False) -> Coroutine[Any, Any, int]:
    """Tell which remedy helps.

    Args:
        texts: The error's texts.
        inbox: Instead of texts: the errored vouchers of this inbox.
        json: One JSON object a line.
    """
    return queue.advise(texts, inbox, as_lines=json)


@journal.command(name="show")
def journal_show(file: Path, *, json: Json = False) -> Coroutine[Any, Any, int]:
    """Show how many vouchers ended how; with --json, each row.

    Args:
        file: The journal.
        json: One JSON object a line.
    """
    return queue.show_journal(file, as_lines=json)


@webhooks.command(name="serve")
def webhooks_serve(
    *,
    inbox: Path = Path("webhooks.db"),
    port: int = 8400,
    token: Annotated[tuple[str, ...], Parameter(env_var="TUSFACTURAS_WEBHOOK_TOKEN")] = (),
) -> Coroutine[Any, Any, None]:
    """Receive webhooks on 127.0.0.1, print each, and keep them; put your tunnel in front.

    Args:
        inbox: The file that keeps them.
        port: Where to listen; 0 for any free port.
        token: The point of sale's webhook token; give several while one replaces another. Better in the
            environment variable than on the command line, which other users of the machine can see.
    """
    if not any(token):
        raise UsageError("set the environment variable TUSFACTURAS_WEBHOOK_TOKEN to the webhook's token")
    return serve(list(token), inbox, port)


@sandbox.command(name="serve")
def sandbox_serve(file: str, *, port: int = 8401) -> Coroutine[Any, Any, None]:
    """Serve a sandbox on 127.0.0.1, with the vouchers that FILE names, all errored.

    Args:
        file: As for reprocess.
        port: Where to listen; 0 for any free port.
    """
    rows = read_references(file, "external_reference").rows
    return queue.serve_sandbox([row.reference for row in rows], port)


@app.meta.default
def launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    lang: str | None = None,
    debug: Flag = False,
) -> int:
    """Run one command.

    Args:
        tokens: The command.
        lang: en or es; the locale's when left out.
        debug: Show tracebacks.
    """
    try:
        if lang not in {None, *LANGUAGES}:
            raise UsageError(f"--lang must be one of {', '.join(LANGUAGES)}")
        choose(lang)
        work = app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
        return asyncio.run(interruptible(work)) or FINE if asyncio.iscoroutine(work) else FINE
    except Exception as error:
        status = _status(error)
        if status is None:
            raise
        if debug:
            tell(visible_lines("".join(traceback.format_exception(error))))
        elif not isinstance(error, OutputLostError) or status:
            tell(f"tusfacturas: {visible_lines(str(error))}", "red")
        return status


def _status(error: Exception) -> int | None:
    """What to end with; ``None`` for an error of our own making, which is shown whole."""
    match error:
        case OutputLostError():  # a reader that has enough, as `head`, is no error
            return FINE if error.closed else NOT_WRITTEN
        case UsageError() | CycloptsError() | JournalError() | OSError() | ValueError():
            return BAD_USAGE
        case TusFacturasError():
            return SOME_NOT
    return None


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit status."""
    try:
        return int(
            app.meta(arguments, exit_on_error=False, print_error=False, result_action="return_value") or FINE
        )
    except CycloptsError as error:
        tell(f"tusfacturas: {visible_lines(str(error))}", "red")
        return BAD_USAGE
    except Interrupted as error:
        return ended_by(error.number)
    except KeyboardInterrupt:
        return INTERRUPTED


def prepare() -> None:
    """Make this process a command line's: nothing that it prints by itself commands a terminal either."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # as `ls` does, rather than fail at the last line
    logging.basicConfig(handlers=[Log()], format="%(levelname)s: %(message)s")
    sys.excepthook = lambda kind, error, trace: tell(
        visible_lines("".join(traceback.format_exception(kind, error, trace)))
    )

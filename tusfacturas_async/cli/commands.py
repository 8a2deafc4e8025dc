"""The commands and their options, as English tells them; ``spanish`` has the same in Spanish.

What they do is in the modules beside this one, which command a line of words means in ``app``.
"""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from . import change, serve, show
from .options import Options
from .references import COLUMN, read_references
from .status import UsageError
from .sweep import sweep
from .texts import say

Yes = Annotated[bool, Parameter(name=("--yes", "-y"))]
Quiet = Annotated[bool, Parameter(name=("--quiet", "-q"))]
Port = Annotated[int, Parameter(validator=Number(gte=0, lt=2**16))]
WebhookToken = Annotated[str | None, Parameter(env_var="TUSFACTURAS_WEBHOOK_TOKEN")]


def reprocess(
    file: Annotated[Path | None, Parameter(allow_leading_hyphen=True)] = None,
    /,
    *,
    errored_since: date | None = None,
    until: date | None = None,
    column: str = COLUMN,
    lane_column: tuple[str, ...] = (),
    in_order: bool = False,
    any_characters: bool = False,
    encoding: str | None = None,
    check_first: bool = False,
    failed: bool = False,
    journal: Path | None = None,
    output: Annotated[tuple[Path, ...], Parameter(allow_leading_hyphen=True)] = (),
    json: bool = False,
    report: Path | None = None,
    concurrency: int = 10,
    interval: float = 0.1,
    wait_maintenance: float | None = None,
    dry_run: bool = False,
    yes: Yes = False,
    quiet: Quiet = False,
    sandbox: bool = False,
) -> Coroutine[Any, Any, int]:
    """Re-send every voucher that FILE names, or that is errored, and tell what became of each.

    Each re-send is billed, so it asks first. Exit status: 0 all accepted or nothing to do, 1 some not,
    2 bad usage, 3 results could not be written, 130 interrupted.

    For example, a rehearsal that bills nothing; the night's sweep; and once more what did not end well:

      $ tusfacturas reprocess references.txt --sandbox
      $ tusfacturas reprocess --errored-since 2026-03-18 --journal sweep.journal --output results.csv
      $ tusfacturas reprocess results.csv --failed

    Args:
        file: A text file with one external_reference a line, a CSV file with a header, an earlier --output or
            journal, or - for standard input.
        errored_since: Instead of a file: what is errored from this date (YYYY-MM-DD), in the vendor's order.
        until: The last date for --errored-since; the first one alone when left out.
        column: The CSV column with the references.
        lane_column: A CSV column that tells the lane: rows with the same value are re-sent one at a time, in
            their order. Give it twice for the vendor's order: --lane-column punto_venta --lane-column tipo.
        in_order: Re-send everything one at a time, in the order given.
        any_characters: Take references with characters that are not allowed, for vouchers that exist already.
        encoding: How the file is written, as cp1252; left out: UTF-8, or UTF-16 where its beginning says so.
        failed: Of an earlier --output or a journal, only what did not end well.
        check_first: Look all up first, free of charge, and re-send only what is errored.
        journal: A file that remembers what was sent: run again with it after a crash, nothing is repeated.
        output: Write each result to this .jsonl or .csv file as it ends; may be given twice. With - each is
            one JSON object on standard output.
        json: The same as --output -.
        report: Write a page of HTML in the end.
        concurrency: Requests in flight at most.
        interval: Seconds between the starts of two requests.
        wait_maintenance: Seconds to wait for the end of maintenance, at most; it stops at it when left out.
        dry_run: Tell what would be sent and what it would cost, and send nothing.
        yes: Do not ask; without a terminal nothing billed starts without it.
        quiet: No progress and no table: the sums and what went wrong alone.
        sandbox: Call an embedded stand-in for the service, with these vouchers in mixed states.
    """
    return sweep(Options(**locals()))


def lookup(
    *references: str,
    file: Annotated[Path | None, Parameter(allow_leading_hyphen=True)] = None,
    column: str = COLUMN,
    encoding: str | None = None,
    json: bool = False,
) -> Coroutine[Any, Any, int]:
    """Show vouchers by reference, free of charge; exit status 1 when nobody has one of them.

    For example:

      $ tusfacturas lookup pedido-1 pedido-2
      $ tusfacturas lookup --file references.txt --json

    Args:
        references: What to look up.
        file: Also those that this file names, as for reprocess; - for standard input.
        column: The CSV column with the references.
        encoding: How the file is written, as cp1252.
        json: One JSON object a line.
    """
    rows = () if file is None else read_references(str(file), column, encoding=encoding)
    return show.lookup([*references, *(row.reference for row in rows)], as_lines=json)


def check() -> Coroutine[Any, Any, int]:
    """Show whether the service takes these credentials, free of charge; exit status 1 when it does not.

    For example, with those of ~/.config/tusfacturas/shop.env:

      $ tusfacturas check --profile shop
    """
    return show.check()


def errored(since: date, until: date | None = None, /, *, json: bool = False) -> Coroutine[Any, Any, int]:
    """Show what is errored, in the order of first sending, free of charge.

    For example:

      $ tusfacturas errored 2026-03-17 2026-03-19

    Args:
        since: The first date (YYYY-MM-DD).
        until: The last date; the first one alone when left out.
        json: One JSON object a line.
    """
    return show.errored(since, until, as_lines=json)


def delete(
    reference: str, fecha: date, /, *, yes: Yes = False, dry_run: bool = False
) -> Coroutine[Any, Any, int]:
    """Delete a voucher from the queue; billed, so it asks first.

    For example:

      $ tusfacturas delete pedido-2 2026-03-18 --dry-run

    Args:
        reference: The voucher's external_reference.
        fecha: The voucher's date (YYYY-MM-DD).
        yes: Do not ask; without a terminal nothing billed starts without it.
        dry_run: Show the voucher and what it would cost, and change nothing.
    """
    return change.delete(reference, fecha, yes=yes, dry_run=dry_run)


def change_date(
    reference: str, fecha: date, vencimiento: date, /, *, yes: Yes = False, dry_run: bool = False
) -> Coroutine[Any, Any, int]:
    """Change a voucher's dates, which re-processes it; billed, so it asks first.

    For example:

      $ tusfacturas change-date pedido-1 2026-03-19 2026-04-19

    Args:
        reference: The voucher's external_reference.
        fecha: Its new date (YYYY-MM-DD).
        vencimiento: Its new due date.
        yes: Do not ask; without a terminal nothing billed starts without it.
        dry_run: Show the voucher and what it would cost, and change nothing.
    """
    return change.change_date(reference, fecha, vencimiento, yes=yes, dry_run=dry_run)


def triage(*texts: str, inbox: Path | None = None, json: bool = False) -> Coroutine[Any, Any, int]:
    """Tell which remedy helps, from the texts of an error or from an inbox of webhooks.

    For example:

      $ tusfacturas triage "Cod. Error: #6661145.10036 - El campo FchVtoPago ..."
      $ tusfacturas triage --inbox webhooks.db

    Args:
        texts: The error's texts.
        inbox: Instead of texts: the errored vouchers of this inbox.
        json: One JSON object a line.
    """
    return show.advise(texts, inbox, as_lines=json)


def journal_show(file: Path, /, *, json: bool = False) -> Coroutine[Any, Any, int]:
    """Show how many vouchers ended how; with --json, each row.

    For example:

      $ tusfacturas journal show sweep.journal

    Args:
        file: The journal.
        json: One JSON object a line.
    """
    return show.journal(file, as_lines=json)


def webhooks_serve(
    *,
    inbox: Path = Path("webhooks.db"),
    port: Port = 8400,
    token: Annotated[tuple[str, ...], Parameter(env_var="TUSFACTURAS_WEBHOOK_TOKEN")] = (),
) -> Coroutine[Any, Any, None]:
    """Receive webhooks on 127.0.0.1, print each, and keep them; put your tunnel in front.

    For example, with the token that the service shows:

      $ TUSFACTURAS_WEBHOOK_TOKEN=... tusfacturas webhooks serve --inbox webhooks.db

    Args:
        inbox: The file that keeps them.
        port: Where to listen; 0 for any free port.
        token: The point of sale's webhook token; give several while one replaces another. Better in the
            environment variable than on the command line, which other users of the machine can see.
    """
    if not any(token):
        raise UsageError(say("no webhook token"))
    return serve.webhooks(list(token), inbox, port)


def sandbox_serve(
    file: Path, /, *, port: Port = 8401, webhook: str | None = None, webhook_token: WebhookToken = None
) -> Coroutine[Any, Any, None]:
    """Serve a sandbox on 127.0.0.1, with the vouchers that FILE names, all errored, and a console.

    For example, with its webhooks to the receiver of another terminal:

      $ tusfacturas sandbox serve references.txt --webhook http://127.0.0.1:8400/

    Args:
        file: As for reprocess.
        port: Where to listen; 0 for any free port.
        webhook: The URL that its webhooks go to.
        webhook_token: The token that they carry.
    """
    rows = read_references(str(file), COLUMN)
    return serve.sandbox([row.reference for row in rows], port, webhook, webhook_token)

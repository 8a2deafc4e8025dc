"""The commands and their options. What they do is in the modules beside this one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, CycloptsError, Parameter
from rich.console import Console

from ..errors import JournalError
from .references import UsageError, read_references
from .sweep import Options, sweep
from .webhooks import serve

if TYPE_CHECKING:
    from collections.abc import Sequence

app: App = App(name="tusfacturas", help="Re-send the errored vouchers of a TusFacturasAPP queue.")


webhooks: App = App(name="webhooks", help="Receive what the service tells by itself.")
app.command(webhooks)


@app.command
def reprocess(
    file: Annotated[str, Parameter(allow_leading_hyphen=True)],
    *,
    sandbox: Annotated[bool, Parameter(negative="")] = False,
    column: str = "external_reference",
    lane_column: tuple[str, ...] = (),
    journal: Path | None = None,
    check_first: Annotated[bool, Parameter(negative="")] = False,
    concurrency: int = 10,
    interval: float = 0.1,
) -> int:
    """Re-send every voucher that FILE names, and tell what became of each.

    Without --sandbox the real service is called and each call is billed; the credentials come from
    TUSFACTURAS_APIKEY, TUSFACTURAS_APITOKEN and TUSFACTURAS_USERTOKEN.

    Args:
        file: A text file with one external_reference a line, a CSV file with a header, or - for stdin.
        sandbox: Call an embedded stand-in for the service, with these vouchers in mixed states.
        column: The CSV column with the references.
        lane_column: A CSV column that tells the lane: rows with the same value are re-sent one at a time, in
            their order. Give it twice for the vendor's order: --lane-column punto_venta --lane-column tipo.
        journal: A file that remembers what was sent: run again with it after a crash, nothing is repeated.
        check_first: Look all up first, free of charge, and re-send only what is errored.
        concurrency: Requests in flight at most.
        interval: Seconds between the starts of two requests.
    """
    rows = read_references(file, column, lane_column)
    options = Options(
        sandbox=sandbox, journal=journal, check_first=check_first, concurrency=concurrency, interval=interval
    )
    return asyncio.run(sweep(rows, options))


@webhooks.command(name="serve")
def webhooks_serve(
    *,
    inbox: Path = Path("webhooks.db"),
    port: int = 8400,
    token: Annotated[tuple[str, ...], Parameter(env_var="TUSFACTURAS_WEBHOOK_TOKEN")] = (),
) -> int:
    """Receive webhooks on 127.0.0.1, print each, and keep them; put your tunnel in front.

    Args:
        inbox: The file that keeps them.
        port: Where to listen; 0 for any free port.
        token: The point of sale's webhook token; give several while one replaces another. Better in the
            environment variable than on the command line, which other users of the machine can see.
    """
    if not any(token):
        raise UsageError("set the environment variable TUSFACTURAS_WEBHOOK_TOKEN to the webhook's token")
    try:
        asyncio.run(serve(list(token), inbox, port))
    except KeyboardInterrupt:
        return 130
    return 0


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit status."""
    console = Console(stderr=True)
    try:
        status = app(arguments, exit_on_error=False, error_console=console, result_action="return_value")
    except CycloptsError:
        return 2  # cyclopts has told what is wrong
    except (UsageError, JournalError, OSError, ValueError) as error:
        console.print(f"tusfacturas: {error}", style="red", markup=False, highlight=False)
        return 2
    return int(status or 0)

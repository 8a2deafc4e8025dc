"""The commands and their options. What they do is in the modules beside this one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, CycloptsError, Parameter
from rich.console import Console

from .references import UsageError, read_references
from .sweep import sweep

if TYPE_CHECKING:
    from collections.abc import Sequence

app: App = App(name="tusfacturas", help="Re-send the errored vouchers of a TusFacturasAPP queue.")


@app.command
def reprocess(
    file: Annotated[str, Parameter(allow_leading_hyphen=True)],
    *,
    sandbox: Annotated[bool, Parameter(negative="")] = False,
    column: str = "external_reference",
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
        concurrency: Requests in flight at most.
        interval: Seconds between the starts of two requests.
    """
    references = read_references(file, column)
    return asyncio.run(sweep(references, sandbox=sandbox, concurrency=concurrency, interval=interval))


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit status."""
    console = Console(stderr=True)
    try:
        status = app(arguments, exit_on_error=False, error_console=console, result_action="return_value")
    except CycloptsError:
        return 2  # cyclopts has told what is wrong
    except (UsageError, ValueError) as error:
        console.print(f"tusfacturas: {error}", style="red", markup=False, highlight=False)
        return 2
    return int(status or 0)

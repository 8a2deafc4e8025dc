"""Which command a line of words means, in which language, and what it ends with."""

from __future__ import annotations

import asyncio
import io
import logging
import signal
import sys
import traceback
from itertools import islice, pairwise
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import App, CycloptsError, Group, Parameter
from rich.console import Console

from .. import __version__
from ..errors import JournalError, TusFacturasError
from . import commands, connection, fleet
from .completion import Shell, scripted
from .help import HelpText, ManualPage
from .reasons import reason
from .screen import Log, OutputLostError, StandardOutput, fill_in_closed_streams, put_line, tell
from .signals import SignalledError, interruptible
from .spanish import in_spanish
from .status import BAD_USAGE, FINE, NOT_WRITTEN, SOME_NOT, UsageError, ended_by
from .texts import LANGUAGES, choose, language, say
from .usage import explain
from .visible import visible_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def completion(shell: Shell, /) -> None:
    """Print what teaches a shell these commands.

    For example, once for bash, zsh or fish:

      $ tusfacturas completion bash > ~/.local/share/bash-completion/completions/tusfacturas
      $ tusfacturas completion zsh > ~/.zfunc/_tusfacturas
      $ tusfacturas completion fish > ~/.config/fish/completions/tusfacturas.fish

    Args:
        shell: Which shell.
    """
    put_line(scripted(build(), shell, {path.split()[0] for path in _COMMANDS if " " in path}))


def manual() -> None:
    """Print the page of the manual.

    For example:

      $ tusfacturas manual > ~/.local/share/man/man1/tusfacturas.1
    """
    put_line(manual_page())


_COMMANDS: Final[Mapping[str, Callable[..., Any]]] = {
    "reprocess": commands.reprocess,
    "lookup": commands.lookup,
    "errored": commands.errored,
    "check": commands.check,
    "delete": commands.delete,
    "change-date": commands.change_date,
    "triage": commands.triage,
    "journal show": commands.journal_show,
    "webhooks serve": commands.webhooks_serve,
    "sandbox serve": commands.sandbox_serve,
    "fleet migrate": fleet.migrate,
    "fleet submit": fleet.submit,
    "fleet status": fleet.status,
    "fleet results": fleet.results,
    "fleet worker": fleet.worker,
    "completion": completion,
    "manual": manual,
}


def build(formatter: HelpText | ManualPage | None = None) -> App:
    """The commands, their help in the chosen language."""
    purpose = say("help tusfacturas")
    groups = {
        f"group_{kind}": Group(say(f"help {kind}"), sort_key=order)
        for order, kind in enumerate(("commands", "arguments", "parameters"))
    }
    app = App(
        name="tusfacturas",
        help=f"{purpose[0].upper()}{purpose[1:]}.",
        version=__version__,
        help_format="plaintext",
        console=Console(file=StandardOutput()),  # type: ignore[arg-type]
        help_formatter=formatter or HelpText(),
        default_parameter=Parameter(negative=()),
        **groups,  # type: ignore[arg-type]
    )
    for place, (path, function) in enumerate(_COMMANDS.items()):
        *group, name = path.split()
        parent = app
        for each in group:
            if each not in parent:
                parent.command(App(name=each, help=say(f"help {each}"), sort_key=place))
            parent = parent[each]
        parent.command(_told(function), name=name, sort_key=place)
    app.meta.group_parameters = Group(say("help everywhere"), sort_key=len(groups))
    app.meta.default(_told(launch))
    for flag in ("--help", "--version"):
        app[flag].help = say(f"help {flag}")
    return app


def _told(function: Callable[..., Any]) -> Callable[..., Any]:
    return in_spanish(function) if language() == "es" else function


def launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    lang: str | None = None,
    profile: str | None = None,
    env_file: Path | None = None,
    base_url: str | None = None,
    timeout: float = 30.0,
    debug: bool = False,  # noqa: ARG001 - `run` has looked
) -> int:
    """Run one command.

    Args:
        tokens: The command.
        lang: en or es; the locale's when left out.
        profile: The credentials of ~/.config/tusfacturas/PROFILE.env.
        env_file: The credentials of this file: lines as TUSFACTURAS_APIKEY=1134, and the same with APITOKEN
            and USERTOKEN. Without a file they come from the environment.
        base_url: Where the service is; TUSFACTURAS_BASE_URL does the same.
        timeout: Seconds for each attempt.
        debug: Show tracebacks.
    """
    if lang not in {None, *LANGUAGES}:
        raise UsageError(say("no language", languages=", ".join(LANGUAGES)))
    if not 0 < timeout < inf:
        raise UsageError(say("out of range", option="--timeout"))
    connection.choose(
        connection.Choice(profile=profile, env_file=env_file, base_url=base_url, timeout=timeout)
    )
    work = build()(tokens, exit_on_error=False, print_error=False, result_action="return_value")
    return asyncio.run(interruptible(work)) or FINE if asyncio.iscoroutine(work) else FINE


def manual_page() -> str:
    """The page of the manual: every command's help, as roff."""
    app = build(ManualPage())
    page = io.StringIO()
    console = Console(file=page, width=10_000, color_system=None)
    page.write(f'.TH TUSFACTURAS 1 "" "tusfacturas-async {__version__}"\n.SH {say("help name")}\n')
    page.write(f"tusfacturas \\- {say('help tusfacturas')}\n")
    page.write('.SH "TUSFACTURAS"\n')
    app.meta(["--help"], console=console, result_action="return_value")
    for path in _COMMANDS:
        page.write(f'.SH "TUSFACTURAS {path.upper()}"\n')
        app.help_print(path.split(), console=console)
    lines = (line.rstrip() for line in page.getvalue().split("\n"))
    return "\n".join(line for line in lines if line)


def _common_first(arguments: Sequence[str]) -> list[str]:
    """Options of every command, put first: a FILE may begin with a hyphen, as ``-`` does, and take them."""
    assert launch.__kwdefaults__ is not None  # noqa: S101 - it has those options
    common = {f"--{name.replace('_', '-')}": default for name, default in launch.__kwdefaults__.items()}
    first: list[str] = []
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        name, value, _ = word.partition("=")
        if word == "--":
            rest += [word, *words]
        elif name not in common:
            rest.append(word)
        else:
            first.append(word)
            if not value and common[name] is not False:
                first += islice(words, 1)
    return first + rest


def _asked(arguments: Sequence[str]) -> str | None:
    """The language that the command line asks for, so that its own errors are told in it."""
    for option, following in pairwise([*arguments, ""]):
        name, _, value = option.partition("=")
        if name == "--lang":
            return value or following
    return None


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
    choose(_asked(arguments))
    try:
        words = _common_first(arguments)
        status = build().meta(words, exit_on_error=False, print_error=False, result_action="return_value")
        return int(status or FINE)
    except SignalledError as error:
        return ended_by(error.number)
    except KeyboardInterrupt:  # before there is a loop
        return ended_by(signal.SIGINT)
    except Exception as error:
        ended = _status(error)
        if ended is None:
            raise
        if "--debug" in arguments:
            tell(visible_lines("".join(traceback.format_exception(error))))
        elif ended:
            why = explain(error) if isinstance(error, CycloptsError) else reason(error)
            tell(f"tusfacturas: {visible_lines(why)}", "red")
        return ended


def prepare() -> None:
    """Make this process a command line's: nothing that it prints by itself commands a terminal either."""
    fill_in_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # as `ls` does, rather than fail at the last line
    logging.basicConfig(handlers=[Log()], format="%(levelname)s: %(message)s")
    sys.excepthook = lambda kind, error, trace: tell(
        visible_lines("".join(traceback.format_exception(kind, error, trace)))
    )

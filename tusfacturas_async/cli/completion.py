"""What teaches a shell the commands: cyclopts makes it, here is mended what a Tab key showed to be wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from .texts import say

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cyclopts import App

Shell: TypeAlias = Literal["bash", "zsh", "fish"]

_AT: Final = "__fish_tusfacturas_using_command"
"""The script's own question of where the cursor is; fish's takes the value of ``--lang`` for a command."""


def scripted(app: App, shell: Shell, groups: Iterable[str]) -> str:
    """The script for ``shell``; ``groups`` are the words behind which only another command can stand."""
    script = app.generate_completion(prog_name="tusfacturas", shell=shell)
    for flag, told in (
        ("help", "Display this message and exit."),
        ("version", "Display application version."),
    ):
        script = script.replace(told, say(f"help --{flag}"))
    if shell == "bash":
        script = script.replace("complete -F", "complete -o filenames -F")  # a folder is gone into
    elif shell == "zsh":
        script = script.replace("_cyclopts_", "_")  # it calls the function that is named as its file
    else:
        script = script.replace("__fish_use_subcommand", f"'{_AT}'")
        for place in (_AT, *(f"{_AT} {group}" for group in sorted(groups))):
            script += f"complete -c tusfacturas -n '{place}' -f\n"  # no file stands where a command must
    return script.rstrip()

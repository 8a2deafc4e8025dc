"""Where the commands find the service: its URL and the credentials, from the environment or from a file."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from ..client import BASE_URL, AsyncClient
from ..models import SECRETS, Credentials
from .screen import tell
from .status import UsageError
from .texts import say, system

if TYPE_CHECKING:
    from collections.abc import Mapping

_BASE_URL: Final = "TUSFACTURAS_BASE_URL"
_LINE: Final = re.compile(r"\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*?)\s*")


@frozen(kw_only=True)
class Choice:
    """What the options that every command has say of the service.

    Attributes:
        profile: The name of a file in ``~/.config/tusfacturas``.
        env_file: A file of lines as ``TUSFACTURAS_APIKEY=1134``.
        base_url: Where the service is, before what the file or the environment says.
        timeout: Seconds for each attempt.
    """

    profile: str | None = None
    env_file: Path | None = None
    base_url: str | None = None
    timeout: float = 30.0


_chosen = Choice()


def choose(choice: Choice) -> None:
    """Set what every command goes by."""
    global _chosen  # noqa: PLW0603 - one command line, one service
    _chosen = choice


@frozen
class Service:
    """A host, and the point of sale that calls it."""

    base_url: str
    credentials: Credentials

    @classmethod
    def chosen(cls) -> Service:
        """As the options say, or the environment.

        Credentials come from one place alone: half of one file and half of the environment would be a third
        point of sale.

        Raises:
            UsageError: A credential is missing, or the file cannot be read.
        """
        values = variables()
        if missing := [name for name in SECRETS.values() if not values.get(name, "").strip()]:
            raise UsageError(say("no credentials", count=len(missing), names=", ".join(missing)))
        return cls(base_url(values), Credentials.from_env(values))

    def client(self, **options: Any) -> AsyncClient:
        """A client of it.

        Raises:
            ValueError: An option is out of range.
        """
        return AsyncClient(self.credentials, base_url=self.base_url, timeout=_chosen.timeout, **options)


def timeout() -> float:
    """Seconds for each attempt."""
    return _chosen.timeout


def base_url(values: Mapping[str, str] | None = None) -> str:
    """Where the service is: as the option says, or the file, or the environment."""
    told = (variables() if values is None else values).get(_BASE_URL)
    return _chosen.base_url or told or os.environ.get(_BASE_URL) or BASE_URL


def variables() -> Mapping[str, str]:
    """The chosen file's, or the environment's.

    Raises:
        UsageError: The file cannot be read, or there is no such profile.
    """
    if _chosen.profile is not None and _chosen.env_file is not None:
        raise UsageError(say("profile or file"))
    if _chosen.profile is not None:
        return _of_file(_profile(_chosen.profile))
    return os.environ if _chosen.env_file is None else _of_file(_chosen.env_file)


def _profile(name: str) -> Path:
    folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "tusfacturas"
    path = folder / f"{name}.env"
    if not re.fullmatch(r"[\w.-]+", name) or not path.is_file():
        known = sorted(each.stem for each in folder.glob("*.env"))
        raise UsageError(say("no profile", name=name, path=path, known=", ".join(known) or "-"))
    return path


def _of_file(path: Path) -> Mapping[str, str]:
    """Each ``NAME=value`` of a file; quotation marks around a value are taken off, nothing is expanded."""
    try:
        lines = path.read_text("utf-8-sig").splitlines()
        mode = path.stat().st_mode
    except OSError as error:
        raise UsageError(say("cannot read", path=path, why=system(error.errno))) from error
    except UnicodeDecodeError as error:
        raise UsageError(
            say("wrong encoding", path=path, encoding=error.encoding, byte=error.start)
        ) from error
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        tell(say("others read", path=path), "yellow")
    found = (_LINE.fullmatch(line) for line in lines)
    return {each[1]: _unquoted(each[2]) for each in found if each is not None}


def _unquoted(value: str) -> str:
    for mark in ("'", '"'):
        if len(value) > 1 and value[0] == value[-1] == mark:
            return value[1:-1]
    return value.split(" #", 1)[0].rstrip()

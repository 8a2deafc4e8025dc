"""The command line: the only part of the package that prints. It needs the extra ``cli``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run ``tusfacturas``; ``status`` says what it exits with."""
    try:
        from .app import prepare, run  # noqa: PLC0415 - the core does not install what this needs
    except ModuleNotFoundError as error:
        sys.exit(f"tusfacturas needs {error.name}: pip install 'tusfacturas-async[cli]'")
    prepare()
    sys.exit(run(sys.argv[1:]))

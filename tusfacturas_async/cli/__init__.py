"""The command line: the only part of the package that prints. It needs the extra ``cli``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run ``tusfacturas``; exits with 0 (all accepted or nothing to do), 1 (some not) or 2 (bad usage)."""
    try:
        from .app import run  # noqa: PLC0415 - the core does not install what this needs
    except ModuleNotFoundError as error:
        sys.exit(f"tusfacturas needs {error.name}: pip install 'tusfacturas-async[cli]'")
    sys.exit(run(sys.argv[1:]))

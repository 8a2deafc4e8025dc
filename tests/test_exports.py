"""The public surface: pinned, sorted, importable without the extras."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from importlib import metadata

import pytest

import tusfacturas_async


def test_public_names_are_sorted_and_exist() -> None:
    """``__all__`` is the contract."""
    names = tusfacturas_async.__all__
    assert list(names) == sorted(names)
    assert [name for name in names if not hasattr(tusfacturas_async, name)] == []


def test_the_version_is_the_distributions() -> None:
    """It stands in one place, and importing it costs nothing."""
    assert tusfacturas_async.__version__ == metadata.version("tusfacturas-async")


def test_the_core_imports_no_extra() -> None:
    """Importing the package loads nothing that only an extra installs."""
    core = set(loaded_by("httpx, attrs, tenacity"))
    ours = {name for name in loaded_by("tusfacturas_async") if name not in core}
    foreign = {name.partition(".")[0] for name in ours} - {"tusfacturas_async"} - sys.stdlib_module_names
    assert foreign == set()
    assert not {
        name for name in ours if name.startswith(("tusfacturas_async.cli.", "tusfacturas_async.sandbox"))
    }


def test_what_few_use_is_loaded_when_it_is_asked_for() -> None:
    """The import alone loads no client, no database, no HTTP; every name and room is there all the same."""
    assert not {"asyncio", "h11", "httpx", "sqlite3"} & set(loaded_by("tusfacturas_async"))
    assert not {"h11", "sqlite3"} & set(loaded_by("tusfacturas_async; tusfacturas_async.AsyncClient"))
    assert "sqlite3" not in loaded_by("tusfacturas_async; tusfacturas_async.receive_webhook")
    observers = set(loaded_by("tusfacturas_async.instrumentation as i; i.PrometheusObserver"))
    assert not {"opentelemetry", "prometheus_client", "asyncio", "httpx"} & observers
    code = "import tusfacturas_async as t; print(t.webhooks.Inbox is t.Inbox, t.journal.Journal is t.Journal)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "True True\n"
    with pytest.raises(AttributeError, match="no attribute 'Jurnal'"):
        tusfacturas_async.Jurnal  # noqa: B018
    assert callable(tusfacturas_async.triage), "the function, not the module of its name"


def test_no_python_warns_of_what_we_use() -> None:
    """Every module, and the main job as a process of its own, with each warning an error."""
    modules = pkgutil.walk_packages(tusfacturas_async.__path__, "tusfacturas_async.")
    code = f"import {', '.join(module.name for module in modules if '__main__' not in module.name)}"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
    sweep = ["-m", "tusfacturas_async", "reprocess", "-", "--sandbox", "--yes"]
    command = [sys.executable, "-W", "error", *sweep]
    done = subprocess.run(command, input="pedido-1001\n", capture_output=True, text=True, check=False)
    assert (done.returncode, "Warning" in done.stderr) == (0, False), done.stderr


def loaded_by(names: str) -> list[str]:
    code = f"import sys, {names}; print(*sys.modules)"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()


def test_the_nouns_keep_their_old_addresses() -> None:
    """``Evidence``, ``Attempt`` and ``ErrorDetail`` moved below the errors that hold them."""
    from tusfacturas_async import errors, evidence, models, results  # noqa: PLC0415

    assert (results.Evidence, results.Attempt) == (evidence.Evidence, evidence.Attempt)
    assert models.ErrorDetail is errors.ErrorDetail


def test_the_command_without_its_extra_says_what_to_install() -> None:
    """One line, no traceback."""
    code = "import sys; sys.modules['cyclopts'] = None; from tusfacturas_async.cli import main; main()"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr.count("\n")) == (1, 1)
    assert "pip install 'tusfacturas-async[cli]'" in run.stderr

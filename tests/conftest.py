"""What many tests need: a policy that does not make them wait, ways of a request, kinds of event loops."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from xdist.scheduler import LoadGroupScheduling  # type: ignore[import-untyped]

from tests.helpers import WAYS, take_way
from tests.loops import LOOPS
from tusfacturas_async import RetryPolicy
from tusfacturas_async._http import parsing
from tusfacturas_async.cli.texts import choose


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--loop", choices=LOOPS, default="plain", help="the kind of event loop")


def pytest_configure(config: pytest.Config) -> None:
    LOOPS[config.getoption("loop")]()


class _SiteOnOneWorker(LoadGroupScheduling):  # type: ignore[misc]
    """Every test by itself, to whoever is free; those of the site to one: each worker would build it anew.

    xdist's own groups would say so, but they rename tests, which pytest 9 no longer lets them.
    """

    def _split_scope(self, nodeid: str) -> str:
        file, _, _ = nodeid.partition("::")
        return file if file.endswith("test_site.py") else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _SiteOnOneWorker:
    return _SiteOnOneWorker(config, log)


@pytest.fixture(scope="session", autouse=True)
def covered_processes() -> str | None:
    """What lets coverage look into processes that a test starts: into the command line's alone.

    Others are killed over and over, or their imports are counted.
    """
    return os.environ.pop("COVERAGE_PROCESS_CONFIG", None)


@pytest.fixture
def hasty() -> RetryPolicy:
    """Four attempts, hardly a wait between them."""
    return RetryPolicy(attempts=4, backoff=0.002, max_retry_after=0.01)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Every client that names no transport of its own goes this way."""
    take_way(request.param, monkeypatch)
    yield request.param
    parsing.syntax.cache_clear()


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is logged: records of thousands of paths would take more time and memory than the paths."""
    caplog.set_level("CRITICAL", "tusfacturas_async")


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts are compared in English, whatever a test before chose, and whatever this machine's locale is."""
    monkeypatch.setenv("LC_ALL", "C")
    choose("en")

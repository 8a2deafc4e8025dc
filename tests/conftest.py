"""What many tests need: a policy that does not make them wait."""

from __future__ import annotations

import pytest

from tusfacturas_async import RetryPolicy
from tusfacturas_async.cli.texts import choose


@pytest.fixture
def hasty() -> RetryPolicy:
    """Four attempts, hardly a wait between them."""
    return RetryPolicy(attempts=4, backoff=0.002, max_retry_after=0.01)


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts are compared in English, whatever a test before chose, and whatever this machine's locale is."""
    monkeypatch.setenv("LC_ALL", "C")
    choose("en")

"""What many tests need: a policy that does not make them wait."""

from __future__ import annotations

import pytest

from tusfacturas_async import RetryPolicy


@pytest.fixture
def hasty() -> RetryPolicy:
    """Four attempts, hardly a wait between them."""
    return RetryPolicy(attempts=4, backoff=0.002, max_retry_after=0.01)

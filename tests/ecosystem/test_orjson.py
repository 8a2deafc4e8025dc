"""orjson: ``default=jsonable``."""

from __future__ import annotations

import orjson
import pytest

from tests.samples import ALL
from tusfacturas_async import Data, jsonable


@pytest.mark.parametrize("told", ALL, ids=lambda told: type(told).__name__)
def test_default(told: Data) -> None:
    """Alone, and inside of what is the caller's own."""
    assert orjson.loads(orjson.dumps({"mine": [told]}, default=jsonable)) == {"mine": [told.to_dict()]}

"""msgspec: it writes most attrs classes by itself, field by field, so data is made first."""

from __future__ import annotations

import msgspec
import pytest

from tests.samples import ALL, ENCOLADO, REJECTED
from tusfacturas_async import Data, Voucher, jsonable


@pytest.mark.parametrize("told", ALL, ids=lambda told: type(told).__name__)
def test_data_first(told: Data) -> None:
    """``msgspec.json.encode(jsonable(…))``, and MessagePack likewise."""
    assert msgspec.json.decode(msgspec.json.encode(jsonable([told]))) == [told.to_dict()]
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(told.to_dict())) == told.to_dict()


def test_enc_hook_alone_gives_the_fields() -> None:
    """What ``reference/data.md`` says of it: whole results; of other classes the fields, with ``raw``."""
    told = msgspec.json.decode(msgspec.json.encode([REJECTED], enc_hook=jsonable))
    assert told == [REJECTED.to_dict()]
    told = msgspec.json.decode(msgspec.json.encode(Voucher("pedido-1", "NEW"), enc_hook=jsonable))
    assert ("raw" in told, "errored" in told) == (True, False)
    with pytest.raises(TypeError, match="object"):
        msgspec.json.encode(ENCOLADO, enc_hook=jsonable)  # the raw of this one is no JSON

"""structlog, and a JSON formatter of the standard library's logging: every ``extra`` field is kept."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from tusfacturas_async.instrumentation import LoggingObserver
from tusfacturas_async.sandbox import Sandbox


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What a handler writes that renders standard records by structlog, as its documentation sets it up."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    chain: list[Any] = [structlog.stdlib.add_log_level, structlog.stdlib.ExtraAdder()]
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=chain,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logger = logging.getLogger("tests.structlog")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    yield stream
    logger.removeHandler(handler)


async def test_fields_are_kept(written: io.StringIO) -> None:
    """As one line of JSON, with the outcome, the attempts and all."""
    observer = LoggingObserver(logging.getLogger("tests.structlog"))
    async with Sandbox(["ref"]) as sandbox, sandbox.client(observers=[observer]) as client:
        await client.reprocess("ref")
    (line,) = written.getvalue().splitlines()
    told = json.loads(line)
    assert (told["level"], told["outcome"], told["settled_by"]) == ("info", "accepted", "response")
    assert (told["external_reference"], told["billed_calls"]) == ("ref", 1)
    assert told["attempts"][0]["status_code"] == 200
    assert told["event"].startswith("reprocess of ref: accepted")

"""What a user's own parts raise in a batch: it drops nothing, it hangs nothing, and it is told at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable, Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.virtual import run
from tusfacturas_async import AsyncClient, BatchReport, Journal, NotSentError, Outcome, Voucher, VoucherStatus
from tusfacturas_async.sandbox import SANDBOX_CREDENTIALS as CREDENTIALS
from tusfacturas_async.sandbox import Sandbox

REFERENCES = [f"r{n}" for n in range(20)]
IN_FLIGHT = 5


class Strange(Exception):  # noqa: N818 - a user names theirs as they like
    """A user's own."""


async def broken_by(
    last: object, path: Path, lane: Callable[[Any], Hashable] | None = None
) -> tuple[BaseException, BatchReport]:
    """Re-send 20, five at once; once five are in flight the input raises its last item, or gives it."""
    async with Sandbox(REFERENCES, latency=0.05) as sandbox:

        async def references() -> AsyncIterator[Any]:
            for reference in REFERENCES:
                yield reference
            while sandbox.most_in_flight < IN_FLIGHT:
                await asyncio.sleep(0.001)
            if isinstance(last, BaseException):
                raise last
            yield last

        async with sandbox.client(max_concurrency=IN_FLIGHT) as client, Journal.open(path) as journal:
            with pytest.raises(BaseException) as raised:  # noqa: PT011 - which one is what the tests compare
                await client.reprocess_all(references(), journal=journal, lane=lane)
            recorded = await journal.summary()
    assert sandbox.queue.resent == sorted(sandbox.queue.resent)
    assert (len(sandbox.queue.resent), recorded) == (IN_FLIGHT, {"accepted": IN_FLIGHT})
    report: BatchReport = raised.value.report  # type: ignore[attr-defined]
    assert report.billed_calls == sandbox.queue.billed_calls == IN_FLIGHT
    return raised.value, report


@pytest.mark.parametrize(
    "error", [Strange("mine"), ValueError("mine"), asyncio.CancelledError("mine"), SystemExit(3)], ids=repr
)
async def test_an_input_that_raises(error: BaseException, tmp_path: Path) -> None:
    """In flight is finished and recorded, taken is HELD, and the very error comes out, with the report."""
    raised, report = await broken_by(error, tmp_path / "journal")
    assert raised is error
    assert report.counts == {Outcome.ACCEPTED: 5, Outcome.HELD: 15}


def test_what_was_taken_before_the_input_raised_is_held() -> None:
    """Also where nothing was begun: nobody knows what the input would have given next."""

    def references() -> Iterator[str]:
        yield "a"
        raise Strange("the database went away")

    async def main() -> list[tuple[str, Outcome]]:
        results = []
        async with Sandbox(["a"]) as sandbox, sandbox.client() as client:
            with pytest.raises(Strange, match="database"):
                async with client.reprocess_many(references()) as batch:
                    async for result in batch:
                        results.append((result.external_reference, result.outcome))  # noqa: PERF401
            assert sandbox.queue.billed_calls == 0
        return results

    assert run(main()) == [("a", Outcome.HELD)]


class Later:
    """An awaitable that is no coroutine."""

    def __await__(self) -> Iterator[None]:
        yield


def raising(_: object) -> Hashable:
    raise Strange("no lane for this one")


@pytest.mark.parametrize(
    ("key", "error"),
    [(raising, Strange), (lambda _: [], TypeError), (lambda _: Later(), TypeError)],
    ids=["raises", "unhashable", "awaitable"],
)
async def test_a_lane_that_goes_wrong(
    key: Callable[[str], Hashable], error: type[Exception], tmp_path: Path
) -> None:
    """As an input that raises; the reference that has no lane was taken, and is HELD, too."""
    raised, report = await broken_by(
        "bad", tmp_path / "journal", lambda given: key(given) if given == "bad" else given
    )
    assert type(raised) is error
    assert report.counts == {Outcome.ACCEPTED: 5, Outcome.HELD: 16}


class Incomparable:
    """A hashable key whose comparison raises."""

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        raise Strange("not to be compared")


@pytest.mark.parametrize("check_first", [False, True])
async def test_a_key_that_cannot_be_compared(*, check_first: bool) -> None:
    """Its own error comes out, out of no group, and nothing hangs."""
    async with Sandbox(["a", "b"]) as sandbox, sandbox.client() as client, asyncio.timeout(10):
        with pytest.raises(Strange, match="compared"):
            await client.reprocess_all(["a", "b"], lane=lambda _: Incomparable(), check_first=check_first)


def test_two_errors_are_one_with_a_note() -> None:
    """The first one is raised, and names the other."""

    async def references() -> AsyncIterator[str]:
        try:
            for reference in REFERENCES:
                yield reference
                await asyncio.sleep(1)
        finally:
            raise ValueError("and the input could not be closed")

    async def main() -> None:
        async with Sandbox(REFERENCES) as sandbox, sandbox.client() as client:
            batch = client.reprocess_many(references())
            with pytest.raises(Strange) as raised:
                async with batch:
                    await asyncio.sleep(2)
                    batch._works._fail(Strange("first"))
                    batch.stop()
                    async for _ in batch:
                        pass
            assert raised.value.__notes__ == [
                "another error of the same batch: ValueError: and the input could not be closed"
            ]

    run(main())


# -- in the middle of the sending -----------------------------------------------------------------


class Whimsical(Journal):
    """A user's own journal, which raises once what no journal should."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.whims: dict[str, BaseException] = {}

    async def _whim(self, name: str) -> None:
        if (error := self.whims.pop(name, None)) is not None:
            if name == "sending":  # until the others are in flight
                await asyncio.sleep(0.1)
            raise error

    async def rows(self, *given: Any) -> Any:
        await self._whim("rows")
        return await super().rows(*given)

    async def sending(self, *given: Any, **options: Any) -> Any:
        await self._whim("sending")
        return await super().sending(*given, **options)

    async def record(self, *given: Any) -> Any:
        await self._whim("record")
        return await super().record(*given)


@pytest.mark.parametrize("error", [Strange("mine"), asyncio.CancelledError("mine")], ids=repr)
@pytest.mark.parametrize(
    ("where", "counts"),
    [
        ("rows", {Outcome.HELD: 20}),
        ("sending", {Outcome.ACCEPTED: 4, Outcome.HELD: 16}),
        ("record", {Outcome.ACCEPTED: 5, Outcome.HELD: 15}),
    ],
)
async def test_what_raises_in_the_sending(
    error: BaseException, where: str, counts: dict[Outcome, int], tmp_path: Path
) -> None:
    """What did not leave is HELD, what did is told as it ended, with what it cost; the rest is HELD."""
    async with (
        Sandbox(REFERENCES, latency=0.2) as sandbox,
        sandbox.client(max_concurrency=IN_FLIGHT) as client,
        Whimsical(tmp_path / "journal") as journal,
        asyncio.timeout(10),
    ):
        journal.whims[where] = error
        with pytest.raises(type(error)) as raised:
            await client.reprocess_all(REFERENCES, journal=journal)
    assert raised.value is error
    report = error.report  # type: ignore[attr-defined]
    assert (report.counts, report.billed_calls) == (counts, sandbox.queue.billed_calls)


class Cancelling(httpx.AsyncBaseTransport):
    """A user's own transport, whose first requests end in a ``CancelledError`` of its own making."""

    def __init__(self, inner: httpx.AsyncBaseTransport, times: int) -> None:
        self._inner = inner
        self._times = times

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._times -= 1
        if self._times >= 0:
            future = asyncio.get_running_loop().create_future()
            future.cancel()
            await future
        return await self._inner.handle_async_request(request)


def test_a_transport_that_raises_cancelled_error() -> None:
    """Nobody cancelled us: it is a failed attempt like any other, and settled like it."""

    async def main() -> tuple[dict[Outcome, int], set[str | None]]:
        async with Sandbox([*REFERENCES, "alone"]) as sandbox:
            transport = Cancelling(sandbox.transport(), 8)
            async with AsyncClient(CREDENTIALS, transport=transport) as client:
                report = await client.reprocess_all(REFERENCES)
                transport._times = 1
                alone = await client.reprocess("alone")
            assert [attempt.error is None for attempt in alone.attempts] == [False, True]
            assert sandbox.queue.billed_calls == 21
        return dict(report.counts), {result.settled_by for result in report.results}

    assert run(main()) == ({Outcome.ACCEPTED: 20}, {"response"})


def test_a_transport_that_is_really_cancelled_passes_it_on() -> None:
    """Then it is ours to end."""

    async def main() -> None:
        async with Sandbox(["a"], latency=10) as sandbox, sandbox.client() as client:
            call = asyncio.create_task(client.reprocess("a"))
            await asyncio.sleep(1)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert asyncio.get_running_loop().time() == 1

    run(main())


# -- the report -----------------------------------------------------------------------------------


def test_a_cancelled_call_has_its_report() -> None:
    """What ended until then, what was in flight included."""

    async def main() -> BatchReport:
        async with Sandbox(REFERENCES, latency=10.0) as sandbox, sandbox.client(max_concurrency=5) as client:
            task = asyncio.create_task(client.reprocess_all(REFERENCES))
            await asyncio.sleep(15)
            task.cancel()
            with pytest.raises(asyncio.CancelledError) as raised:
                await task
        report: BatchReport = raised.value.report  # type: ignore[attr-defined]
        return report

    report = run(main())
    assert report.counts == {Outcome.ACCEPTED: 10, Outcome.HELD: 10}
    assert all(isinstance(r.error, NotSentError) for r in report.results if r.outcome is Outcome.HELD)


class Closed(Exception):  # noqa: N818
    """A user's own that takes no attribute."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)


def test_an_error_that_takes_no_attribute_has_it_in_words() -> None:
    """The numbers, at least."""

    def references() -> Iterator[str]:
        yield from REFERENCES
        raise Closed("mine")

    async def main() -> Closed:
        async with Sandbox(REFERENCES) as sandbox, sandbox.client() as client:
            with pytest.raises(Closed, match="mine") as raised:
                await client.reprocess_all(references())
        return raised.value

    assert run(main()).__notes__ == ["the batch until then: 20 held"]


# -- wrong arguments ------------------------------------------------------------------------------


async def coroutine_lane(_: object) -> str:
    return "a"


@pytest.mark.parametrize(
    ("references", "says"),
    [
        ("pedido-1001", "one str: pass [reference]"),
        (b"pedido-1001", "one bytes: pass [reference]"),
        (bytearray(b"pedido"), "one bytearray: pass [reference]"),
        (Voucher("pedido-1001", VoucherStatus.ERRORED), "one Voucher: pass [reference]"),
        (7, "not int"),
        (None, "not NoneType"),
        (coroutine_lane, "not function"),
        (list, "not the class list"),
    ],
    ids=lambda value: repr(value).partition(" at 0x")[0],
)
async def test_references_of_a_wrong_kind(references: Any, says: str) -> None:
    """A text is iterable, too: its letters were billed. It is told at the call, before anything is sent."""
    async with Sandbox(["pedido-1001"]) as sandbox, sandbox.client() as client:
        for call in (client.reprocess_many, client.reprocess_all):
            with pytest.raises(TypeError) as raised:
                outcome = call(references)
                await outcome  # type: ignore[misc]
            assert says in str(raised.value)
    assert sandbox.queue.billed_calls == 0


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"lane": "tipo"}, TypeError, "lane must be a callable"),
        ({"lane": coroutine_lane}, TypeError, "lane must be a plain function"),
        ({"journal": "x.j"}, TypeError, "Journal.open(path)"),
        ({"journal": Path("x.j")}, TypeError, "Journal.open(path)"),
        ({"journal": Journal}, TypeError, "not the class Journal"),
        ({"check_first": "no"}, TypeError, "check_first must be True or False"),
        ({"wait_maintenance": "60"}, TypeError, "wait_maintenance must be a number of seconds"),
        ({"wait_maintenance": True}, TypeError, "wait_maintenance must be a number of seconds"),
        ({"wait_maintenance": -1}, ValueError, "wait_maintenance must be 0 or more"),
        ({"wait_maintenance": float("nan")}, ValueError, "wait_maintenance must be 0 or more"),
    ],
    ids=lambda value: repr(value).partition(" at 0x")[0],
)
async def test_options_of_a_wrong_kind(options: dict[str, Any], error: type[Exception], says: str) -> None:
    """Each is told where it is given, and what to give instead."""
    async with Sandbox(["a"]) as sandbox, sandbox.client() as client:
        with pytest.raises(error) as raised:
            client.reprocess_many(["a"], **options)
        assert says in str(raised.value)
        with pytest.raises(error):
            await client.reprocess_all(["a"], **options)
    assert sandbox.queue.billed_calls == 0


async def test_what_may_be_given() -> None:
    """Any iterable of references, a mapping's keys included, and every number of seconds."""
    async with Sandbox(["a"]) as sandbox, sandbox.client() as client:
        given: Iterable[Any]
        for given in (["a"], ("a",), {"a": 1}, {"a"}, iter(["a"])):
            report = await client.reprocess_all(given, wait_maintenance=float("inf"))
            assert len(report.results) == 1

"""``AsyncClient``: what a backend awaits. The work is done in ``_call`` and ``batch``."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Hashable, Iterable
from contextlib import asynccontextmanager, closing
from copy import copy
from datetime import date, datetime
from typing import TYPE_CHECKING, Final, Self, TypeVar

from ._call import clock
from ._call.call import call, share
from ._call.channel import Channel
from ._call.line import Line
from ._call.lookup import lookup, lookup_pages, lookup_whole
from ._call.operations import Operation, change_date, delete, resend
from ._call.retry import RetryPolicy
from ._call.waiting import Deadline
from ._cancellation import shelter
from ._checks import check_seconds, check_whole
from ._http.library import AsyncTransport, HttpClient
from ._http.transport import Transport
from ._rooms import Later
from ._wire.codec import Search
from .batch import Batch
from .instrumentation import LoggingObserver, Observer
from .instrumentation.observers import Observers
from .models import Credentials, Reference, ReprocessRequest, Voucher
from .results import BatchReport, CallResult, DateChangeResult, DeletionResult, ReprocessResult

if TYPE_CHECKING:
    from ._batch import recorder as recorders
    from .webhooks import confirmations as confirming
    from .webhooks.confirmations import Confirmations
else:
    recorders = Later("tusfacturas_async._batch.recorder")
    confirming = Later("tusfacturas_async.webhooks.confirmations")

OBSERVERS: Final = (LoggingObserver(),)
"""Who is told where nobody was named: the log."""

MOST_AT_ONCE: Final = 10_000
"""Requests in flight: each has a connection, and closing asks for every place."""

MOST_NUMBER: Final = 99_999_999
"""Of a voucher: it has eight digits."""

T = TypeVar("T", bound=Reference)
R = TypeVar("R", bound=CallResult)

BASE_URL = "https://www.tusfacturas.app/app/api/"
"""The service's only host; it has no sandbox of its own (seed)."""


class AsyncClient:
    """Re-sends errored vouchers, and tells the truth about each.

    One client serves a whole process: create it at start-up, ``async with`` it, share it among all tasks of
    the event loop. Cancelling a caller harms no other.

    Args:
        credentials: One set is one *punto de venta*; see ``with_credentials`` for more.
        base_url: Where the service is. ``http://`` is taken for loopback hosts only, unless ``allow_http``.
        max_concurrency: Requests in flight over the whole client, held only while sending.
        min_interval: Seconds between request starts of one set of credentials (vendor, 2025: "at least
            about 100 ms"); 0 switches it off.
        timeout: Seconds per attempt, counted from the moment it holds its slot (the vendor's samples: 30).
        deadline: Seconds for one whole call with its retries, waits and lookups; ``None`` for no end.
        retry: How often and how patiently a call tries.
        http_client: An ``httpx.AsyncClient`` of yours to send everything by, with its hooks, mounts, proxies,
            certificates and default headers; never closed here. Its ``auth`` is not used, and redirects are
            not followed.
        transport: An ``httpx.AsyncBaseTransport`` instead of our own slots, closed with the client; or a
            callable that makes one for each slot, of which ``DirectTransport`` is the fastest. httpx2's are
            taken as well.
        allow_http: Take an ``http://`` URL of any host, with a warning: for a stand-in in a closed network
            (docker-compose's ``http://wiremock:8080/``): the credentials travel unencrypted.
        observers: Who is told of attempts, waits, lookups and results (``instrumentation``), instead of a
            ``LoggingObserver``.

    Raises:
        TypeError: An argument is of a wrong kind; the message names it, and what is taken.
        ValueError: An argument is out of range; the message names it.
        TypeError: An observer has none of the methods, or one that is async.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        base_url: str = BASE_URL,
        max_concurrency: int = 10,
        min_interval: float = 0.1,
        timeout: float = 30.0,
        deadline: float | None = None,
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - it is frozen
        http_client: HttpClient | None = None,
        transport: AsyncTransport | Callable[[], AsyncTransport] | None = None,
        allow_http: bool = False,
        observers: Iterable[Observer] = OBSERVERS,
    ) -> None:
        check_whole("max_concurrency", max_concurrency, most=MOST_AT_ONCE)
        check_seconds("min_interval", min_interval, zero=True)
        check_seconds("timeout", timeout)
        if deadline is not None:
            check_seconds("deadline", deadline, otherwise=", or None")
        if not isinstance(retry, RetryPolicy):
            raise TypeError(f"retry must be a RetryPolicy, not {type(retry).__name__}")
        self._line = Line(
            Transport(base_url, transport=transport, http_client=http_client, allow_http=allow_http),
            max_concurrency=max_concurrency,
            min_interval=min_interval,
            timeout=timeout,
            policy=retry,
            base_url=base_url,
            observers=Observers(observers),
        )
        self._channel = Channel.of(self._line, credentials)
        self._seconds = deadline
        self._confirmations: Confirmations | None = None
        self._closed = False
        self._owns_line = True

    @property
    def timeout(self) -> float:
        """Seconds per attempt."""
        return self._line.timeout

    @property
    def min_interval(self) -> float:
        """Seconds between request starts of one set of credentials."""
        return self._line.min_interval

    def with_credentials(self, credentials: Credentials) -> AsyncClient:
        """A client for another *punto de venta* that shares connections and ``max_concurrency``.

        Each set of credentials keeps its own spacing and cool-down, however many clients use it. The
        connections stay this client's: closing the other one closes only itself. Confirmations are one
        point of sale's: another's client waits for none until it is given its own.
        """
        channel = Channel.of(self._line, credentials)
        same = channel is self._channel  # an event does not say whose it is
        return self._beside(channel, self._confirmations if same else None)

    def _beside(self, channel: Channel, confirmations: Confirmations | None) -> AsyncClient:
        """Another client over the same connections, which are not its to close."""
        other = copy(self)
        other._channel, other._confirmations, other._owns_line = channel, confirmations, False  # noqa: SLF001 - it is one of us
        return other

    @asynccontextmanager
    async def confirmations(
        self, inbox: confirming.Source, *, within: float = 30.0
    ) -> AsyncGenerator[AsyncClient, None]:
        """A client whose re-sends wait for their webhook; ``async with`` it.

        A result says ``settled_by="webhook"`` when the ``encolado`` event (or the ``emitido`` that follows
        it) of its reference came, also before the HTTP answer; a lost answer is settled by it, without
        another billed call. When none comes in time, the result is what it would have been.

        Args:
            inbox: Receives the webhooks of these credentials' point of sale, in this process.
            within: Seconds to wait after the answer, beside ``deadline``.
        """
        from .webhooks.confirmations import Confirmations  # noqa: PLC0415 - only who waits for webhooks loads their models

        check_seconds("within", within, zero=True)
        confirmations = Confirmations(within)
        confirmed = self._beside(self._channel, confirmations)
        unsubscribe = inbox.subscribe(confirmations.tell)
        try:
            yield confirmed
        finally:
            unsubscribe()
            await confirmed.aclose()

    async def reprocess(self, reference: Reference) -> ReprocessResult:
        """Re-send one errored voucher (``reenviar_encolado``). Each request that arrives is billed.

        Args:
            reference: The voucher's ``external_reference``.

        Returns:
            The result, its outcome ``ACCEPTED``: the voucher is in the queue again, or further.

        Raises:
            InvalidReferenceError: The reference breaks a rule; nothing was sent.
            VoucherNotFoundError: No errored voucher has it.
            RejectedError: The service refused it.
            MaintenanceError: The service is closed; see ``until``.
            AuthenticationError: HTTP 401 or 403.
            RateLimitError: HTTP 429 to the last attempt.
            UnexpectedResponseError: An answer that nobody documented.
            NotSentError: Nothing left this machine; safe to call again.
            OutcomeUnknownError: It may have arrived, and the lookup could not tell.
            RuntimeError: The client is closed, or belongs to another event loop.
        """
        self._check()
        return await self._call(resend(ReprocessRequest.of(reference)))

    async def delete(self, reference: Reference, fecha: date) -> DeletionResult:
        """Delete a voucher from the queue (``eliminar_encolado``); as truthful as ``reprocess``, and billed.

        Args:
            reference: The voucher's ``external_reference``.
            fecha: The voucher's date.

        Returns:
            The result, its outcome ``ACCEPTED``: the voucher is not in the queue any more.

        Raises:
            PartialDeletionError: Several vouchers have the reference, and not all could be deleted.
            ValueError: ``fecha`` is not a ``datetime.date``.
            TusFacturasError: As ``reprocess``.
        """
        self._check()
        return await self._call(delete(ReprocessRequest.of(reference), _date("fecha", fecha)))

    async def change_date(self, reference: Reference, fecha: date, vencimiento: date) -> DateChangeResult:
        """Change a voucher's dates (``cambiar_fecha_encolado``), which re-processes it by itself; billed.

        Args:
            reference: The voucher's ``external_reference``.
            fecha: Its new date.
            vencimiento: Its new due date, not before ``fecha`` (ARCA refuses that with 10036).

        Returns:
            The result, its outcome ``ACCEPTED``: the dates are changed, the voucher in the queue or further.

        Raises:
            ValueError: A date is not a ``datetime.date``, or the due date comes first.
            TusFacturasError: As ``reprocess``.
        """
        self._check()
        request = ReprocessRequest.of(reference)
        new, due = _date("fecha", fecha), _date("vencimiento", vencimiento)
        _require(due >= new, "vencimiento must not be before fecha: ARCA refuses it (10036)")
        return await self._call(change_date(request, new, due))

    async def _call(self, operation: Operation[R]) -> R:
        deadline, began_at = Deadline(self._seconds), clock.utcnow()
        result = await share(
            *(self._channel, operation, deadline),
            lambda doubtful: self._lead(operation, deadline, doubtful=doubtful),
        )
        self._channel.telling.end(operation.path, result, began_at)
        result.raise_for_outcome()
        return result

    async def _lead(self, operation: Operation[R], deadline: Deadline, *, doubtful: bool) -> R:
        if self._confirmations is None or operation.result is not ReprocessResult:
            return await call(self._channel, operation, deadline, doubtful=doubtful)
        with closing(self._confirmations.expect(operation.external_reference)) as expectation:
            result = await call(
                self._channel, operation, deadline, doubtful=doubtful, expectation=expectation
            )
            try:
                return await expectation.confirm(result)
            except BaseException:  # the caller leaves before it was told: asked for again, it is looked up
                self._channel.doubts.add(operation.request)
                raise

    async def lookup(self, *references: Reference) -> list[Voucher]:
        """Find vouchers by reference (``consulta_avanzada``), free of charge, in chunks of 100.

        Returns:
            The vouchers found; a reference that nobody has is simply not among them.

        Raises:
            InvalidReferenceError: A reference breaks a rule; nothing was sent.
            TusFacturasError: The service refused, or could not be asked.
            RuntimeError: The client is closed, or belongs to another event loop.
        """
        self._check()
        wanted = [ReprocessRequest.of(reference).external_reference for reference in references]
        return await lookup(self._channel, wanted, Deadline(self._seconds))

    def lookup_date(self, fecha: date) -> AsyncIterator[Voucher]:
        """Find the vouchers of one date, free of charge, newest first, page by page as they are taken.

        ``deadline`` bounds each page.

        Raises:
            ValueError: ``fecha`` is not a ``datetime.date``.
            TusFacturasError: While iterating: the service refused, or could not be asked.
        """
        self._check()
        return lookup_pages(self._channel, Search.of_date(_date("fecha", fecha)), self._seconds)

    def lookup_numbers(
        self, tipo: str, punto_venta: int, numero_desde: int, numero_hasta: int
    ) -> AsyncIterator[Voucher]:
        """Find the vouchers of a range of numbers, free of charge, page by page as they are taken.

        Args:
            tipo: As "FACTURA A".
            punto_venta: Point of sale.
            numero_desde: First number.
            numero_hasta: Last number.

        Raises:
            TypeError: A number is none.
            ValueError: The range is empty or not positive.
            TusFacturasError: While iterating: the service refused, or could not be asked.
        """
        self._check()
        for name, value in (
            ("punto_venta", punto_venta),
            ("numero_desde", numero_desde),
            ("numero_hasta", numero_hasta),
        ):
            check_whole(name, value, most=MOST_NUMBER)
        _require(
            0 < numero_desde <= numero_hasta, "numero_desde must be 1 or more, and not above numero_hasta"
        )
        search = Search.of_numbers(tipo, punto_venta, numero_desde, numero_hasta)
        return lookup_pages(self._channel, search, self._seconds)

    def errored(self, since: date, until: date | None = None) -> AsyncIterator[Voucher]:
        """Find the errored vouchers from one date to another, free of charge, in the order of first sending.

        The order holds within each *punto de venta* and *tipo* (the service's list of a date, reversed),
        which is what ``Voucher.lane`` is. One date is held in memory at a time.

        Args:
            since: The first date.
            until: The last date; ``None`` for ``since`` alone.

        Raises:
            ValueError: A date is not a ``datetime.date``, or the last comes first.
            TusFacturasError: While iterating: the service refused, or could not be asked.
        """
        first, last = _date("since", since), _date("until", since if until is None else until)
        _require(first <= last, "until must not be before since")
        return self._errored(first, last)

    async def _errored(self, first: date, last: date) -> AsyncGenerator[Voucher, None]:
        for ordinal in range(first.toordinal(), last.toordinal() + 1):
            self._check()
            search = Search.of_date(date.fromordinal(ordinal))
            for voucher in reversed(await lookup_whole(self._channel, search, self._seconds)):
                if voucher.errored:
                    yield voucher

    def reprocess_many(
        self,
        references: Iterable[T] | AsyncIterable[T],
        *,
        lane: Callable[[T], Hashable] | None = None,
        journal: recorders.Recorder | None = None,
        check_first: bool = False,
        wait_maintenance: float | None = None,
    ) -> Batch:
        """Re-send many, ``max_concurrency`` of them at once; ``async with`` and ``async for`` it.

        Args:
            references: ``str``, ``ReprocessRequest`` or ``Voucher``, from any iterable, asynchronous or not,
                read lazily.
            lane: From a reference, as it is given, to a hashable key. References of one lane go one at a
                time, in input order, and the lane stops (``HELD``) behind one that ended ``NOT_SENT`` or
                ``UNKNOWN``; lanes run side by side. A key of ``None`` asks for no order.
            journal: Remembers what was sent; what it knows as final comes out as ``SKIPPED``.
            check_first: Look all up first, free of charge, and re-send only what is errored.
            wait_maintenance: Seconds at most, over the whole batch, to wait for the end of maintenance;
                ``None`` stops at it.

        Raises:
            TypeError: An argument is of a wrong kind, as one text where many references belong.
            ValueError: ``wait_maintenance`` is out of range.
            RuntimeError: The client is closed, or belongs to another event loop.
        """
        self._check()
        return Batch(
            self._channel,
            references,
            deadline=self._seconds,
            lane=lane,
            journal=journal,
            check_first=check_first,
            wait_maintenance=wait_maintenance,
            confirmations=self._confirmations,
        )

    async def reprocess_all(
        self,
        references: Iterable[T] | AsyncIterable[T],
        *,
        lane: Callable[[T], Hashable] | None = None,
        journal: recorders.Recorder | None = None,
        check_first: bool = False,
        wait_maintenance: float | None = None,
    ) -> BatchReport:
        """``reprocess_many`` to the end, its results collected.

        Raises:
            TusFacturasError: What stopped the batch. Whatever leaves this call once it has begun, an error of
                the input's own and a cancellation included, has every result in its ``report``.
            TypeError: As ``reprocess_many``.
            ValueError: As ``reprocess_many``.
        """
        batch = self.reprocess_many(
            references, lane=lane, journal=journal, check_first=check_first, wait_maintenance=wait_maintenance
        )
        return await batch.collect()

    async def aclose(self) -> None:
        """Refuse new calls, let the requests in flight finish, and close every connection."""
        self._closed = True
        if self._owns_line:
            with shelter():
                await self._line.aclose()

    def _check(self) -> None:
        if self._closed:
            raise RuntimeError("this client is closed: create a new one")
        self._line.check()

    async def __aenter__(self) -> Self:
        self._check()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _require(condition: bool, message: str) -> None:  # noqa: FBT001 - it is the condition itself
    if not condition:
        raise ValueError(message)


def _date(name: str, value: object) -> date:
    """A plain date: a ``datetime`` would hide which zone's day is meant."""
    if not isinstance(value, date) or isinstance(value, datetime):
        raise ValueError(f"{name} must be a datetime.date, not {type(value).__name__}")  # noqa: TRY004 - as documented
    return value

"""One of each thing that the package tells, with nothing left out, for the tests of results as data."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

from tusfacturas_async import (
    Attempt,
    BatchReport,
    EncoladoWebhook,
    ErrorDetail,
    Evidence,
    JournalRow,
    Outcome,
    Progress,
    RejectedError,
    ReprocessResponse,
    ReprocessResult,
    TestWebhook,
    Voucher,
    VoucherStatus,
)

AT = datetime(2026, 7, 26, 5, 25, tzinfo=timezone(timedelta(hours=-3), "ART"))
RAW = {"the vendor's own": object()}
"""No JSON could carry it: ``raw`` must stay out."""

VOUCHER = Voucher(
    "pedido-1",
    VoucherStatus.SCHEDULED,
    scheduled_for=date(2026, 7, 27),
    tipo="FACTURA A",
    punto_venta=2,
    numero=6,
    fecha=date(2026, 7, 26),
    total=Decimal("1234.50"),
    cae="65301278726386",
    vencimiento_cae=date(2026, 8, 5),
    comprobante_pdf_url="https://example.test/1.pdf",
    raw=RAW,
)
ATTEMPT = Attempt(1, datetime(2026, 7, 26, 8, 25, tzinfo=UTC), 0.25, Evidence.ANSWERED, 200, "a reason")
RESPONSE = ReprocessResponse("S", ("no",), (ErrorDetail("TFC-8002", "no"),), True, AT, raw=RAW)
REJECTED = ReprocessResult(
    "pedido-1",
    Outcome.REJECTED,
    response=RESPONSE,
    settled_by="response",
    attempts=(ATTEMPT,),
    error=RejectedError("a reason", errores=("a reason",)),
    voucher=VOUCHER,
)
REPORT = BatchReport((REJECTED, ReprocessResult("pedido-2", Outcome.ACCEPTED, settled_by="lookup")))
PROGRESS = Progress({Outcome.ACCEPTED: 2}, 1, 3, None)
ENCOLADO = EncoladoWebhook(
    external_reference="pedido-1", created_at=AT, intento=1, msg=("a",), hook_id="x", creado="…", raw=RAW
)
ROW = JournalRow(
    fingerprint="0123456789abcdef",
    external_reference="pedido-1",
    outcome=None,
    settled_by=None,
    billed_calls=1,
    error=None,
    updated_at=AT,
)
ALL = (VOUCHER, ATTEMPT, RESPONSE, REJECTED, REPORT, PROGRESS, ENCOLADO, TestWebhook(), ROW)

"""What several test modules do alike."""

from __future__ import annotations

from tusfacturas_async import AsyncClient, BatchReport, ReprocessResult, TusFacturasError


async def ended(client: AsyncClient, reference: str = "ref") -> ReprocessResult:
    """The result of one reference, also where it stopped its batch."""
    try:
        report: BatchReport | None = await client.reprocess_all([reference])
    except TusFacturasError as error:
        report = error.report
    assert report is not None
    (result,) = report.results
    return result

"""What several test modules do alike."""

from __future__ import annotations

from tusfacturas_async import AsyncClient, ReprocessResult, TusFacturasError


async def ended(client: AsyncClient, reference: str = "ref") -> ReprocessResult:
    """The result of one reference, also where it stopped its batch."""
    try:
        report = await client.reprocess_all([reference])
    except TusFacturasError as error:
        assert error.report is not None
        report = error.report
    (result,) = report.results
    return result

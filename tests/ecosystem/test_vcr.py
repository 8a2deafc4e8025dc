"""vcrpy: a cassette is recorded once, replayed for ever, and holds no credential."""

from __future__ import annotations

from pathlib import Path

import vcr

from tests.ecosystem.counting import counting
from tests.helpers import ended
from tests.loopback.server import CREDENTIALS
from tusfacturas_async import Outcome

RECORDER = vcr.VCR(filter_post_data_parameters=["apikey", "apitoken", "usertoken"])


async def test_a_cassette_is_replayed_without_a_socket(tmp_path: Path) -> None:
    """Recorded over a real server; then the server hears nothing more, also of what is not on it."""
    cassette = str(tmp_path / "cassette.yaml")
    async with counting() as (server, client):
        with RECORDER.use_cassette(cassette):
            recorded = await client.reprocess("r0")
        assert server.resends == ["r0"]
        with RECORDER.use_cassette(cassette, record_mode="none"):
            replayed = await client.reprocess("r0")
            not_on_it = await ended(client, "r0")
        assert (recorded.outcome, replayed.outcome) == (Outcome.ACCEPTED, Outcome.ACCEPTED)
        assert not_on_it.outcome is Outcome.UNKNOWN
        assert server.resends == ["r0"]


async def test_a_cassette_holds_no_credential(tmp_path: Path) -> None:
    """vcrpy's own filter takes them out of the body; without it they are all there."""
    secrets = (CREDENTIALS.apitoken, CREDENTIALS.usertoken)
    found: list[list[str]] = []
    for recorder in (RECORDER, vcr.VCR()):
        cassette = tmp_path / f"{len(found)}.yaml"
        async with counting() as (_, client):
            with recorder.use_cassette(str(cassette)):
                await client.reprocess("r0")
        written = cassette.read_text()
        assert "r0" in written
        found.append([secret for secret in secrets if secret in written])
    assert found == [[], [*secrets]]

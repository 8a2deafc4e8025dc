"""Submitting, running, telling, cancelling, draining; and trouble that is shared."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("psycopg", reason="the extra `fleet` is not installed")

from procrastinate import App, PsycopgConnector
from psycopg_pool import PoolTimeout

from tests.fleet.postgres import Postgres
from tests.fleet.service import Service, credentials
from tests.fleet.test_fence import sql, take
from tusfacturas_async import (
    Credentials,
    InvalidReferenceError,
    JournalError,
    Outcome,
    ReprocessRequest,
    RetryPolicy,
)
from tusfacturas_async.fleet import Fleet, PostgresJournal, Worker

if TYPE_CHECKING:
    from tusfacturas_async.fleet.worker import Resolve

LANES = {"p": [["a1", "a2", "a3"], ["b1", "b2"]]}
ORDER = ["a1", "b1", "a2", "b2", "a3"]


@contextlib.asynccontextmanager
async def working(
    fleet: Fleet, service: Service, resolve: Resolve = credentials, **options: float
) -> AsyncIterator[Worker]:
    """A worker that works while the block lasts, and drains."""
    async with service.client(**options) as client:
        worker = Worker(fleet, client, resolve)
        running = asyncio.create_task(worker.run())
        try:
            yield worker
        finally:
            worker.stop()
            await asyncio.wait_for(running, 20)


async def until_done(fleet: Fleet, name: str | None = None) -> None:
    async with asyncio.timeout(120), contextlib.aclosing(fleet.watch(name)) as watching:
        async for progress in watching:
            if not progress.open:
                return


async def jobs(fleet: Fleet) -> int:
    """How many jobs of points of sale there are, whatever became of them."""
    found = await fleet.jobs.app.connector.execute_query_all_async(
        "SELECT count(*) AS count FROM procrastinate_jobs WHERE task_name = 'tusfacturas:run'"
    )
    return int(found[0]["count"])


async def test_submitted_in_a_backend_and_sent_by_a_worker(conninfo: str) -> None:
    """Each reference once, lanes in order, and every row tells what became of it."""
    async with Service(LANES) as service, Fleet(conninfo) as backend, Fleet(conninfo) as fleet:
        assert await backend.submit("p", ORDER, lane=lambda reference: reference[0]) == 5
        assert await backend.submit("p", ORDER, lane=lambda reference: reference[0]) == 0, "twice is once"
        async with working(fleet, service):
            await until_done(backend)
        rows = [row async for row in backend.results("p")]
        progress = await backend.progress("p")
    assert [row.external_reference for row in rows] == ORDER
    assert {row.outcome for row in rows} == {Outcome.ACCEPTED}
    assert (progress.counts, progress.billed_calls, progress.open) == ({"accepted": 5}, 5, 0)
    assert (service.disorder, service.blind, dict(service.sent)) == ([], [], dict.fromkeys(ORDER, 1))


async def test_what_is_there_already_keeps_its_lane(conninfo: str) -> None:
    """Submitted twice with other lanes, it stays in the order that it has; what is new gets the new lane."""
    async with Fleet(conninfo) as fleet:
        await fleet.submit("p", ["a", "b"], lane=lambda _: "first")
        assert await fleet.submit("p", ["c", "b", "a"], lane=lambda _: "second") == 1
        rows = [(row.external_reference, row.lane) async for row in fleet.results("p")]
    assert rows == [("a", '"first"'), ("b", '"first"'), ("c", '"second"')]


async def test_work_is_submitted_lazily_and_while_it_is_sent(conninfo: str) -> None:
    """What a generator has not given yet takes no room; what comes later is sent under the same lease."""
    given = 0

    async def references() -> AsyncIterator[str]:
        nonlocal given
        for number in range(25_000):
            given += 1
            yield f"r{number}"

    async with Fleet(conninfo) as fleet:
        submitting = asyncio.create_task(fleet.submit("p", references()))
        while (await fleet.progress()).open < 10_000:
            assert given < 25_000 or submitting.done()
            await asyncio.sleep(0.001)
        assert await submitting == 25_000


async def test_a_reference_that_cannot_be_sent_is_refused_at_the_door(conninfo: str) -> None:
    """Nothing of its chunk is taken in."""
    async with Fleet(conninfo) as fleet:
        with pytest.raises(InvalidReferenceError):
            await fleet.submit("p", ["good", "not good"])
        assert (await fleet.progress()).counts == {}


@pytest.mark.parametrize("wrong", ["pedido-1", ReprocessRequest("pedido-1"), b"pedido-1", 5, None])
async def test_what_is_no_list_of_references_is_refused(conninfo: str, wrong: Any) -> None:
    """The letters of one text would be billed, each as a reference."""
    async with Fleet(conninfo) as fleet:
        with pytest.raises(TypeError, match="references must be"):
            await fleet.submit("p", wrong)
        assert (await fleet.progress()).counts == {}


async def test_what_postgresql_cannot_hold_is_named(conninfo: str) -> None:
    """A reference with a NUL, a lane that JSON cannot carry, a lane whose keys nobody awaits."""
    async with Fleet(conninfo) as fleet:
        with pytest.raises(InvalidReferenceError, match=r"'a\\x00b' has a NUL"):
            await fleet.submit("p", [ReprocessRequest("a\0b", any_characters=True)])
        with pytest.raises(TypeError, match="a key that JSON can carry, not set"):
            await fleet.submit("p", ["a"], lane=lambda _: {1})  # type: ignore[arg-type,return-value]
        with pytest.raises(TypeError, match="lane must be a plain function"):
            await fleet.submit("p", ["a"], lane=fleet.cancel)  # type: ignore[arg-type]
        assert (await fleet.progress()).counts == {}


@pytest.mark.parametrize("name", ["", "a\0b", "\ud800", "x" * 501, 5, None])
async def test_what_is_no_name_is_refused_before_postgresql_is_asked(conninfo: str, name: Any) -> None:
    """PostgreSQL would tell it in its own words; a number would be written, and never found."""
    async with Fleet(conninfo) as fleet, Service(LANES) as service, service.client() as client:
        for asked in (
            fleet.submit(name, ["a"]),
            fleet.cancel(name),
            anext(fleet.results(name)),
            fleet.run(name, client, credentials("p")),
        ):
            with pytest.raises((TypeError, ValueError), match="name must"):
                await asked
        with pytest.raises((TypeError, ValueError), match="name must"):
            async with PostgresJournal.open(conninfo, name):
                pass


async def test_what_was_cancelled_and_submitted_anew_goes_in_its_new_order(conninfo: str) -> None:
    """The worker had read it in the old one, and sends on meanwhile."""
    async with Service({"p": [["a1", "a3", "a2"]]}) as service, Fleet(conninfo) as fleet:
        service.think = 0.2
        async with service.client() as client:
            await fleet.submit("p", ["a1", "a2", "a3"], lane=lambda _: "a")
            running = asyncio.create_task(fleet.run("p", client, credentials("p")))
            while not service.sent:
                await asyncio.sleep(0.01)
            assert await fleet.cancel("p") == 2
            await fleet.submit("p", ["a3", "a2"], lane=lambda _: "a")
            await running
    assert (list(service.sent), service.disorder) == (["a1", "a3", "a2"], [])


async def test_new_work_does_not_wait_for_what_made_no_headway(conninfo: str) -> None:
    """It was submitted while the run went on, and the pause of what is left open is not its own."""
    async with Service({"p": [["b"]]}) as service, Fleet(conninfo) as fleet:
        service.pause = 0.2
        async with service.client() as client:
            await fleet.submit("p", ["b"])
            running = asyncio.create_task(fleet.run("p", client, credentials("p")))
            while not service.refused:
                await asyncio.sleep(0.01)
            await fleet.submit("p", ["c"])
            await running
        assert (await fleet.progress()).counts == {"not_sent": 1, "waiting": 1}
        assert await sql(fleet, "SELECT resume_at FROM tusfacturas.point") == [(None,)]


async def test_who_watches_hears_of_what_no_worker_writes(conninfo: str) -> None:
    """What is submitted, taken back, or settled by a webhook; a burst of it is one word, and none is lost."""
    async with Fleet(conninfo) as fleet, Fleet(conninfo) as other, asyncio.timeout(20):
        async with contextlib.aclosing(fleet.watch("p")) as watching:
            assert (await anext(watching)).counts == {}
            for number in range(20):
                await other.submit("p", [f"r{number}"])
            while (progress := await anext(watching)).open < 20:
                assert progress.open, "it was told of nothing new"
            await other.cancel("p")
            assert (await anext(watching)).counts == {}


async def test_a_worker_that_is_cancelled_drains(conninfo: str) -> None:
    """It sends nothing once it has ended; what was in flight is recorded, and the lease is given back."""
    references = [f"r{number}" for number in range(40)]
    async with Service({"p": [[ref] for ref in references]}) as service, Fleet(conninfo) as fleet:
        service.think = 0.1
        await fleet.submit("p", references)
        async with service.client(min_interval=0.02) as client:
            running = asyncio.create_task(Worker(fleet, client, credentials).run())
            while len(service.sent) < 5:
                await asyncio.sleep(0.01)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            sent = len(service.sent)
            counts = (await fleet.progress()).counts
            await take(fleet)
            await asyncio.sleep(0.2)
    assert (counts["accepted"], len(service.sent)) == (sent, sent)
    assert "sending" not in counts


async def test_a_run_that_cannot_begin_gives_its_lease_back(conninfo: str) -> None:
    """Else it would be renewed for as long as the process lives."""
    async with Fleet(conninfo) as fleet:
        await fleet.submit("p", ["a"])
        with pytest.raises(AttributeError):
            await fleet.run("p", None, credentials("p"))  # type: ignore[arg-type]
        await take(fleet)


async def test_a_resolver_that_gives_no_credentials_is_told_so(
    conninfo: str, caplog: pytest.LogCaptureFixture
) -> None:
    """By the log of its job, which names the point of sale."""
    async with Service(LANES) as service, Fleet(conninfo) as fleet, service.client() as client:
        await fleet.submit("p", ["a1"])
        worker = Worker(fleet, client, lambda _: None)  # type: ignore[arg-type,return-value]
        running = asyncio.create_task(worker.run())
        async with asyncio.timeout(20):
            while "resolve('p') must give Credentials, not NoneType" not in caplog.text:
                await asyncio.sleep(0.05)
        worker.stop()
        await running


async def test_entering_while_postgresql_goes_away_is_told_as_such(
    conninfo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where Procrastinate's connections are those that fail."""
    fleet = Fleet(conninfo)

    async def fail() -> None:
        raise PoolTimeout("pool initialization incomplete")

    monkeypatch.setattr(fleet._app, "open_async", fail)
    with pytest.raises(JournalError, match="pool initialization incomplete"):
        async with fleet:
            pass


async def test_what_is_cancelled_is_not_sent_and_what_is_in_flight_ends(conninfo: str) -> None:
    """It is taken back while a worker sends it; submitted again it is new."""
    references = [f"r{number}" for number in range(50)]
    async with Service({"p": [references]}) as service, Fleet(conninfo) as fleet:
        await fleet.submit("p", references, lane=lambda _: 1)
        async with service.client(min_interval=0.05) as client:
            running = asyncio.create_task(fleet.run("p", client, credentials("p")))
            while len(service.sent) < 3:
                await asyncio.sleep(0.01)
            gone = await fleet.cancel("p")
            run = await running
        rows = [row async for row in fleet.results("p")]
        assert run is not None
        assert gone + len(rows) == 50
        assert {row.external_reference for row in rows} == set(service.sent)
        assert {row.outcome for row in rows} == {Outcome.ACCEPTED}
        assert await fleet.submit("p", references) == gone


async def test_what_a_dead_worker_left_is_looked_up_and_its_lane_waits(conninfo: str) -> None:
    """Other lanes go first; the one in doubt goes on when the first request had its time."""
    async with Service(LANES) as service, Fleet(conninfo) as dead, Fleet(conninfo) as fleet:
        await fleet.submit("p", ORDER, lane=lambda reference: reference[0])
        await take(dead)
        await sql(fleet, "UPDATE tusfacturas.work SET epoch = 1 WHERE reference = 'a1'")
        await sql(fleet, "UPDATE tusfacturas.point SET expires_at = clock_timestamp() - interval '1 second'")
        async with service.client(timeout=0.5) as client:
            run = await fleet.run("p", client, credentials("p"))
    assert run is not None
    assert run.counts == {Outcome.ACCEPTED: 5}
    assert list(service.sent) == ["b1", "b2", "a1", "a2", "a3"]
    assert (service.blind, service.disorder) == ([], [])


async def test_a_run_that_is_told_to_stop_leaves_nothing_sending(conninfo: str) -> None:
    """In flight is recorded, the lease is given back, and another goes on at once."""
    references = [f"r{number}" for number in range(40)]
    async with Service({"p": [[ref] for ref in references]}) as service, Fleet(conninfo) as one:
        service.think = 0.1
        await one.submit("p", references)
        async with Fleet(conninfo) as two, service.client(min_interval=0.02) as client:
            stop = asyncio.Event()
            running = asyncio.create_task(one.run("p", client, credentials("p"), stop=stop))
            while len(service.sent) < 10:
                await asyncio.sleep(0.01)
            stop.set()
            run = await running
            assert run is not None
            assert run.more
            assert "sending" not in (await one.progress()).counts
            sent = len(service.sent)
            async with working(two, service):
                began = time.monotonic()
                while len(service.sent) == sent:
                    await asyncio.sleep(0.01)
                took = time.monotonic() - began
                await until_done(two)
    print(f"another went on after {took:.2f} s")
    assert dict(service.sent) == dict.fromkeys(references, 1)


async def test_a_pause_is_kept_by_the_next_holder(conninfo: str) -> None:
    """A cool-down of a minute rides on the lease's row."""
    async with Service({"p": [["a"]]}) as service, Fleet(conninfo) as fleet:
        await fleet.submit("p", ["a"])
        service.pause = 60
        policy = RetryPolicy(attempts=1)
        async with service.client(retry=policy) as client:
            await fleet.run("p", client, credentials("p"))
        held = await take(fleet)
        assert 55 < held.cooling <= 60


async def test_a_pause_that_was_asked_for_last_is_given_back_with_the_lease(conninfo: str) -> None:
    """It is not lost because the lease ended before its renewal."""
    async with Fleet(conninfo) as fleet:
        held = await take(fleet)
        held.cool_down(60.0)
        await fleet._leases.give_back(held)
        assert 55 < (await take(fleet)).cooling <= 60


async def test_a_pause_is_written_before_the_lease_is_renewed(conninfo: str) -> None:
    """Whoever asked for it does not wait for the next renewal: the worker may die before."""
    async with Fleet(conninfo, lease=600.0) as fleet:
        held = await take(fleet)
        held.cool_down(60.0)
        async with asyncio.timeout(10):
            while not await sql(fleet, "SELECT 1 FROM tusfacturas.point WHERE cool_down_until > now()"):
                await asyncio.sleep(0.01)


async def test_maintenance_is_told_once_to_all(conninfo: str) -> None:
    """One point of sale is told, the others do not ask; a free lookup goes ahead when they try again."""
    points = {name: [[f"{name}-1"]] for name in ("p", "q", "r")}
    async with (
        Service(points) as service,
        Fleet(conninfo, lease=1.0) as one,
        Fleet(conninfo, lease=1.0) as two,
    ):
        service.maintenance = True
        for name, lanes in points.items():
            await one.submit(name, lanes[0])
        async with service.client() as client:
            await one.run("p", client, credentials("p"))
            held = await two._leases.take("q")
            assert held is not None
            await two._store.run(two._leases._renew_all)
            assert "mantenimiento" in (held.refusal() or "")
            await two._leases.give_back(held)
            await two.run("q", client, credentials("q"))
            assert service.refused == 1, "told once"
            service.maintenance = False
            await sql(one, "UPDATE tusfacturas.service SET closed_until = clock_timestamp()")
            await two._store.run(two._leases._renew_all)
            run = await two.run("r", client, credentials("r"))
            assert run is not None
            assert run.counts == {Outcome.ACCEPTED: 1}
            assert service.lookups >= 1


async def test_a_lost_job_is_deferred_anew(conninfo: str) -> None:
    """A point of sale with open rows, no lease and no job is found by the scan."""
    async with Service({"p": [["a"]]}) as service, Fleet(conninfo) as fleet:
        await fleet.submit("p", ["a"])
        await fleet.jobs.app.connector.execute_query_async("DELETE FROM procrastinate_jobs")
        await sql(fleet, "UPDATE tusfacturas.point SET woken_at = NULL")
        async with working(fleet, service):
            await until_done(fleet)
    assert dict(service.sent) == {"a": 1}


async def test_a_worker_outlasts_a_restart_of_postgresql(conninfo: str, postgres: Postgres) -> None:
    """Its connections are cut while it sends; all ends, and nothing is sent twice."""
    references = [f"r{number}" for number in range(60)]
    async with Service({"p": [[ref] for ref in references]}) as service, Fleet(conninfo, lease=3.0) as fleet:
        await fleet.submit("p", references)
        async with working(fleet, service, min_interval=0.02):
            while len(service.sent) < 10:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(postgres.restart, "immediate")
            await until_done(fleet)
    assert (service.left, service.blind, service.most_effects) == ([], [], 1)


async def test_what_cannot_be_worked_on_is_told_and_leaves_no_jobs_behind(conninfo: str) -> None:
    """Wrong credentials, of any kind: the others go on, and it is tried again ever more rarely."""
    wrong = {"unresolved", "no credentials", "twin", "refused"}

    def resolve(name: str) -> Credentials:
        match name if name in wrong else "":
            case "unresolved":
                raise PermissionError("the vault refuses the token hunter2")
            case "no credentials":
                return None  # type: ignore[return-value]
            case "twin":
                return credentials("fine")
        return credentials(name)

    async def told(count: int) -> dict[str, str]:
        async with asyncio.timeout(30):
            while len(troubles := (await fleet.progress()).troubles) < count:
                await asyncio.sleep(0.01)
        return dict(troubles)

    points = {name: [[f"{name}-1".replace(" ", "-")]] for name in ("fine", *wrong)}
    async with Service(points) as service, Fleet(conninfo) as fleet:
        service.locked_out = {"refused"}
        await fleet.submit("fine", points["fine"][0])
        async with working(fleet, service, resolve):
            await until_done(fleet, "fine")
            for name in sorted(wrong):
                await fleet.submit(name, points[name][0])
            troubles = await told(4)
            alone = await fleet.progress("twin")
            assert (await fleet.progress("fine")).troubles == {}
            for _ in range(3):  # it is due again
                await sql(
                    fleet, "UPDATE tusfacturas.point SET trouble = NULL, resume_at = NULL, woken_at = NULL"
                )
                troubles = await told(4)
            soonest = await sql(
                fleet,
                "SELECT min(extract(epoch FROM resume_at - clock_timestamp()))::float FROM tusfacturas.point",
            )
            async with asyncio.timeout(30):
                while await jobs(fleet):
                    await asyncio.sleep(0.01)
            wrong.clear()
            service.locked_out.clear()
            await sql(fleet, "UPDATE tusfacturas.point SET resume_at = NULL, woken_at = NULL")
            await until_done(fleet)
        progress = await fleet.progress()
    assert troubles == {
        "no credentials": "its job ended by TypeError: a worker's log says more",
        "refused": troubles["refused"],
        "twin": troubles["twin"],
        "unresolved": "its job ended by PermissionError: a worker's log says more",
    }
    assert "401" in troubles["refused"]
    assert "those of another point of sale" in troubles["twin"]
    assert dict(alone.troubles) == {"twin": troubles["twin"]}
    assert soonest[0][0] > 30, "5 seconds, 10, 20, 40"
    assert (progress.counts, progress.troubles) == ({"accepted": 5}, {})


async def test_what_another_worker_works_on_has_no_trouble(conninfo: str) -> None:
    """A worker without its credentials neither puts it off nor is believed, as long as that one has it."""
    async with Fleet(conninfo) as fleet:
        await fleet.submit("p", ["a"])
        held = await take(fleet)
        await fleet.jobs._put_off("p", KeyError("p"))
        await fleet._leases.give_back(held)
        assert (await fleet.progress()).troubles == {}
        await fleet.jobs._put_off("p", KeyError("p"))
        assert (await fleet.progress()).troubles == {
            "p": "its job ended by KeyError: a worker's log says more"
        }
        held = await take(fleet)
        assert (await fleet.progress()).troubles == {}
        await fleet._leases.give_back(held)
        assert set((await fleet.progress()).troubles) == {"p"}


async def test_one_fleet_has_several_workers_and_one_after_another(conninfo: str) -> None:
    """Each with its own resolver."""
    points = {"p": [["a"], ["b"]]}
    async with Service(points) as service, Fleet(conninfo) as fleet:
        for reference in ("a", "b"):
            async with working(fleet, service), working(fleet, service):
                await fleet.submit("p", [reference])
                await until_done(fleet)
    assert dict(service.sent) == {"a": 1, "b": 1}


async def test_a_killed_workers_jobs_are_removed(conninfo: str) -> None:
    """They stand as being done by a worker that sends no heartbeat; their work was deferred anew."""
    async with Service({"p": [["a"]]}) as service, Fleet(conninfo) as fleet:
        await fleet.submit("p", ["a"])
        await fleet.jobs.app.connector.execute_query_async("UPDATE procrastinate_jobs SET status = 'doing'")
        await sql(fleet, "UPDATE tusfacturas.point SET woken_at = NULL")
        async with working(fleet, service):
            await until_done(fleet)
            async with asyncio.timeout(30):
                while await jobs(fleet):
                    await asyncio.sleep(0.05)
    assert dict(service.sent) == {"a": 1}


async def test_it_registers_in_an_app_of_the_users_own(conninfo: str) -> None:
    """The blueprint's tasks run in a worker of theirs, with their tables."""
    app = App(connector=PsycopgConnector(conninfo=conninfo, min_size=1, max_size=2))
    async with app.open_async(), Service({"p": [["a"]]}) as service:
        await app.schema_manager.apply_schema_async()
        async with Fleet(conninfo, app=app) as fleet, service.client() as client:
            worker = Worker(fleet, client, credentials)
            app.add_tasks_from(worker.blueprint, namespace="tusfacturas")
            await fleet.submit("p", ["a"])
            await app.run_worker_async(wait=False, install_signal_handlers=False, queues=["tusfacturas"])
            assert (await fleet.progress()).counts == {"accepted": 1}


async def test_no_secret_is_stored(conninfo: str, postgres: Postgres, tmp_path: Path) -> None:
    """A dump of everything has none of the credentials, after trouble that tells of them."""
    me = credentials("p")

    def resolve(name: str) -> Credentials:
        if name == "q":
            raise PermissionError(f"{me.apitoken} is not valid")
        return credentials(name)

    async with Service({"p": [["a"], ["b"]]}, lost=0.5) as service, Fleet(conninfo) as fleet:
        await fleet.submit("p", ["a", "b", "not-there"])
        await fleet.submit("q", ["c"])
        async with working(fleet, service, resolve):
            while not service.sent or "q" not in (await fleet.progress()).troubles:
                await asyncio.sleep(0.01)
    dump = postgres.dump(conninfo.partition("dbname=")[2].partition(" ")[0])
    assert me.fingerprint in dump, "else nothing was dumped"
    assert not [secret for secret in (me.apikey, me.apitoken, me.usertoken) if secret in dump]


@pytest.mark.parametrize("wrong", [0, -1, True, 2.5, "50", None, 10**9])
def test_a_wrong_number_of_points_is_told(wrong: Any) -> None:
    """Procrastinate would take it, and hand out nothing, or fail for each job."""
    with pytest.raises((TypeError, ValueError), match=r"^points must be "):
        Worker(None, None, credentials, points=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [0, True, "15", None, float("nan")])
async def test_a_wrong_number_of_seconds_is_told_before_postgresql_is_asked(wrong: Any) -> None:
    """It would be told in PostgreSQL's words."""
    for argument in ("lease", "timeout"):
        with pytest.raises((TypeError, ValueError), match=f"^{argument} must be "):
            async with PostgresJournal.open("", "p", **{argument: wrong}):
                pass
    with pytest.raises((TypeError, ValueError), match=r"^lease must be "):
        Fleet("", lease=wrong)

"""What is examined in the background, over real workers, the real queue and both databases."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from agent import callbacks
from agent.database import parse
from agent.liveness import pulse
from agent.once import Claimed, Kept
from agent.service import Batch, CaseState, Explainer, Filters, Link, Submission, Unreadable
from agent.settings import Settings
from agent.verdict import Report
from tests.conftest import encoded, picture
from tools.errors import CallerError, FetchError, NotFoundError, TryAgainError

SECRET = "a secret of sixteen or more"


def jpeg(seed: int) -> bytes:
    return encoded(picture(seed=seed), "JPEG", quality=90)


class Outside:
    """A way out that leads nowhere: pictures by address, and a receiver that answers as it is told."""

    def __init__(self) -> None:
        self.pictures: dict[str, bytes] = {}
        self.answers: list[int | str] = []
        self.received: list[tuple[str, bytes, Mapping[str, str]]] = []

    async def fetch(self, url: str) -> tuple[bytes, str]:
        if url not in self.pictures:
            raise FetchError("No server is known under that name.", code="host_not_found")
        return self.pictures[url], "fetched.jpg"

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        self.received.append((url, body, headers))
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, str):
            raise FetchError("Refused.", code=answer)
        return answer

    async def told(self, number: int) -> list[dict[str, Any]]:
        """The messages, once there are so many."""
        async with asyncio.timeout(30):
            while len(self.received) < number:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return [json.loads(body) for _, body, _ in self.received]


@asynccontextmanager
async def opened(
    home: Path, url: str, outside: Outside | None, catalogue: str = "tests.agent.fake_tools:good", **settings: Any
) -> AsyncIterator[Explainer]:
    given = Settings(
        home=home, database_url=SecretStr(url), workers=1, vlm="template", tool_timeout_s=20,
        webhook_secret=SecretStr(SECRET), **settings,
    )  # fmt: skip
    async with Explainer(given, catalogue=catalogue, warm=False, eager=False, outside=outside) as explainer:
        yield explainer


async def ended(explainer: Explainer, batch_id: str) -> Batch:
    async with asyncio.timeout(60):
        while (batch := await explainer.batch(batch_id)).state != "done":  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    return batch


async def test_a_job_from_the_queue_to_its_callback(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callbacks, "PAUSES_S", (0.2, 0.2))
    outside = Outside()
    outside.answers = [500, "fetch_timeout"]
    async with opened(tmp_path, url, None) as explainer:  # only hands in
        given = Submission(data=jpeg(1), name="../a.jpg")
        first = await explainer.enqueue(given, budget="quick", callback="https://news.example/hook", seed="s")
        assert (first.state, first.name, first.report) == ("queued", "a.jpg", None)
        assert (await explainer.enqueue(given, budget="quick", seed="s")).case_id == first.case_id
        with pytest.raises(CallerError, match="exists already"):
            await explainer.enqueue(Submission(data=jpeg(2)), seed="s")
        assert await explainer.queue_depth() == {"queued": 1, "running": 0}
        assert [each.status for each in await explainer.cases()] == ["queued"]
        with pytest.raises(NotFoundError, match="still being examined"):
            await explainer.report(first.case_id)
    async with opened(tmp_path, url, outside) as explainer:  # a later start finds it
        events = [event async for event in explainer.events(first.case_id)]
        again = [event async for event in explainer.events(first.case_id, after=events[1].position)]
        assert again == events[2:]
        assert [event.position for event in events[:-1]] == list(range(1, len(events)))
        kinds = [event.kind for event in events]
        assert kinds[0] == "step"
        assert kinds[-1] == "report"
        assert kinds.index("verdict") < kinds.index("sentence")
        assert kinds.count("evidence") == 2
        report = Report.model_validate(events[-1].data["report"])
        assert report == await explainer.report(first.case_id)
        state = await explainer.case(first.case_id)
        assert (state.state, state.attempts, state.report) == ("done", 1, report)
        messages = await outside.told(3)
        assert messages[0] == messages[1] == messages[2]
        assert (messages[0]["event"], messages[0]["case_id"]) == ("case.done", first.case_id)
        assert messages[0]["label"] == report.verdict.label
        for where, body, headers in outside.received:
            assert where == "https://news.example/hook"
            moment, _, mac = headers["Exposit-Signature"].removeprefix("t=").partition(",v1=")
            assert mac == hmac.new(SECRET.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
        assert await explainer.verify_audit() == 2


async def test_a_batch_is_whole_whatever_is_in_it(url: str, tmp_path: Path) -> None:
    outside = Outside()
    outside.pictures["https://example.org/p.jpg"] = jpeg(3)
    async with opened(tmp_path, url, outside, max_queue=5) as explainer:
        items = [
            Submission(data=jpeg(0), name="a.jpg"),
            Submission(data=b"no picture", name="=b.jpg"),
            Link(url="https://example.org/p.jpg", name="p.jpg"),
            Link(url="https://nowhere.example/q.jpg", name="q.jpg"),
            Unreadable(name="c.jpg", code="empty_file", message="The file is empty."),
        ]
        made = await explainer.create_batch(items, name="Monday", budget="quick", callback="https://news.example/b")
        assert (made.total, made.counts["failed"], made.name) == (5, 1, "Monday")
        with pytest.raises(TryAgainError) as full:
            await explainer.create_batch([Submission(data=jpeg(9))] * 6)
        assert full.value.code == "queue_full"
        batch = await ended(explainer, made.id)
        assert [(each.state, each.problem.code if each.problem else None) for each in batch.items] == [
            ("done", None), ("failed", "not_an_image"), ("done", None), ("failed", "host_not_found"),
            ("failed", "empty_file"),
        ]  # fmt: skip
        assert batch.counts == {"queued": 0, "running": 0, "done": 2, "failed": 3}
        assert [(each.case_id is None) for each in batch.items] == [False, False, False, True, True]
        fetched = await explainer.case(str(batch.items[2].case_id))
        assert (fetched.name, fetched.batch_id) == ("fetched.jpg", batch.id)
        assert [each.model_copy(update={"items": ()}) for each in (batch,)] == await explainer.batches()
        (told,) = await outside.told(1)
        assert (told["event"], told["counts"]["failed"]) == ("batch.done", 3)
        explainer._parts.originals.remove(fetched.sha256)
        explainer._parts.originals.put = lambda data: fetched.sha256  # type: ignore[method-assign]  # a purge in between
        with pytest.raises(TryAgainError) as gone:
            await explainer.create_batch([Submission(data=jpeg(3))])
        assert gone.value.code == "original_gone"
        assert len(await explainer.batches()) == 1
        for empty in ([], iter(())):
            with pytest.raises(CallerError, match="empty"):
                await explainer.create_batch(empty)
        with pytest.raises(NotFoundError):
            await explainer.batch("none")
        failed = await explainer.history(Filters(state="failed"))
        assert [each.name for each in failed.cases] == ["=b.jpg"]
        assert failed.cases[0].error_code == "not_an_image"


async def test_one_picture_waits_for_no_batch(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'log.db'}"
    async with opened(tmp_path, url, None) as explainer:
        long = await explainer.create_batch([Submission(data=jpeg(n)) for n in range(6)], budget="quick")
        late = await explainer.create_batch([Submission(data=jpeg(9))], budget="quick")
        single = await explainer.enqueue(Submission(data=jpeg(8)), budget="quick")
    async with opened(tmp_path, url, Outside()) as explainer:
        await ended(explainer, long.id)
        await ended(explainer, late.id)
        assert [event async for event in explainer.events(single.case_id)][-1].kind == "report"

        async def begun(case_id: str | None) -> datetime:
            job = await explainer._jobs.job(str(case_id))
            assert job is not None
            assert job.started_at is not None
            return job.started_at

        # four are taken at once: the single one, the first of each batch, and the second of the long one
        sixth = await begun(long.items[5].case_id)
        assert await begun(single.case_id) < sixth
        assert await begun(late.items[0].case_id) < sixth


async def test_history_by_what_is_asked_for(url: str, tmp_path: Path) -> None:
    async with opened(tmp_path, url, None) as explainer:
        made: list[CaseState] = []
        for seed in (1, 1, 2, 3, 4):
            made.append(await explainer.enqueue(Submission(data=jpeg(seed), name=f"{seed}.jpg")))
        seen: list[str] = []
        cursor = None
        while True:
            page = await explainer.history(limit=2, cursor=cursor)
            seen += [each.case_id for each in page.cases]
            cursor = page.next_cursor
            if cursor is None:
                break
            await explainer.enqueue(Submission(data=jpeg(5)))  # what comes in meanwhile disturbs no page
        assert seen == [each.case_id for each in reversed(made)]
        same = await explainer.history(Filters(similar_to=made[0].case_id))
        assert {each.case_id for each in same.cases} == {made[0].case_id, made[1].case_id}
        late = made[2].created_at
        assert len((await explainer.history(Filters(since=late, before=made[4].created_at))).cases) == 2
        assert [each.name async for each in explainer.every(Filters(sha256=made[3].sha256))] == ["3.jpg"]
        for bad in ("x", "e30", "WzEsMl0"):
            with pytest.raises(CallerError) as caught:
                await explainer.history(cursor=bad)
            assert caught.value.code == "bad_cursor"


async def test_a_file_that_ends_every_process_is_given_up(url: str, tmp_path: Path) -> None:
    async with opened(tmp_path, url, None) as explainer:
        case = await explainer.enqueue(Submission(data=jpeg(1)))
        for _ in range(5):
            taken = await explainer._jobs.take(case.case_id)
            assert taken is not None
        await explainer._jobs.hand_back(case.case_id)  # stopped in order: no attempt is counted
        assert (await explainer._jobs.take(case.case_id)) is not None
    async with opened(tmp_path, url, Outside()) as explainer:
        events = [event async for event in explainer.events(case.case_id)]
        assert (events[-1].kind, events[-1].data["code"]) == ("failed", "gave_up")


async def test_a_process_that_is_stopped_hands_its_job_back(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'log.db'}"

    async def stopped() -> None:
        async with opened(tmp_path, url, Outside(), "tests.agent.fake_tools:unhurried") as explainer:
            case = await explainer.enqueue(Submission(data=jpeg(1)), budget="standard", seed="s")
            async for event in explainer.events(case.case_id):
                if event.text.startswith("Running"):
                    raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await stopped()
    async with opened(tmp_path, url, None) as explainer:
        (case,) = await explainer.cases()
        handed_back = await explainer.case(case.case_id)
        assert (handed_back.state, handed_back.attempts) == ("queued", 0)
    async with opened(tmp_path, url, Outside()) as explainer:
        last = [event async for event in explainer.events(case.case_id)][-1]
        assert last.kind == "report"
        assert (await explainer.case(case.case_id)).attempts == 1


def test_who_is_alive_is_told_by_a_lock(url: str) -> None:
    mine, other = pulse(parse(url)), pulse(parse(url))
    name, another = "a" * 32, "b" * 32
    mine.hold(name)
    mine.hold(name)  # again, as it is now and then
    other.hold(another)
    assert not other.gone(name)
    assert not mine.gone(another)
    assert mine.gone("c" * 32)
    mine.release()
    assert other.gone(name)
    other.release()


async def test_upkeep_forgets_and_purges(url: str, tmp_path: Path) -> None:
    async with opened(tmp_path, url, Outside(), retention_days=1e-9) as explainer:
        case = await explainer.enqueue(Submission(data=jpeg(1)), budget="quick")
        assert len([event async for event in explainer.events(case.case_id)]) > 5
        assert explainer._duty is not None
        duty = await explainer._duty
        assert duty is not None
        assert await count(explainer, "events") > 5
        await duty._upkeep()
        assert (await explainer.case(case.case_id)).purged
        assert await count(explainer, "events") == 0
        jobs = "workflow_status" if url.startswith("sqlite") else "dbos.workflow_status"
        async with asyncio.timeout(20):
            while await count(explainer, jobs, "status = 'SUCCESS'") != 1:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        await explainer._parts.line.forget(int(time.time() * 1000) + 10_000)
        assert await count(explainer, jobs) == 0
        assert await explainer.verify_audit() == 3


async def count(explainer: Explainer, table: str, where: str = "1 = 1") -> int:
    wanted = text(f"SELECT count(*) FROM {table} WHERE {where}")
    return await explainer._parts.store.database.read(lambda session: session.scalar(wanted)) or 0


async def test_requests_that_are_sent_again(url: str, tmp_path: Path) -> None:
    async with opened(tmp_path, url, None) as explainer:
        once = explainer.once
        first = await once.claim("key:a", "k", "h1")
        assert isinstance(first, Claimed)
        with pytest.raises(TryAgainError) as busy:
            await once.claim("key:a", "k", "h1")
        assert busy.value.code == "idempotency_in_flight"
        await once.keep(first, Kept(202, {"location": "/x"}, "{}"))
        assert await once.claim("key:a", "k", "h1") == Kept(202, {"location": "/x"}, "{}")
        with pytest.raises(CallerError) as reused:
            await once.claim("key:a", "k", "h2")
        assert reused.value.code == "idempotency_reused"
        other = await once.claim("key:b", "k", "h2")  # of somebody else
        assert isinstance(other, Claimed)
        await once.release(other)
        assert isinstance(await once.claim("key:b", "k", "h3"), Claimed)
        database = explainer._parts.store.database
        old = (datetime.now(UTC) - timedelta(minutes=11)).replace(tzinfo=None)

        async def age(session: Any) -> None:
            await session.execute(text("UPDATE once SET at = :old WHERE status IS NULL"), {"old": old})

        if database.is_sqlite:  # one that was cut off is gone on with, under the same seed
            cut = await once.claim("key:c", "k", "h")
            await database.write(age)
            assert await once.claim("key:c", "k", "h") == cut


async def test_a_purge_takes_bytes_and_leaves_proof(url: str, tmp_path: Path) -> None:
    async with opened(tmp_path, url, None) as explainer:
        one = await explainer.explain(Submission(data=jpeg(1), name="one.jpg"), budget="standard")
        two = await explainer.explain(Submission(data=jpeg(1), name="two.jpg"), budget="standard")
        other = await explainer.explain(Submission(data=jpeg(2)), budget="standard")
        waiting = await explainer.enqueue(Submission(data=jpeg(3)))
        originals, maps = explainer._parts.originals, explainer._parts.maps
        (drawn,) = {each.sha256 for item in one.evidence for each in item.maps}
        done = await explainer.purge(case_id=one.case_id)
        assert (done.cases, done.files, done.shared) == (1, 0, 1)
        assert originals.exists(one.image.sha256)  # case two needs it, and the map
        assert await explainer.original(two.case_id)
        done = await explainer.purge(older_than_days=0)
        assert (done.cases, done.shared) == (2, 0)
        assert not originals.exists(one.image.sha256)
        assert not maps.exists(drawn)
        assert originals.exists(waiting.sha256)
        for call in (
            explainer.original(one.case_id), explainer.replay(two.case_id), explainer.see_kept(other.case_id),
        ):  # fmt: skip
            with pytest.raises(NotFoundError) as gone:
                await call
            assert gone.value.code == "purged"
        assert await explainer.report(one.case_id) == one
        assert [each.purged for each in await explainer.cases()] == [False, True, True, True]
        assert (await explainer.purge(older_than_days=0)).cases == 0
        with pytest.raises(CallerError) as running:
            await explainer.purge(case_id=waiting.case_id)
        assert running.value.code == "case_running"
        with pytest.raises(CallerError, match="Nothing says"):
            await explainer.purge()
        assert await explainer.verify_audit() == 7 + 3
        rows, _ = await explainer.audit_of(one.case_id)
        assert [row.action for row in rows] == ["case_begun", "case_finished", "case_purged"]
        again = await explainer.explain(Submission(data=jpeg(1)), budget="quick")  # the same file comes back
        assert (await explainer.original(again.case_id))[0] == jpeg(1)

        async def forge(session: Any) -> None:
            await session.execute(text("DELETE FROM purges WHERE case_id = :id"), {"id": one.case_id})

        await explainer._parts.store.database.write(forge)
        with pytest.raises(Exception, match="purge of case"):
            await explainer.verify_audit()

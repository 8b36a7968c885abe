"""Machine against reviewers: figures worked out by hand, and the log they are read from."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from agent.review import Decision, Reviews
from agent.settings import Settings
from agent.store import Store
from agent.threads import Threads
from evals.reviewers import Judged, agreement, judged, measure, told
from tests.agent.samples import begin, finish, sample


def rows(*pairs: tuple[str, str]) -> list[Judged]:
    return [
        Judged(sha256=f"{at:064x}", case_id=f"c{at}", machine=machine, person=person, reviewer="Ann", kind="override")
        for at, (machine, person) in enumerate(pairs)
    ]


def test_kappa_by_hand() -> None:
    # 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: agreement .7, by chance .5, kappa .4
    pairs = (
        [("generated", "generated")] * 20 + [("generated", "photograph")] * 5 + [("no_evidence", "generated")] * 10
        + [("authentic", "photograph")] * 15 + [("inconclusive", "photograph")] * 7 + [("generated", "inconclusive")]
    )  # fmt: skip
    found = agreement(rows(*pairs))
    assert (found.pictures, found.decided, found.machine_open, found.person_open) == (58, 50, 7, 1)
    assert found.agree == pytest.approx(0.7)
    assert found.kappa == pytest.approx(0.4)
    assert found.kappa_interval is not None
    assert found.kappa_interval[0] < 0.4 < found.kappa_interval[1]
    assert found.confusion["generated"] == {"generated": 20, "inconclusive": 1, "photograph": 5}
    assert agreement(rows(*pairs)) == found
    assert "kappa 0.40 [" in told(found)


def test_too_little_gives_no_figure() -> None:
    assert agreement([]).agree is None
    same = agreement(rows(("generated", "generated"), ("generated", "generated")))
    assert (same.agree, same.kappa) == (1.0, None)
    assert "not defined" in told(same)


async def test_the_newest_review_of_a_picture_counts(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'log.db'}"
    store, threads = await Store.open(url), Threads(url)
    reviews = Reviews(store, threads)
    await finish(store, "c1")
    await begin(store, "c2", sha256="b" * 64)
    await store.finish_case(sample("c2", sha256="b" * 64))
    said = {"reviewer": "Ann", "reason": "seen"}
    await reviews.resume("c1", Decision(kind="confirm", **said))
    await reviews.resume("c1", Decision(kind="override", label="photograph", **said))
    await reviews.resume("c2", Decision(kind="annotate", **said))
    both = [(each, await store.report(each.case_id)) for each in await store.reviews()]
    assert [(row.case_id, row.machine, row.person) for row in judged(both)] == [("c1", "generated", "photograph")]
    await threads.close()
    await store.close()
    settings = Settings(home=tmp_path, database_url=SecretStr(url), vlm="template", log_level="error")
    found = await measure(settings)
    assert (found.pictures, found.annotated, found.agree) == (1, 1, 0.0)

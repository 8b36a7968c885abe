"""People beside the machine: who is asked, what is recorded, and that nothing is erased."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from agent.review import Decision, Reviews, asks_for_review
from agent.store import Store
from agent.threads import Threads
from agent.verdict import Verdict
from tests.agent.samples import begin, finish, sample
from tests.agent.test_conversation import WIDE, opened
from tools.errors import CallerError, NotFoundError


def verdict(label: str) -> Verdict:
    return sample("c1", label=label).verdict


@pytest.mark.parametrize(
    ("policy", "stakes", "label", "asked"),
    [
        ("inconclusive", "high", "inconclusive", True),
        ("inconclusive", "high", "generated", False),
        ("inconclusive", "ordinary", "inconclusive", False),
        ("always", "high", "generated", True),
        ("always", "ordinary", "generated", False),
        ("never", "high", "inconclusive", False),
    ],
)
def test_when_a_person_is_asked(policy: str, stakes: str, label: str, asked: bool) -> None:
    assert bool(asks_for_review(policy, stakes, verdict(label))) == asked  # type: ignore[arg-type]


async def test_an_override_erases_nothing_and_outlives_a_restart(url: str) -> None:
    store, threads = await Store.open(url), Threads(url)
    await begin(store, "c1")
    report = sample("c1").model_copy(update={"review_asked": "The stakes are high."})
    await store.finish_case(report)
    await finish(store, "c2")
    await Reviews(store, threads).ask(report, "The stakes are high.")
    await threads.close()
    threads = Threads(url)
    reviews = Reviews(store, threads)
    assert await reviews.waiting("c1") == "The stakes are high."
    note = Decision(kind="annotate", reviewer="Ann", reason="Seen before.")
    assert (await reviews.resume("c1", note)).label is None
    assert await reviews.waiting("c1") == "The stakes are high."  # a note judges nothing
    assert [case.case_id for case in await store.cases(waiting=True)] == ["c1"]
    said = await reviews.resume(
        "c1", Decision(kind="override", label="photograph", reviewer="Ben", reason="I have the negative.")
    )
    assert (said.machine, said.label, said.revision) == ("generated", "photograph", 1)
    assert await reviews.waiting("c1") is None
    assert await store.cases(waiting=True) == []
    confirmed = await reviews.resume("c2", Decision(kind="confirm", reviewer="Ann", reason="So it is."))
    assert (confirmed.label, confirmed.kind) == ("generated", "confirm")
    assert await store.report("c1") == report
    summaries = {case.case_id: (case.label, case.review) for case in await store.cases()}
    assert summaries == {"c1": ("generated", "override"), "c2": ("generated", "confirm")}
    assert [each.reviewer for each in await store.reviews("c1")] == ["Ann", "Ben"]
    assert [row.action for row in await store.audit(3)] == ["review_added"] * 3
    assert await store.verify_audit() == 4 + 3
    for wrong in (
        Decision(kind="override", label="generated", reviewer="Ann", reason="It is the machine's own label."),
        Decision(kind="confirm", reviewer=" ", reason="No name."),
        Decision(kind="confirm", reviewer="Ann", reason="\n"),
    ):
        with pytest.raises(CallerError):
            await reviews.resume("c1", wrong)
    with pytest.raises(NotFoundError):
        await reviews.resume("c9", note)
    assert len(await store.reviews()) == 3
    again = await reviews.resume("c1", Decision(kind="confirm", reviewer="Cy", reason="The negative is another's."))
    assert (again.kind, await reviews.waiting("c1")) == ("confirm", None)  # a refused review blocks no later one
    await threads.close()
    await store.close()


def test_a_decision_is_one_of_three() -> None:
    for kind, label in (("override", None), ("confirm", "edited"), ("annotate", "edited")):
        with pytest.raises(ValidationError):
            Decision.model_validate({"kind": kind, "label": label, "reviewer": "Ann", "reason": "?"})


async def test_the_report_says_that_a_person_is_asked(tmp_path: Path) -> None:
    from agent.service import Submission

    async with opened(tmp_path) as explainer:
        report = await explainer.explain(Submission(data=WIDE), stakes="high")
        assert report.review_asked is not None
        assert await explainer.waits(report.case_id) == report.review_asked
        plain = await explainer.explain(Submission(data=WIDE))
        assert plain.review_asked is None
        assert plain.verdict == report.verdict  # stakes have no say in it
        assert await explainer.waits(plain.case_id) is None

"""Replays: the same versions say the same, others are named, and a dry one starts nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.replay import compared
from agent.service import Submission
from tests.agent.test_conversation import WIDE, opened
from tools.errors import IntegrityError, NotFoundError, OperatorError


async def test_a_replay_says_the_same_or_what_differs(tmp_path: Path) -> None:
    async with opened(tmp_path) as explainer:
        first = await explainer.explain(Submission(data=WIDE))
        await explainer.ask(first.case_id, "run late")  # the first report is what is replayed
        same = await explainer.replay(first.case_id)
        assert (same.differs, same.versions) == ((), ())
        assert same.now == first.verdict
        assert len(await explainer.cases()) == 1
        assert (await explainer.report(first.case_id)).revision == 2
        with pytest.raises(NotFoundError):
            await explainer.replay("none")
    async with opened(tmp_path, catalogue="newer", eager=False) as explainer:
        dry = await explainer.replay(first.case_id, dry=True)
        assert dry.versions == ("tool:faint was 1 then and is 2 now.",)
        assert explainer._parts._graph is None  # nothing was started
        with pytest.raises(OperatorError, match="tool:faint was 1 then and is 2 now") as caught:
            await explainer.replay(first.case_id)
        assert caught.value.code == "versions_differ"
        now = await explainer.replay(first.case_id, current=True)
        assert "faint: the score was 0.7 and is now 0.3." in now.differs
        assert now.now is not None
        assert now.now.p_generated < first.verdict.p_generated
        assert [row.action for row in await explainer._parts.store.audit(1)] == ["case_replayed"]
        path = explainer._parts.originals.path(first.image.sha256)
        path.write_bytes(WIDE + b"\0")
        with pytest.raises(IntegrityError, match="altered or damaged"):
            await explainer.replay(first.case_id, current=True)
        assert await explainer.report(first.case_id, 1) == first


async def test_what_differs_is_named(tmp_path: Path) -> None:
    async with opened(tmp_path) as explainer:
        first = await explainer.explain(Submission(data=WIDE))
    (faint,) = first.evidence
    other = faint.model_copy(update={"findings": (), "ms": 1e6})
    assert compared(first, first.model_copy(update={"evidence": (other,)})) == (
        "faint: the score is the same, and its findings differ.",
    )
    gone = compared(first, first.model_copy(update={"evidence": (), "contributions": ()}))
    assert gone[0] == "faint spoke then, and does not now."

"""What is said back, without a service: grounded sentences, and notes that say nothing of the picture."""

from __future__ import annotations

import pytest

from agent.grounding import objection
from agent.replying import same_picture
from agent.verdict import Sentence
from tests.agent.samples import sample
from tests.agent.test_fusion import spoke


def test_versions_are_no_findings() -> None:
    evidence = (spoke("splice", version="1.1+74480e43"), spoke("patch", version="1+7ea8954e"))
    verdict = sample("c1").verdict
    told = "These tools reported on the picture: splice (version 1.1+74480e43), patch (version 1+7ea8954e)."
    assert objection(Sentence(text=told, cites=("splice", "patch")), verdict, (), evidence) is None
    false = Sentence(text="The splice tool found 1.1 parts that differ.", cites=("splice",))
    assert objection(false, verdict, (), evidence) is not None


@pytest.mark.parametrize(
    ("distance", "same"), [(0, True), (31, True), (32, None), (89, None), (90, False), (None, None)]
)
def test_a_distance_that_tells_neither_way_is_left_open(distance: int | None, same: bool | None) -> None:
    assert same_picture(distance) is same

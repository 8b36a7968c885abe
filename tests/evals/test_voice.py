"""The vision-language model as the harness's detector, on a random model of a few thousand parameters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent import models
from agent.embedded import EmbeddedVision
from agent.llava import Llava, Written
from agent.prompt import Look
from evals import run, suite
from evals.voice import AT_ONCE, Voice
from tests.agent import tiny_llava
from tests.conftest import encoded, picture
from tools.contract import Budget, Detector
from tools.image import SourceImage


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, models.Adapter]:
    return tiny_llava.make(tmp_path_factory.mktemp("tiny"))


async def test_it_says_what_the_service_says_of_the_whole_picture(tiny: tuple[Path, models.Adapter]) -> None:
    voice = Voice(*tiny)
    assert isinstance(voice, Detector)
    for size in ((460, 450), (700, 200)):  # the second is cut into several whole views
        file = encoded(picture(*size), "PNG")
        found = voice.examine(SourceImage.open(file), Budget())
        served = await EmbeddedVision(*tiny, timeout_s=60).look(file)
        assert (found.id, found.detector, found.target, found.version) == (
            "vision", "vision", "generated", served.version,
        )  # fmt: skip
        assert found.version == "vlm-tiny/exposit@0123456789ab/prompt-3"
        assert found.score == pytest.approx(served.score, abs=1e-4)
        assert not found.measurements, "no native crops"


def test_many_pictures_are_looked_at_in_batches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[int] = []

    def write(self: Llava, messages: Sequence[Any], *given: Any, pictures: Any, **more: Any) -> list[Written]:
        asked.append(len(messages))
        reply = Look(observations=[], answer="photograph").model_dump_json()
        return [Written(reply, float(pixels.mean()) / 255, cut=False) for pixels in pictures]

    monkeypatch.setattr(Llava, "write", write)
    levels = [10 * number for number in range(AT_ONCE + 3)]
    found = list(Voice(tmp_path, None).many(np.full((224, 224, 3), level, np.uint8) for level in levels))
    assert [each.score for each in found] == [pytest.approx(level / 255, abs=1e-5) for level in levels]
    assert asked == [AT_ONCE, 3]


def test_it_takes_part_only_where_a_suite_asks_for_it(
    tiny: tuple[Path, models.Adapter], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "compose", lambda cache: tiny[0])
    monkeypatch.setattr(models, "adapter", lambda: tiny[1])
    assert "vision" not in run._catalogue(suite.load("matched"))
    plan = suite.load("voice")
    taking_part = run._catalogue(plan)
    assert set(taking_part) - set(run._catalogue(suite.load("matched"))) == {"vision"}
    assert list(run._chosen(plan.model_copy(update={"tools": ("vision",)}), taking_part)) == ["vision"]
    same = {spec.name: spec.chain for spec in suite.load("matched").protocol}
    assert {spec.name: spec.chain for spec in plan.protocol}.items() <= same.items()

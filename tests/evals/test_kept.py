from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from evals import kept
from tests.conftest import encoded, picture
from tests.evals.fakes import knowing
from tools.contract import Evidence
from tools.image import SourceImage


def test_every_part_that_a_detector_reaches_counts_and_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from tools.detectors.compression import compression
    from tools.detectors.frequency import frequency

    reached = kept.reached("tools.detectors.compression")
    assert ("tools.jpeg", "find_earlier") in reached, "named in the detector"
    assert ("tools.signal", "luma_of") in reached, "two imports away"
    assert not [module for module, _ in reached if not module.startswith("tools.") or module in kept.APART]
    before = kept.code_of(compression)
    assert before == kept.code_of(compression) != kept.code_of(frequency)
    path = kept._source("tools.jpeg")
    assert path is not None
    text, source, other = path.read_text(), kept._source, tmp_path / "jpeg.py"

    def with_text(changed: str) -> str:
        other.write_text(changed)
        kept._parsed.cache_clear()
        return kept.code_of(compression)

    monkeypatch.setattr(kept, "_source", lambda name: other if name == "tools.jpeg" else source(name))
    assert with_text(text + "# a comment") == before
    assert with_text(text + "\n\ndef of_no_use():\n    return 1\n") == before
    changed = re.sub(
        r"(def find_earlier\(.*?\n)(    return|    for|    if)", r"\1    pass\n\2", text, count=1, flags=re.S
    )
    assert changed != text
    assert with_text(changed) != before
    kept._parsed.cache_clear()


def test_what_is_kept_goes_by_the_decoded_picture_and_by_the_pins_too() -> None:
    from tools import weights

    image = SourceImage.open(encoded(picture(64, 48), "PNG"), "x.png")
    other = dataclasses.replace(image, rgb=np.ascontiguousarray(image.rgb[::-1]))
    assert kept.decoded(image) == kept.decoded(SourceImage.open(image.data, "y.png"))
    assert len({kept.decoded(image), kept.decoded(other), kept.decoded(dataclasses.replace(image, orientation=3))}) == 3
    evidence = Evidence(
        id="a", detector="a", version="1", target="generated", score=0.5,
        weights={"patch": weights.weight("patch").sha256},
    )  # fmt: skip
    assert kept.still_pinned(evidence)
    for wrong in ({"patch": "0" * 64}, {"unknown": "0" * 64}):
        assert not kept.still_pinned(evidence.model_copy(update={"weights": wrong}))


def test_a_detector_from_elsewhere_goes_by_its_version() -> None:
    assert kept.code_of(knowing()) == ""

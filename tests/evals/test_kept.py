from __future__ import annotations

from pathlib import Path

import pytest

from evals import kept
from tests.evals.fakes import knowing


def test_every_module_that_a_detector_reaches_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from tools.detectors.compression import compression
    from tools.detectors.frequency import frequency

    reached = kept._reached("tools.detectors.compression")
    assert {"tools.jpeg", "tools.signal", "tools.image", "tools.contract"} <= set(reached)
    assert not [name for name in reached if not name.startswith("tools")]
    before = kept.code_of(compression)
    assert before == kept.code_of(compression) != kept.code_of(frequency)
    other = tmp_path / "jpeg.py"
    other.write_text(reached["tools.jpeg"].read_text() + "# changed")
    source = kept._source
    monkeypatch.setattr(kept, "_source", lambda name: other if name == "tools.jpeg" else source(name))
    assert kept.code_of(compression) != before, "a change two imports away is another tool"


def test_a_detector_from_elsewhere_goes_by_its_version() -> None:
    assert kept.code_of(knowing()) == ""

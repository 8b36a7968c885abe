from __future__ import annotations

import json
from pathlib import Path

import pytest

from evals.artifacts import PLACES, Planting, Sample
from evals.planted import Claim, said
from finetune import silence
from tests.agent import tiny_llava
from tests.evals.test_artifacts import textured


@pytest.mark.parametrize(("silent", "wanted"), [(0.5, 0.0), (0.75, 1.5), (1.0, 3.0)])
def test_the_reserve_is_the_least_that_keeps_the_silence(silent: float, wanted: float) -> None:
    claims = [Claim(lean, "warped lines", "top") for lean in (-4.0, -2.0, 0.0, 1.2, 2.7)]
    reserve = silence.reserve_for(claims, silent)
    assert reserve == wanted
    quiet = [each is None for each in said(claims, reserve)]
    assert sum(quiet) / len(quiet) >= silent


def test_it_writes_what_the_export_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evals.planted._LONGEST", 120)  # this model's tokens are bytes
    base, adapter = tiny_llava.make(tmp_path)
    mask = textured(1)[..., 0] > 0
    views = [
        Sample("a#0", textured(1), None, native=False),
        Sample("b#0", textured(2), Planting("warped lines", PLACES[0], 0.5, mask), native=False),
    ]
    asked = []

    def lab(data: Path, split: str, count: int, seed: int, *, untouched: float) -> list[Sample]:
        asked.append(split)
        return views

    monkeypatch.setattr(silence, "lab_views", lab)
    monkeypatch.setattr(silence.models, "adapter", lambda folder: adapter)
    monkeypatch.setattr(silence.models, "compose", lambda cache, *, folder: base)
    out = tmp_path / "silence.json"
    silence.main(["--data", str(tmp_path), "--cache", str(tmp_path), "--out", str(out)])
    found = json.loads(out.read_text())
    assert asked == ["choice"]
    assert found["with"]["silent"]["share"] == 1.0
    assert len(found["reserve"]) == 1

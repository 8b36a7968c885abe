from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

from evals.edits import KINDS, Pixels
from evals.perturb import decode
from finetune import cards, splice, tampering
from finetune.comparer import ask, inputs, loss_of, pointed, train
from finetune.scores import COLUMNS, Rows
from finetune.splice import Asked, Found, cross_fused, fused
from finetune.tampering import HELD, Sample, fold_of
from tests.conftest import encoded, picture
from tools.splicing import Comparer, restored


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder of 13 small photographs and 7 pictures that are called generated."""
    lines = ["path,label,generator,family,prompt,source,licence,origin"]
    (tmp_path / "train").mkdir()
    (tmp_path / "photos").mkdir()
    for i in range(20):
        picture(200, 176, seed=i).save(tmp_path / "train" / f"{i}.jpg", quality=92)
        lines.append(f"train/{i}.jpg,{'generated,model' if i % 3 == 0 else 'real,-'},photo,,made,none,x")
    (tmp_path / "manifest.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "photos" / "manifest.csv").write_text("path,source,origin\n")
    return tmp_path


class Saving:
    """Stands where TAEF2 stands: a passage that loses much."""

    def __init__(self, folder: Path) -> None: ...

    def passage(self, rgb: Pixels) -> Pixels:
        return decode(encoded(Image.fromarray(rgb), quality=30))


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.setattr(tampering, "Taef2", Saving)
    monkeypatch.setattr(tampering, "DRAWS", {"train": 2, "photos": 0, "generated": 1})
    monkeypatch.setattr(cards, "FOLDER", out)
    monkeypatch.setattr(splice, "OOF", out)
    return out


def test_training_writes_weights_card_pin_and_scores_of_hosts_it_did_not_see(
    data: Path, quick: Path, tmp_path: Path
) -> None:
    splice.fit(data, tmp_path, tmp_path / "work", epochs=1)
    digest = json.loads((quick / "pins.json").read_text())["splice"]["sha256"]
    card = (quick / "splice.md").read_text()
    assert digest in card
    arrays = load_file(quick / "splice.safetensors")
    assert arrays["levels"].shape == (6,)
    restored({name: value for name, value in arrays.items() if name != "levels"})
    with (quick / "splice.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert tuple(lines[0]) == COLUMNS
    assert {line["generator"] for line in lines if line["label"] == "edited"} <= set(KINDS)
    assert {fold_of(line["item"]) for line in lines} == {HELD}
    assert {line["label"] for line in lines} == {"real", "edited"}
    assert Rows.of(lines, "splice.csv").kinds == ("aligned",)
    trained = {sample.item for sample in tampering.read(data, tmp_path / "work")}
    assert not trained & {line["item"] for line in lines}
    splice.fit(data, tmp_path, tmp_path / "work", epochs=1)
    assert json.loads((quick / "pins.json").read_text())["splice"]["sha256"] == digest


def synthetic(altered: bool, seed: int) -> Sample:
    """Maps in which a square stands out, or none does."""
    rng = np.random.default_rng(seed)
    network = Comparer()
    maps = rng.normal(0, 1, (len(network.mean), 20, 24)).astype(np.float16)
    share = np.zeros((20, 24), np.float16)
    if altered:
        y, x = int(rng.integers(0, 12)), int(rng.integers(0, 16))
        maps[:12, y : y + 8, x : x + 8] += np.float16(2)
        share[y : y + 8, x : x + 8] = 1
    return Sample("a", "s", True, "pasted" if altered else "", 0, 1, 90, 160, maps, share)


def test_the_network_learns_to_point_and_to_tell_and_resumes(tmp_path: Path) -> None:
    samples = [synthetic(altered, 2 * i + altered) for i in range(24) for altered in (True, False)]
    network = train(samples, epochs=6, seed=0, kept=tmp_path / "checkpoint.pt")
    fresh = [synthetic(altered, 1000 + 2 * i + altered) for i in range(10) for altered in (True, False)]
    answers = [ask(network, sample) for sample in fresh]
    assert np.mean([pointed(a, s) for a, s in zip(answers, fresh, strict=True) if s.altered]) > 0.8
    assert np.mean([a.logit for a in answers[::2]]) > np.mean([a.logit for a in answers[1::2]]) + 0.5
    again = train(samples, epochs=6, seed=0, kept=tmp_path / "checkpoint.pt")
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))


def test_the_loss_asks_for_the_mask_and_the_median_is_the_pictures_own() -> None:
    altered, untouched = synthetic(True, 1), synthetic(False, 2)
    network = Comparer()
    loss = loss_of(network, altered, untouched, np.random.default_rng(0))
    loss.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters() if p.requires_grad)
    standard, median = inputs(network, [altered, untouched])
    assert torch.allclose(median[1], standard[1].flatten(1).median(dim=1).values)


def test_copies_raise_the_score_and_no_row_is_scored_by_what_it_was_fitted_on() -> None:
    rng = np.random.default_rng(0)
    rows = [
        Asked(f"p{i}", "s", True, kind, 0, 90, 300, float(rng.normal(1.0 if kind else 0.0)),
              int(kind == "copied") * 30, 0.0, 0.5)
        for i in range(200) for kind in (("copied" if i % 4 == 0 else "pasted"), "")
    ]  # fmt: skip
    false = Found(3, 400)
    network, copies, *_ = fused(rows, false)
    assert network > 0.3
    assert copies == pytest.approx(np.log(50.5 / 201 / (3.5 / 601)))
    assert fused(rows, Found(0, 10_000))[1] > copies > fused(rows, Found(200, 400))[1] == 0.0
    logits = cross_fused(rows, false)
    # One half of the hosts turned upside down changes only what the other half is scored by.
    turned = [
        Asked(**{**{f: getattr(row, f) for f in Asked.__slots__}, "network": -row.network})
        if sorted({r.item for r in rows}).index(row.item) % 2 else row
        for row in rows
    ]  # fmt: skip
    changed = cross_fused(turned, false)
    own = np.array([sorted({r.item for r in rows}).index(row.item) % 2 == 1 for row in rows])
    plain = np.array([row.matches == 0 for row in rows])
    assert not np.allclose(changed[~own & plain], logits[~own & plain])
    assert np.corrcoef(changed[~own & plain], logits[~own & plain])[0, 1] < 0

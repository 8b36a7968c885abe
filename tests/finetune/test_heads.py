from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from safetensors.numpy import load_file

from evals.perturb import Pixels
from finetune import cards, examples, folds, heads, twins
from finetune.twins import SIDE, crop_of
from tests.conftest import picture


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder of 12 photographs from three sources and 12 blurred pictures of two models and three prompts."""
    lines = ["path,label,generator,family,prompt,source,licence,origin"]
    (tmp_path / "train").mkdir()
    (tmp_path / "photos").mkdir()
    for i in range(24):
        image = picture(300, 280, seed=i)
        row = f"real,-,photo,,{('EliSchwartz/imagenet-sample-images', 'BIDS/BSDS500', 'other')[i % 3]},none"
        if i % 2:
            image = image.filter(ImageFilter.GaussianBlur(0.8))
            row = f"generated,model{i % 3},diffusion,prompt{i % 4},made,none"
        image.save(tmp_path / "train" / f"{i}.jpg", quality=92)
        lines.append(f"train/{i}.jpg,{row},x")
    (tmp_path / "manifest.csv").write_text("\n".join(lines) + "\n")
    picture(256, 256, seed=99).save(tmp_path / "photos" / "a.jpg", quality=95)
    (tmp_path / "photos" / "manifest.csv").write_text("path,source,origin\na.jpg,BIDS/BSDS500,x\n")
    return tmp_path


class Blurring:
    """Stands where TAEF2 stands: a passage that loses fine detail."""

    def __init__(self, folder: Path) -> None: ...

    def passage(self, rgb: Pixels) -> Pixels:
        return np.asarray(Image.fromarray(rgb).filter(ImageFilter.GaussianBlur(0.8)))


def test_training_writes_weights_card_pin_and_held_out_scores(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.setattr(twins, "Taef2", Blurring)
    monkeypatch.setattr(cards, "FOLDER", out)
    monkeypatch.setattr(heads, "OOF", out)
    monkeypatch.setattr(heads, "STRENGTHS", (3e-3,))
    monkeypatch.setattr(heads, "SHARES", (1.0,))
    heads.train("patch", data, tmp_path, tmp_path / "work")

    digest = json.loads((out / "pins.json").read_text())["patch"]["sha256"]
    assert digest in (out / "patch.md").read_text()
    assert load_file(out / "patch.safetensors")["weight"].shape == (192,)
    with (out / "patch.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == heads.COLUMNS
    assert {(row["kind"], row["label"]) for row in rows} == {
        (kind, label) for kind in ("matched", "aligned") for label in ("real", "generated")
    }
    assert all(row["fold"] == "taef2" for row in rows if row["kind"] == "aligned")
    assert all(int(row["short_side"]) == 224 and 70 <= int(row["jpeg_quality"]) <= 95 for row in rows)
    scores = {k: np.mean([float(r["score"]) for r in rows if r["label"] == k]) for k in ("real", "generated")}
    assert scores["generated"] > scores["real"] + 0.2

    heads.train("patch", data, tmp_path, tmp_path / "work")
    assert json.loads((out / "pins.json").read_text())["patch"]["sha256"] == digest


def test_no_score_comes_from_a_head_that_knew_generator_prompt_or_source() -> None:
    generators = [f"g{i % 7}" for i in range(60)] + [""] * 40
    prompts = [f"p{i % 8}" if i % 5 else "" for i in range(60)] + [""] * 40
    sources = ["made"] * 60 + ["EliSchwartz/imagenet-sample-images", "BIDS/BSDS500", "a", "b"] * 10
    keys = folds.keys(generators, prompts, sources)
    scored_at_all = np.zeros(100, dtype=bool)
    for fitted, scored in folds.crossed(keys):
        assert not (fitted & scored).any()
        for column in (generators, [p or g for p, g in zip(prompts, generators, strict=True)]):
            held = {column[i] for i in np.flatnonzero(scored) if generators[i]}
            assert not held & {column[i] for i in np.flatnonzero(fitted) if generators[i]}
        photographs = [i for i in range(60, 100)]
        held = {sources[i] for i in photographs if scored[i]}
        assert not held & {sources[i] for i in photographs if fitted[i]}
        scored_at_all |= scored
    assert scored_at_all.all()


def test_both_sides_of_a_twin_meet_the_same_draw(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from evals import datasets

    monkeypatch.setattr(twins, "Taef2", Blurring)
    items = [item for item in datasets.labelled(data, "train") if item.label == "real"][:3]
    made = twins.twins(items, tmp_path, tmp_path / "work", 2)
    assert len(made) == 6
    assert all(t.photograph.shape == t.passage.shape == (SIDE, SIDE, 3) for t in made)
    both = list(examples.aligned(made))
    for real, passage in zip(both[::2], both[1::2], strict=True):
        assert (real.label, passage.label, passage.generator) == ("real", "generated", "taef2")
        assert (real.item, real.jpeg_quality, real.short_side) == (
            passage.item, passage.jpeg_quality, passage.short_side,
        )  # fmt: skip
        assert real.data != passage.data
    monkeypatch.delattr(twins, "Taef2")
    assert [t.item for t in twins.twins(items, tmp_path, tmp_path / "work", 2)] == [t.item for t in made]


def test_crops_for_twins_are_repeatable_and_whole() -> None:
    rgb = np.asarray(picture(700, 500))
    for seed in range(12):
        crop = crop_of(rgb, seed)
        assert crop.shape == (SIDE, SIDE, 3)
        assert (crop == crop_of(rgb, seed)).all()


def test_a_head_is_read_back_as_it_was_fitted() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(3, 2, (400, 5))
    generated = features[:, 1] + 0.3 * rng.normal(size=400) > 3
    head = heads.fit(features, generated, np.ones(400), 1.0)
    logits = head.logits(features)
    assert ((logits > 0) == generated).mean() > 0.9
    arrays = {name: np.asarray(getattr(head, name), np.float32) for name in ("mean", "scale", "weight")}
    again = heads.Head.of(arrays | {"levels": np.array([head.bias, -1.0, 1.0], np.float32)})
    assert [again.leaning(mean) for mean in (-1.5, 0.0, 1.5)] == ["camera", "neutral", "generated"]
    assert np.allclose(again.logits(features), logits, atol=1e-4)
    assert np.allclose(head.parts(features).sum(axis=1) + head.bias, logits)

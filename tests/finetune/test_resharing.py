"""Re-shared copies: one distribution for both classes, one draw for a pair, and no head that knew the original."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evals.datasets import Item
from evals.perturb import Pixels
from finetune import heads
from finetune.examples import Example
from finetune.heads import Measured
from finetune.resharing import LOSSLESS, ROOM, Resharing, aligned_reshared, matched_reshared
from finetune.twins import SIDE, Twin
from tests.conftest import picture


def item(folder: Path, number: int, label: str, source: str = "BIDS/BSDS500") -> Item:
    path = folder / f"{number}.png"
    if not path.exists():
        picture(420, 400, seed=number).save(path)
    made = label == "generated"
    return Item(
        id=f"train/{number}.png", path=path, split="train", label=label, generator=f"model{number % 5}" if made else "",  # type: ignore[arg-type]
        prompt=f"prompt{number % 3}" if made else "", source="made" if made else source,
    )  # fmt: skip


def opened(example: Example) -> Image.Image:
    return Image.open(io.BytesIO(example.data))


def test_every_draw_gives_the_side_that_was_asked_for_and_takes_what_is_there() -> None:
    seen: set[tuple[int, str, bool]] = set()
    for seed in range(150):
        for side, room in ((224, ROOM), (224, SIDE), (128, SIDE)):
            draw = Resharing.draw(side, room, seed)
            assert side <= draw.enters <= room
            assert draw.quality == LOSSLESS or 70 <= draw.quality <= 92
            seen |= {(len(draw.platforms), platform.touch, draw.quality == LOSSLESS) for platform in draw.platforms}
    assert len(seen) == 2 * 4 * 2, "one and two platforms, each touch, each way of saving"
    draw = Resharing.draw(224, ROOM, 3)
    rgb = np.asarray(picture(draw.enters, draw.enters))
    assert draw.apply(rgb) == draw.apply(rgb)
    assert Image.open(io.BytesIO(draw.apply(rgb))).size == (224, 224)


def test_what_happens_does_not_depend_on_the_class(tmp_path: Path) -> None:
    """The same file under the other label meets the same draw and gives the same copy, but for the first JPEG."""
    one = item(tmp_path, 1, "generated")
    other = item(tmp_path, 1, "real")
    found, same = (list(matched_reshared([each], 2, [{0: [1] * 64}])) for each in (one, other))
    assert found[0].data == same[0].data
    assert [(e.jpeg_quality, e.short_side) for e in found] == [(e.jpeg_quality, e.short_side) for e in same]
    assert found[0].data != found[1].data, "each row has a draw of its own"
    assert {e.row_kind for e in found} == {"matched_reshared"}
    assert {opened(e).size for e in found} == {(224, 224)}


def test_both_sides_of_a_pair_are_passed_on_alike(tmp_path: Path) -> None:
    rgb: Pixels = np.asarray(picture(SIDE, SIDE))
    photographs = [item(tmp_path, number, "real") for number in range(8)]
    for small in (False, True):
        made = list(aligned_reshared([Twin(each, 0, rgb, rgb) for each in photographs], small=small))
        for real, passage in zip(made[::2], made[1::2], strict=True):
            assert (real.label, passage.label) == ("real", "generated")
            assert real.data == passage.data, "noise too is the same"
        assert all((opened(e).size[0] < 224) == small for e in made)


@pytest.mark.parametrize("with_reshared", [True, False])
def test_no_copy_of_a_held_out_picture_is_known_to_the_head_that_scores_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_reshared: bool
) -> None:
    sources = ("BIDS/BSDS500", "EliSchwartz/imagenet-sample-images", "else")
    items = [item(tmp_path, 0, "generated") for _ in range(20)] + [item(tmp_path, 1, "real") for _ in range(12)]
    items = [
        replace(it, generator=f"model{n % 5}", prompt=f"prompt{n % 3}")
        if it.label == "generated" else replace(it, source=sources[n % 3])
        for n, it in enumerate(items)
    ]  # fmt: skip
    rows = [
        Measured(
            Example(it, "matched", it.label, it.generator, 0, 90, 224, b"", reshared=copy),
            np.full((1, 2), number, dtype=np.float32),
        )
        for number, it in enumerate(items)
        for copy in (False, True)
    ]
    known: set[float] = set()
    reached = 0

    def fit(features: np.ndarray, *_: object) -> str:
        nonlocal known
        known = set(features[:, 0].tolist())
        if not with_reshared:
            assert len(known) == len(features), "one row a picture"
        return "head"

    def logit(_: object, row: Measured) -> float:
        nonlocal reached
        reached += 1
        assert float(row.features[0, 0]) not in known
        return 0.0

    monkeypatch.setattr(heads, "fit", fit)
    monkeypatch.setattr(heads, "logit", logit)
    scored = heads.held_out(rows, 1.0, 1.0, with_reshared=with_reshared)
    assert reached
    assert np.isfinite(scored).all(), "copies are scored too"

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evals import inpaint
from evals.datasets import Item
from evals.edits import KINDS, Kind, Pixels, Scene, made_edits, pair_of, training_edits
from evals.perturb import decode
from evals.shapes import SHARES, free_shape, grown_by_colour, segments
from tests.conftest import picture

RGB = np.asarray(picture(320, 240, seed=3))
HOST = Item(id="train/x.jpg", path=Path("x.jpg"), split="train", label="real")


def greyer(rgb: Pixels) -> Pixels:
    """Stands where an autoencoder stands."""
    assert rgb.shape[0] % 8 == 0
    assert rgb.shape[1] % 8 == 0
    return np.asarray(Image.fromarray(rgb).convert("L").convert("RGB"))


def scene(seed: int) -> Scene:
    rng = np.random.default_rng(seed)
    donor = np.asarray(picture(300, 260, seed=8))
    return Scene(RGB, free_shape((240, 320), rng), donor, free_shape((260, 300), rng), greyer)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_changes_what_its_mask_says_and_shares_its_save_with_the_untouched_side(kind: Kind) -> None:
    for seed in range(6):
        altered, untouched = pair_of(HOST, scene(seed), kind, seed, np.random.default_rng(seed))
        again, _ = pair_of(HOST, scene(seed), kind, seed, np.random.default_rng(seed))
        assert altered.data == again.data
        assert (altered.kind, untouched.kind, altered.jpeg_quality) == (kind, "", untouched.jpeg_quality)
        assert untouched.mask.shape == altered.mask.shape == RGB.shape[:2]
        assert not untouched.mask.any()
        assert 0.005 < altered.mask.mean() < 0.5
        change = np.abs(decode(altered.data).astype(int) - decode(untouched.data)).mean(axis=2)
        assert change[altered.mask].mean() > 4 * change[~altered.mask].mean()
        with Image.open(io.BytesIO(altered.data)) as a, Image.open(io.BytesIO(untouched.data)) as b:
            assert (a.format, a.size) == (b.format, b.size)
            assert getattr(a, "quantization", None) == getattr(b, "quantization", None)


def test_regeneration_needs_an_autoencoder() -> None:
    without = scene(0)
    with pytest.raises(ValueError, match="autoencoder"):
        pair_of(HOST, Scene(without.rgb, without.region, without.donor, without.donor_region, None), "regenerated", 0,
                np.random.default_rng(0))  # fmt: skip


def test_fillings_leave_the_rest_alone_and_carry_the_surroundings_in() -> None:
    ramp = np.repeat(np.linspace(0, 250, 200, dtype=np.uint8)[None, :, None], 160, axis=0).repeat(3, axis=2)
    hole = np.zeros((160, 200), bool)
    hole[50:90, 80:130] = True
    spoiled = ramp.copy()
    spoiled[hole] = 255
    smooth = inpaint.smooth(spoiled, hole)
    assert (smooth[~hole] == ramp[~hole]).all()
    assert np.abs(smooth[hole].astype(int) - ramp[hole]).mean() < 12
    chequers = (np.indices((160, 200)).sum(axis=0) // 5 % 2 * 200).astype(np.uint8)[..., None].repeat(3, axis=2)
    quilted = inpaint.quilted(chequers, hole, np.random.default_rng(0))
    assert (quilted[~hole] == chequers[~hole]).all()
    assert quilted[hole].std() > 70  # texture, where the smooth filling is grey


def test_shapes_are_of_the_stated_size_and_repeat() -> None:
    shares = []
    for seed in range(40):
        mask = free_shape((200, 300), np.random.default_rng(seed))
        assert (mask == free_shape((200, 300), np.random.default_rng(seed))).all()
        shares.append(mask.mean())
    assert np.median(shares) == pytest.approx(np.sqrt(SHARES[0] * SHARES[1]), rel=0.6)
    halves = np.zeros((200, 300, 3), np.uint8)
    halves[60:120, 60:160] = 220
    found = [mask for seed in range(12) if (mask := grown_by_colour(halves, np.random.default_rng(seed))) is not None]
    assert found
    for mask in found:
        assert mask[75:105, 75:145].mean() > 0.95
        assert mask[:50].mean() < 0.05


def test_measured_edits_are_of_coco_pictures_and_kinds_take_turns(shared: Path) -> None:
    made = list(made_edits(shared, 5, seed=1, passage=greyer))
    assert [item.kind for item in made[::2]] == list(KINDS)
    assert {item.kind for item in made[1::2]} == {""}
    for altered, untouched in zip(made[::2], made[1::2], strict=True):
        assert altered.host == untouched.host
        assert altered.host.id.startswith("test/")
        assert altered.host.source == "lightly-ai/coco128_yolo"
    assert made[0].data == next(made_edits(shared, 5, seed=1, passage=greyer)).data
    assert "regenerated" not in {item.kind for item in made_edits(shared, 5, seed=1)}
    for mask in segments(shared / "coco_panoptic" / f"{made[0].host.path.stem}.png"):
        assert mask.shape == made[0].mask.shape


def test_training_edits_never_touch_evaluation_pictures(shared: Path) -> None:
    from evals import datasets
    from finetune.tampering import HELD, chunks, fold_of

    test = {item.id for item in datasets.labelled(shared, "test")}
    seen: dict[bool, set[str]] = {}
    for held in (False, True):
        for _, hosts, _ in chunks(shared, held):
            assert len({fold_of(item.id) for item in hosts}) == 1
            seen.setdefault(held, set()).update(item.id for item in hosts)
    assert not (seen[True] | seen[False]) & test
    assert not seen[True] & seen[False]
    assert {fold_of(name) for name in seen[True]} == {HELD}
    host = next(item for item in datasets.labelled(shared, "train") if item.label == "real")
    (altered, untouched) = training_edits([host], [0], seed=1)
    assert altered.host == untouched.host == host

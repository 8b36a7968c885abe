from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evals import datasets, forge
from evals.protocols import drawn, few
from evals.suite import ProtocolSpec
from tests.conftest import picture
from tests.evals.fakes import made_data


def _spec(**fields: object) -> ProtocolSpec:
    return ProtocolSpec.model_validate({"name": "p", "title": "P", "data": ["given"]} | fields)


def _size(data: bytes) -> tuple[str | None, tuple[int, int]]:
    with Image.open(io.BytesIO(data)) as file:
        return file.format, file.size


def test_what_leaves_the_chain_has_one_size_and_small_pictures_are_counted(tmp_path: Path) -> None:
    items = made_data(tmp_path, 12, sizes=((100, 90), (60, 60)))
    source = drawn(_spec(chain={"side": 80}, draws=2), tmp_path, limit=None, seed=0, given=items, work=tmp_path)
    samples = list(source)
    assert {_size(sample.data) for sample in samples} == {("JPEG", (80, 80))}
    assert dict(source.left_out) == {"generated": 6}
    assert len(samples) == 12
    enlarged = drawn(
        _spec(chain={"side": 80, "small": "enlarge"}), tmp_path, limit=None, seed=0, given=items, work=tmp_path
    )
    assert {_size(sample.data) for sample in enlarged} == {("JPEG", (80, 80))}
    assert not enlarged.left_out
    again = drawn(_spec(chain={"side": 80}, draws=2), tmp_path, limit=None, seed=0, given=items, work=tmp_path)
    assert [sample.data for sample in again] == [sample.data for sample in samples]


def test_a_file_that_is_no_picture_is_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    items = made_data(tmp_path, 4)
    items[1].path.write_bytes(b"junk")
    source = drawn(_spec(chain={"side": 64}), tmp_path, limit=None, seed=0, given=items, work=tmp_path)
    assert len(list(source)) == 3
    assert list(source.broken) == [items[1].id]


def test_both_sides_of_a_pair_meet_one_draw(shared: Path, tmp_path: Path) -> None:
    source = drawn(_spec(data=["pairs"], chain={"side": 96}), shared, limit=6, seed=3, given=(), work=tmp_path)
    tables: dict[str, list[dict[int, list[int]]]] = {}
    labels: dict[str, list[bool]] = {}
    for sample in source:
        with Image.open(io.BytesIO(sample.data)) as file:
            tables.setdefault(sample.pair, []).append(file.quantization)
        labels.setdefault(sample.pair, []).append(sample.positive)
    assert len(tables) == 3
    assert all(first == second for first, second in tables.values())
    assert all(sorted(found) == [False, True] for found in labels.values())


def test_a_limit_takes_evenly_from_classes_and_generators(tmp_path: Path) -> None:
    items = made_data(tmp_path, 64)
    chosen = few(items, 16, seed=0)
    assert sum(item.label == "real" for item in chosen) == 8
    assert len({item.generator for item in chosen if item.generator}) == 8
    assert chosen == few(items, 16, seed=0)
    assert few(items, 100, seed=0) == items


def test_forgeries_have_a_mask_and_a_twin_saved_alike(shared: Path, tmp_path: Path) -> None:
    source = drawn(
        _spec(data=["forged"], question="edited", forged=6), shared, limit=None, seed=0, given=(), work=tmp_path
    )
    samples = list(source)
    edited, twins = [s for s in samples if s.positive], [s for s in samples if not s.positive]
    assert len(edited) == len(twins) >= 4
    for sample, twin in zip(edited, twins, strict=True):
        assert sample.pair == twin.pair
        assert sample.mask is not None
        assert twin.mask is None
        with Image.open(io.BytesIO(sample.data)) as a, Image.open(io.BytesIO(twin.data)) as b:
            assert a.quantization == b.quantization
            change = np.abs(np.asarray(a).astype(int) - np.asarray(b)).mean(axis=2)
        assert change.shape == sample.mask.shape
        assert change[sample.mask].mean() > 4 * change[~sample.mask].mean()
    assert len({sample.generator for sample in edited}) >= 2, "more than one way to alter"


def test_painting_over_fills_the_hole_from_around_it() -> None:
    rgb = np.full((60, 80, 3), 90, dtype=np.uint8)
    rgb[20:40, 30:50] = (255, 0, 0)
    hole = np.zeros((60, 80), dtype=bool)
    hole[18:42, 28:52] = True
    out, mask = forge.painted_over(rgb, hole)
    assert (out == 90).all()
    assert mask[18:42, 28:52].all()


def test_panoptic_masks_are_read_by_segment(shared: Path) -> None:
    item = next(
        i for i in datasets.labelled(shared, "test") if (shared / "coco_panoptic" / f"{i.path.stem}.png").exists()
    )
    rgb = item.pixels()
    masks = forge.segments(shared / "coco_panoptic" / f"{item.path.stem}.png", (rgb.shape[1], rgb.shape[0]))
    assert masks
    assert np.sum(masks, axis=0).max() == 1, "segments do not overlap"
    with pytest.raises(datasets.ConfigurationError, match="size"):
        forge.segments(shared / "coco_panoptic" / f"{item.path.stem}.png", picture(8, 8).size)

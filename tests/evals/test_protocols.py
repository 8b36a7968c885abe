from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from evals.protocols import drawn, few
from evals.suite import ProtocolSpec
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


def test_made_edits_have_a_mask_and_a_twin_saved_alike(shared: Path, tmp_path: Path) -> None:
    source = drawn(
        _spec(data=["forged"], question="edited", forged=6), shared, limit=None, seed=0, given=(), work=tmp_path
    )
    samples = list(source)
    edited, twins = [s for s in samples if s.positive], [s for s in samples if not s.positive]
    assert len(edited) == len(twins) == 6
    assert len({sample.picture for sample in samples}) == 12
    for sample, twin in zip(edited, twins, strict=True):
        assert sample.pair == twin.pair, "a photograph and all that was made of it are drawn as one"
        assert sample.mask is not None
        assert twin.mask is None
        assert _size(sample.data) == _size(twin.data)
        assert sample.mask.shape == _size(sample.data)[1][::-1]
    assert len({sample.generator for sample in edited}) >= 2, "more than one way to alter"
    again = drawn(
        _spec(data=["forged"], question="edited", forged=2, perturb=["half"]), shared, limit=None, seed=0, given=(),
        work=tmp_path,
    )  # fmt: skip
    assert [s.picture for s in again] == [s.picture for s in samples[:4]], "the same pictures, to be compared"
    assert all(sample.mask is None for sample in again), "a mask of another size would point elsewhere"

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from evals import datasets
from tests.conftest import picture
from tools.errors import ConfigurationError


def test_shared_data_is_read_whole(shared: Path) -> None:
    train, test = datasets.labelled(shared, "train"), datasets.labelled(shared, "test")
    assert Counter(item.label for item in train) == {"generated": 499, "real": 230}
    assert Counter(item.label for item in test) == {"generated": 128, "real": 100}
    assert not {item.generator for item in train if item.generator} & {i.generator for i in test if i.generator}
    assert not {item.prompt for item in train if item.prompt} & {item.prompt for item in test if item.prompt}
    assert all(bool(item.generator) == (item.label == "generated") for item in train + test)
    assert {item.generator for item in train if item.panes == 2} == {"SD1.x-2x2-grid"}


def test_each_pair_holds_one_of_each(shared: Path) -> None:
    found: dict[str, list[str]] = {}
    for item in datasets.pairs(shared):
        found.setdefault(item.pair, []).append(item.label)
    assert len(found) == 45
    assert all(sorted(labels) == ["generated", "real"] for labels in found.values())


def test_photos_and_masks(shared: Path) -> None:
    photos = datasets.photos(shared)
    assert len(photos) == 378
    assert photos[0].pixels().shape == (256, 256, 3)
    for item in datasets.edited(shared):
        mask = item.mask_pixels()
        assert mask.shape == item.pixels().shape[:2]
        assert 0 < mask.mean() < 0.7


def test_a_missing_folder_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--data"):
        datasets.labelled(tmp_path, "train")


def test_a_label_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pairs").mkdir()
    (tmp_path / "pairs" / "manifest.csv").write_text("path,label,pair,size\na.jpg,maybe,x/1,1x1\n")
    picture().save(tmp_path / "pairs" / "a.jpg")
    with pytest.raises(ConfigurationError, match="maybe"):
        datasets.pairs(tmp_path)

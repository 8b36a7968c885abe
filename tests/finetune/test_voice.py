from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from evals import datasets
from evals.datasets import Item
from evals.voice import Voice
from finetune import voice as module
from finetune.scores import COLUMNS, Rows
from finetune.twins import Twin
from tests.conftest import picture
from tools.contract import Evidence


class Fake(Voice):
    """Says how light a picture is, and counts what it was asked."""

    def __init__(self) -> None:
        self.version, self.asked = "fake", 0

    def many(self, pictures: Iterable[np.ndarray]) -> Iterator[Evidence]:
        for rgb in pictures:
            self.asked += 1
            yield Evidence(id="vision", detector="vision", version="fake", target="generated", score=rgb.mean() / 255)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Item]:
    items = []
    for number in range(12):
        path = tmp_path / f"{number}.jpg"
        picture(280, 280, seed=number).save(path)
        made = number % 2 == 1
        items.append(
            Item(
                id=f"train/{number}.jpg", path=path, split="train", label="generated" if made else "real",
                generator=f"maker{number % 3}" if made else "", source="" if made else f"camera{number % 4}",
            )
        )  # fmt: skip
    monkeypatch.setattr(datasets, "labelled", lambda data, split: items)
    monkeypatch.setattr(datasets, "photos", lambda data: [])
    monkeypatch.setattr(
        module,
        "twins",
        lambda some, *rest: [Twin(item, 0, item.pixels()[:256, :256], item.pixels()[:256, :256]) for item in some],
    )
    return items


def test_pictures_of_the_training_are_named_without_their_draw(tmp_path: Path) -> None:
    rest = {"kind": None, "place": None, "strength": None, "native": False, "share": [0.0]}
    views = [("train/a#b.png#7", True), ("train/a#b.png#9", True), ("lab/photo#3", False)]
    (tmp_path / "views.json").write_text(json.dumps([{"id": name, "made": made} | rest for name, made in views]))
    assert module.pictures_seen(tmp_path / "views.json") == {"train/a#b.png"}


def test_a_beginning_is_spread_over_the_groups(data: list[Item]) -> None:
    ordered = module.spread(data, lambda item: item.label)
    assert {item.label for item in ordered[:2]} == {"real", "generated"}
    assert module.spread(data[::-1], lambda item: item.label) == ordered
    assert sorted(item.id for item in ordered) == sorted(item.id for item in data)


def test_a_sample_leaves_out_what_the_adapter_was_trained_on(data: list[Item], tmp_path: Path) -> None:
    seen = {"train/1.jpg", "train/3.jpg"}
    made = list(module.sample(tmp_path, tmp_path, tmp_path, seen, 3))
    count = {(e.kind, e.label): 0 for e in made}
    for e in made:
        count[e.kind, e.label] += 1
    assert set(count.values()) == {3}
    assert len(count) == 4
    drawn = {e.item.id for e in made if (e.kind, e.label) == ("matched", "generated")}
    assert len(drawn) == 3
    assert not drawn & seen
    shorter = [e.data for e in module.sample(tmp_path, tmp_path, tmp_path, seen, 2)]
    assert shorter == [e.data for e in made][: len(shorter)], "a smaller sample is the beginning of a larger one"


def test_rows_are_a_score_file_and_are_not_scored_twice(data: list[Item], tmp_path: Path) -> None:
    fake, part = Fake(), tmp_path / "kept" / "part.csv"
    made = list(module.sample(tmp_path, tmp_path, tmp_path, set(), 3))
    rows = list(module.score(made, fake, part))
    assert fake.asked == len(rows) == 12
    found = Rows.of((dict(zip(COLUMNS, row, strict=True)) for row in rows), "vision.csv")
    assert found.kinds == ("aligned", "matched")
    assert not found.met
    with part.open(newline="") as file:
        assert [tuple(row) for row in csv.reader(file)] == rows
    part.write_text(part.read_text()[: -len(rows[-1][-1]) - 3])  # broken off in mid-line
    again = list(module.score(made, fake, part))
    assert sorted(again) == sorted(rows)
    assert fake.asked == 13

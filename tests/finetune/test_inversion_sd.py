from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ImageFilter

from evals import datasets
from evals.perturb import Chain
from finetune import aeroblade, cards, inversion_sd
from tests.conftest import encoded, picture
from tests.tools.test_inversion_sd import write_tiny
from tools import weights
from tools.borrowed import use_inversion_model
from tools.contract import Budget
from tools.detectors.inversion_sd import inversion_sd as tool
from tools.image import SourceImage


@pytest.fixture(autouse=True)
def nothing_configured() -> Iterator[None]:
    yield
    use_inversion_model(None)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder of 12 photographs from three sources and 12 blurred pictures of three models, four prompts."""
    lines = ["path,label,generator,family,prompt,source,licence,origin"]
    (tmp_path / "train").mkdir()
    for i in range(24):
        image = picture(330, 321, seed=i)
        row = f"real,-,photo,,{('EliSchwartz/imagenet-sample-images', 'BIDS/BSDS500', 'other')[i % 3]},none"
        if i % 2:
            image = image.filter(ImageFilter.GaussianBlur(1.5))
            row = f"generated,model{i % 3},diffusion,prompt{i % 4},made,none"
        image.save(tmp_path / "train" / f"{i}.jpg", quality=92)
        lines.append(f"train/{i}.jpg,{row},x")
    (tmp_path / "manifest.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_a_head_is_trained_for_one_model_and_the_tool_reads_it(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_tiny(tmp_path / "tiny-sd")
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.setattr(cards, "FOLDER", out)
    monkeypatch.setattr(inversion_sd, "LARGER", Chain(side=128, rescaled=0.0))  # quicker
    name = inversion_sd.train(data, str(model), "cpu", tmp_path / "work")
    assert "only" in (out / f"{name}.md").read_text()

    monkeypatch.setattr(weights, "FOLDER", out)
    pins = {key: weights.Weight.model_validate({"name": key, **pin}) for key, pin in _pins(out).items()}
    monkeypatch.setattr(weights, "registry", lambda: pins)
    score = {}
    for label, image in (("real", picture(128, 128, 77)), ("generated", picture(128, 128, 77).filter(_BLUR))):
        evidence = tool.examine(SourceImage.open(encoded(image), "x.jpg"), Budget())
        assert evidence.score is not None
        assert evidence.weights[name] == pins[name].sha256
        score[label] = evidence.score
    assert score["generated"] > score["real"] + 0.1


_BLUR = ImageFilter.GaussianBlur(1.5)


def _pins(folder: Path) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = json.loads((folder / weights.PINS).read_text())
    return found


def test_aeroblade_scores_by_minus_the_least_distance(data: Path) -> None:
    def lossy(picture: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(picture, 3, stride=1, padding=1)

    items = datasets.labelled(data, "train")
    alone = aeroblade.scores(items, [lossy], 1)
    both = aeroblade.scores(items, [lossy, lambda picture: picture + 1.0], 1)
    assert set(alone) == set(aeroblade.DISTANCES)
    assert alone == both  # the worse autoencoder does not count
    for table in alone.values():
        mean = {
            label: np.mean([values[0] for item, values in table.values() if item.label == label])
            for label in ("real", "generated")
        }
        assert mean["real"] < mean["generated"] < 0  # smooth pictures come back nearer
    exact = aeroblade.scores(items[:2], [lossy, lambda picture: picture], 1)
    assert all(values == [0.0] for _, values in exact["grey_levels"].values())

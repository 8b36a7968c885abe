from __future__ import annotations

import json
from pathlib import Path

import pytest

from evals import layouts
from evals.run import run
from tests.conftest import picture
from tests.evals.fakes import calibration, knowing, suite
from tools.errors import ConfigurationError


def _lay(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(40, 40, seed=len(name)).save(path)


def _seen(name: str, folder: Path, split: str = "test") -> dict[str, tuple[str, str]]:
    return {item.id: (item.label, item.generator) for item in layouts.read(name, folder, split)}


def test_genimage(tmp_path: Path) -> None:
    _lay(tmp_path, "BigGAN/imagenet_ai_0419_biggan/val/ai/1.png", "BigGAN/imagenet_ai_0419_biggan/val/nature/2.JPEG",
         "ADM/imagenet_ai_0508_adm/val/ai/3.PNG", "ADM/imagenet_ai_0508_adm/train/ai/4.png",
         "ADM/imagenet_ai_0508_adm/train/nature/5.png")  # fmt: skip
    (tmp_path / "ADM" / "imagenet_ai_0508_adm" / "val" / "ai" / "notes.txt").write_text("no picture")
    assert _seen("genimage", tmp_path) == {
        "ADM/imagenet_ai_0508_adm/val/ai/3.PNG": ("generated", "adm"),
        "BigGAN/imagenet_ai_0419_biggan/val/ai/1.png": ("generated", "biggan"),
        "BigGAN/imagenet_ai_0419_biggan/val/nature/2.JPEG": ("real", ""),
    }
    assert set(_seen("genimage", tmp_path, "train").values()) == {("generated", "adm"), ("real", "")}
    assert _seen("genimage", tmp_path / "BigGAN" / "imagenet_ai_0419_biggan") == {
        "val/ai/1.png": ("generated", "biggan"), "val/nature/2.JPEG": ("real", ""),
    }  # fmt: skip


def test_aigcdetect_with_and_without_classes(tmp_path: Path) -> None:
    _lay(tmp_path, "progan/airplane/0_real/1.png", "progan/airplane/1_fake/2.png", "Midjourney/1_fake/3.png",
         "Midjourney/0_real/4.png")  # fmt: skip
    assert _seen("aigcdetect", tmp_path) == {
        "Midjourney/0_real/4.png": ("real", ""), "Midjourney/1_fake/3.png": ("generated", "Midjourney"),
        "progan/airplane/0_real/1.png": ("real", ""), "progan/airplane/1_fake/2.png": ("generated", "progan"),
    }  # fmt: skip


def test_chameleon_and_cifake(tmp_path: Path) -> None:
    _lay(tmp_path, "a/test/0_real/1.jpg", "a/test/1_fake/2.jpg", "a/train/1_fake/3.jpg", "b/test/REAL/0001.jpg",
         "b/test/FAKE/0001.jpg", "b/train/FAKE/0002.jpg")  # fmt: skip
    assert [label for label, _ in _seen("chameleon", tmp_path / "a").values()] == ["real", "generated"]
    assert sorted(_seen("cifake", tmp_path / "b").items()) == [
        ("test/FAKE/0001.jpg", ("generated", "Stable Diffusion 1.4")), ("test/REAL/0001.jpg", ("real", "")),
    ]  # fmt: skip


def test_fakeclue_counts_zero_as_generated(tmp_path: Path) -> None:
    _lay(tmp_path, "test/chameleon/fake/1.jpg", "test/test/genimage/real/2.jpg")
    rows = [
        {"image": "chameleon/fake/1.jpg", "label": 0, "cate": "animal", "conversations": []},
        {"image": "genimage/real/2.jpg", "label": 1, "cate": "object", "conversations": []},
    ]
    (tmp_path / "data_json").mkdir()
    listed = tmp_path / "data_json" / "test.json"
    listed.write_text(json.dumps(rows))
    assert _seen("fakeclue", tmp_path) == {
        "test/chameleon/fake/1.jpg": ("generated", "chameleon animal"), "test/test/genimage/real/2.jpg": ("real", ""),
    }  # fmt: skip
    listed.write_text(json.dumps([{"image": "gone.jpg", "label": 0}]))
    with pytest.raises(ConfigurationError, match=r"gone\.jpg"):
        layouts.read("fakeclue", tmp_path)
    listed.write_text(json.dumps([{"image": "gone.jpg", "label": 7}]))
    with pytest.raises(ConfigurationError, match="0 generated, 1 real"):
        layouts.read("fakeclue", tmp_path)


@pytest.mark.parametrize("name", sorted(layouts.LAYOUTS))
def test_another_folder_is_refused(name: str, tmp_path: Path) -> None:
    _lay(tmp_path, "test/somewhere/1.jpg")
    with pytest.raises(ConfigurationError):
        layouts.read(name, tmp_path)
    with pytest.raises(ConfigurationError, match="not a folder"):
        layouts.read(name, tmp_path / "gone")


def test_a_layout_runs_through_a_suite(tmp_path: Path) -> None:
    _lay(tmp_path, *(f"test/{kind}/{n}.png" for n in range(6) for kind in ("REAL", "FAKE")))
    result = run(
        suite({"name": "all", "title": "All", "data": ["given"]}), tmp_path, tmp_path, tools={"able": knowing("able")},
        calibration=calibration({"able": 1.0}), given=layouts.read("cifake", tmp_path), limit=8, say=False,
    )  # fmt: skip
    assert result.protocols[0].pictures == {"positive": 4, "negative": 4}
    assert result.protocols[0].leaks == (), "too few to audit"

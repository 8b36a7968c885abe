from __future__ import annotations

import io

import numpy as np
import pytest

from evals import leaks
from evals.perturb import Chain, seed_of
from tests.conftest import encoded, picture


def _audit(files: list[bytes], labels: list[int], names: list[str] | None = None) -> dict[str, leaks.Leak]:
    found = leaks.audit([leaks.features(data) for data in files], labels, names or [str(n) for n in range(len(files))],
                        seed=0, draws=100)  # fmt: skip
    return {leak.features: leak for leak in found}


def _alike(count: int, side: int = 96) -> list[bytes]:
    rgb = np.asarray(picture(200, 200, seed=1))
    return [Chain(side=side)(np.roll(rgb, n, axis=1), seed_of(str(n)))[0] for n in range(count)]


def test_a_clean_set_passes() -> None:
    labels = [n % 2 for n in range(300)]
    found = _audit(_alike(300), labels)
    assert found["format"].verdict == "clean"
    assert found["format"].auroc.value <= leaks.LEAK_BAR
    assert found["bytes"].verdict != "leaks"


@pytest.mark.parametrize("plant", ["size", "tables", "container", "mode", "metadata"])
def test_a_planted_leak_of_the_format_is_found(plant: str) -> None:
    image = picture(96, 96)
    exif = image.getexif()
    exif[0x010F] = "Camera"
    planted = {
        "size": lambda n: encoded(picture(96 + 8 * (n % 3 == 0), 96, seed=n), quality=80),
        "tables": lambda n: encoded(image, quality=88),
        "container": lambda n: encoded(image, "PNG"),
        "mode": lambda n: encoded(image.convert("L"), quality=80),
        "metadata": lambda n: encoded(image, quality=80, exif=exif.tobytes()),
    }[plant]
    files = [planted(n) if n % 2 else encoded(picture(96, 96, seed=n), quality=80) for n in range(120)]
    found = _audit(files, [n % 2 for n in range(120)])
    assert found["format"].verdict == "leaks"
    assert found["format"].auroc.value > 0.6


def test_detail_is_told_as_bytes_and_not_as_format() -> None:
    rng = np.random.default_rng(0)
    files = []
    for n in range(120):
        rgb = np.clip(np.asarray(picture(96, 96, seed=n)) + rng.normal(0, 12 * (n % 2), (96, 96, 3)), 0, 255)
        files.append(Chain(side=96, rescaled=0)(rgb.astype(np.uint8), seed_of(str(n)))[0])
    found = _audit(files, [n % 2 for n in range(120)])
    assert found["bytes"].verdict == "leaks"
    assert found["format"].auroc.value < found["bytes"].auroc.value


def test_both_sides_of_a_pair_stay_in_one_fold() -> None:
    """Each pair has a size of its own: an audit that saw one side would know nothing of the label, and none must."""
    files = [encoded(picture(64 + n // 2, 64), quality=80) for n in range(120)]
    found = _audit(files, [n % 2 for n in range(120)], [str(n // 2) for n in range(120)])
    assert found["format"].auroc.value == pytest.approx(0.5, abs=1e-6)


def test_too_few_pictures_give_no_verdict() -> None:
    assert _audit(_alike(12), [n % 2 for n in range(12)]) == {}


def test_features_are_finite_for_every_kind_of_file() -> None:
    image = picture(40, 30)
    for fmt in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"):
        row = leaks.features(encoded(image, fmt))
        assert len(row) == len(leaks.FEATURES)
        assert np.isfinite(row).all()
        assert row[:2] == (40, 30)
    progressive = io.BytesIO()
    image.save(progressive, "JPEG", progressive=True)
    assert leaks.features(progressive.getvalue())[leaks.FEATURES.index("progressive")] == 1

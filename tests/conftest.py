"""What several test folders share: where the shared data lies, and small pictures."""

from __future__ import annotations

import io
import os
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
from _pytest.reports import TestReport
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared data; the test is skipped where it is missing."""
    if not (SHARED / "manifest.csv").exists():
        pytest.skip("shared data is not beside this checkout (../shared/data)")
    return SHARED


def picture(width: int = 256, height: int = 192, seed: int = 0) -> Image.Image:
    """A photograph-like picture: smooth shading, edges and noise, made from `seed`."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    base = 120 + 60 * np.sin(x / 37 + seed) + 40 * np.cos(y / 23)
    base += 50 * ((x - width / 2) ** 2 + (y - height / 2) ** 2 < (min(width, height) / 4) ** 2)
    rgb = np.stack([base, base * 0.8 + 20, 220 - base * 0.6], axis=2) + rng.normal(0, 4, (height, width, 3))
    return Image.fromarray(rgb.clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, fmt: str = "JPEG", **options: object) -> bytes:
    """`image` as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, fmt, **options)
    return buffer.getvalue()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, TestReport, TestReport]:
    """Under `EXPOSIT_TEST_STRICT` a skipped test is a failed one: CI has everything that a test may need."""
    report = yield
    if os.environ.get("EXPOSIT_TEST_STRICT") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, which is not allowed here: {report.longrepr}"
    return report

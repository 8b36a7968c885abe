"""The perceptual hash: near for copies, far for other pictures, empty where it tells nothing."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from tests.conftest import encoded, picture
from tools.image import SourceImage
from tools.perceptual import SAME_WITHIN, distance, perceptual_hash


def hashed(image: Image.Image, fmt: str = "PNG", **options: object) -> str:
    return perceptual_hash(SourceImage.open(encoded(image, fmt, **options)).rgb)


def scene(seed: int) -> Image.Image:
    """Noise of a photograph's spectrum, so that two seeds are two pictures."""
    from evals.bench import natural_picture

    return Image.open(io.BytesIO(natural_picture(256, seed)))


def test_copies_are_near_and_other_pictures_far() -> None:
    original = scene(1)
    own = hashed(original)
    assert len(own) == 64
    copies = [hashed(original, "JPEG", quality=40), hashed(original.resize((180, 180))), hashed(original, "WEBP")]
    near = [distance(own, copy) for copy in copies]
    assert all(bits is not None and bits <= SAME_WITHIN for bits in near), near
    far = [distance(own, hashed(scene(seed))) for seed in range(2, 6)]
    assert all(bits is not None and bits > 2 * SAME_WITHIN for bits in far), far


def test_a_picture_that_holds_nothing_has_no_hash() -> None:
    assert hashed(Image.new("RGB", (200, 200), "grey")) == ""
    assert perceptual_hash(np.zeros((64, 64, 3), dtype=np.uint8)) == ""
    assert distance("", hashed(picture())) is None
    assert distance("zz" * 32, "00" * 32) is None
    assert distance("00" * 32, "01" + "00" * 31) == 1

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from evals.perturb import PERTURBATIONS, Chain, decode, perturb, seed_of
from tests.conftest import picture

RGB = np.asarray(picture(400, 300, seed=3))


def test_the_chain_is_the_same_for_every_size_but_for_the_place() -> None:
    chain = Chain()
    for draw in range(50):
        small, large = (chain.draw(size, seed_of("x", draw)) for size in ((600, 400), (4000, 3000)))
        assert (small.crop, small.side, small.quality) == (large.crop, large.side, large.quality)


def test_the_chain_gives_one_size_one_format_and_is_repeatable() -> None:
    chain = Chain()
    qualities, crops = set(), set()
    for draw in range(40):
        data, passage = chain(RGB, seed_of("x", draw))
        with Image.open(io.BytesIO(data)) as file:
            assert (file.format, file.size, file.mode) == ("JPEG", (224, 224), "RGB")
            assert not file.getexif()
        assert data == chain(RGB, seed_of("x", draw))[0]
        qualities.add(passage.quality)
        crops.add(passage.crop)
        assert 70 <= passage.quality <= 95
    assert len(qualities) > 10
    assert len(crops) > 10
    assert 224 in crops


def test_a_crop_stays_inside_its_pane() -> None:
    chain = Chain(rescaled=0.0)
    panes = set()
    for draw in range(60):
        p = chain.draw((1024, 1024), seed_of("grid", draw), panes=2)
        assert p.left // 512 == (p.left + p.crop - 1) // 512
        assert p.top // 512 == (p.top + p.crop - 1) // 512
        panes.add((p.left // 512, p.top // 512))
    assert len(panes) == 4


def test_a_picture_that_is_too_small_gives_its_largest_square() -> None:
    data, passage = Chain(scales=(0.5, 0.6), rescaled=1.0)(RGB, 1)
    assert passage.crop == 300
    assert decode(data).shape == (224, 224, 3)


@pytest.mark.parametrize("name", sorted(PERTURBATIONS))
def test_each_perturbation_changes_the_pixels_and_repeats(name: str) -> None:
    data = perturb(RGB, (name,), seed=5)
    assert data == perturb(RGB, (name,), seed=5)
    out = decode(data)
    assert out.shape != RGB.shape or np.abs(out.astype(int) - RGB).mean() > 0.3
    scale = {"half": 0.5, "x1.5": 1.5, "social": 0.8}.get(name)
    if scale:
        assert out.shape[:2] == (round(300 * scale), round(400 * scale))


def test_perturbations_are_chained_in_order() -> None:
    both = perturb(RGB, ("half", "jpeg70"), seed=1)
    with Image.open(io.BytesIO(both)) as file:
        assert (file.format, file.size) == ("JPEG", (200, 150))
    with pytest.raises(KeyError):
        perturb(RGB, ("nonsense",), seed=1)
    with pytest.raises(ValueError, match="at least one"):
        perturb(RGB, (), seed=1)

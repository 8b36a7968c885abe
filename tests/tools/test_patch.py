from __future__ import annotations

import io
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from tests.conftest import encoded, picture
from tools import weights
from tools.contract import Budget, Evidence, Finding
from tools.detectors import patch as module
from tools.detectors.patch import patch
from tools.image import SourceImage
from tools.texture import CELL, NAMES, TILE, look, texture
from tools.tiles import Head, canvas, covered, sample, tiles


def examined(image: Image.Image, budget: Budget | None = None, **options: object) -> tuple[Evidence, SourceImage]:
    source = SourceImage.open(encoded(image, "PNG", **options), "x.png")
    return patch.examine(source, budget or Budget()), source


def spoken(finding: Finding) -> set[float]:
    return {float(number) for number in re.findall(r"\d+(?:\.\d+)?", finding.text)}


def test_the_same_bytes_give_the_same_evidence_with_a_map_and_pinned_weights() -> None:
    first, source = examined(picture(520, 400))
    second, _ = examined(picture(520, 400))
    assert first.model_copy(update={"ms": 0.0}) == second.model_copy(update={"ms": 0.0})
    assert first.score is not None
    assert first.measurements["tiles_judged"] == 6
    assert first.measurements["coverage"] == 1.0
    assert first.weights == {"patch": weights.weight("patch").sha256}
    assert first.version.endswith(first.weights["patch"][:8])
    drawn = np.asarray(Image.open(io.BytesIO(source.maps.png[first.maps[0].sha256])))
    assert drawn.shape == (50, 65)


@pytest.mark.parametrize("logit", [-3.0, 0.0, 3.0])
def test_findings_follow_the_score_and_speak_only_of_numbers_they_carry(
    monkeypatch: pytest.MonkeyPatch, logit: float
) -> None:
    def leaning(arrays: object) -> Head:
        slope = np.zeros(len(NAMES))
        slope[NAMES.index("energy/luma_square3_rich")] = 0.05
        return Head(np.zeros(len(NAMES)), np.ones(len(NAMES)), slope, logit, -2.0, 2.0)

    monkeypatch.setattr(module.Head, "of", leaning)
    rough = np.asarray(picture(672, 672)).copy()
    rough[:224, :224] = np.random.default_rng(0).integers(0, 256, (224, 224, 3))
    evidence, _ = examined(Image.fromarray(rough))
    assert evidence.score is not None
    wanted = {-3.0: "camera", 0.0: "neutral", 3.0: "generated"}[logit]
    assert evidence.findings[0].polarity == wanted
    for finding in evidence.findings:
        assert finding.severity in ("info", "weak")
        assert spoken(finding) <= {float(v) for v in finding.numbers.values() if not isinstance(v, str)}
    if logit > 0:
        assert [f.region for f in evidence.findings if f.region] == list(evidence.regions)
        assert evidence.regions[0].place == "top left"
    else:
        assert not evidence.regions


@pytest.mark.parametrize(
    ("image", "because"),
    [
        (picture(300, 63), "300x63"),
        (Image.new("RGB", (300, 300), (90, 120, 200)), "nearly flat"),
    ],
)
def test_abstains_on_what_it_cannot_judge(image: Image.Image, because: str) -> None:
    evidence, _ = examined(image)
    assert evidence.score is None
    assert because in str(evidence.abstained_because)


def test_a_small_picture_is_judged_with_less_weight_and_says_so() -> None:
    evidence, _ = examined(picture(64, 90))
    assert evidence.score is not None
    assert evidence.applicability == pytest.approx((56 / 224) ** 2, abs=1e-3)
    assert any("56 px" in limit for limit in evidence.limits)


def test_flat_tiles_do_not_vote_and_lower_applicability() -> None:
    image = Image.new("RGB", (448, 224), (80, 80, 80))
    image.paste(picture(224, 224), (0, 0))
    evidence, _ = examined(image)
    assert (evidence.measurements["tiles_judged"], evidence.measurements["tiles_flat"]) == (1, 1)
    assert evidence.applicability == 0.5


def test_a_large_picture_is_sampled_by_its_hash_within_bounded_memory() -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (4000, 4000, 3), dtype=np.uint8)
    tracemalloc.start()
    found = look(rgb, most=10, seed=7)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found.judged) == 10
    assert found.possible == 18**2
    assert 0.02 < found.coverage < 0.05
    assert found.judged == look(rgb, most=10, seed=7).judged != look(rgb, most=10, seed=8).judged
    assert peak < 20e6


def test_features_do_not_follow_exposure_but_follow_blur() -> None:
    image = picture(TILE, TILE, seed=4)
    rgb = np.asarray(image).astype(np.float32)
    darker = texture(np.rint(20 + rgb * 0.7).clip(0, 255).astype(np.uint8)).features
    plain = texture(np.asarray(image)).features
    blurred = texture(np.asarray(image.filter(ImageFilter.GaussianBlur(1.5)))).features
    chosen = [i for i, name in enumerate(NAMES) if name.startswith(("energy/luma", "neighbours"))]
    assert np.abs(plain - darker)[chosen].mean() < 0.06
    assert np.abs(plain - blurred)[chosen].mean() > 0.3


def test_a_period_of_upsampling_is_seen_at_its_period() -> None:
    rng = np.random.default_rng(2)
    small = rng.integers(60, 190, (TILE // 4, TILE // 4, 3), dtype=np.uint8)
    nearest = np.kron(small, np.ones((4, 4, 1), dtype=np.uint8))
    noise = rng.integers(60, 190, (TILE, TILE, 3), dtype=np.uint8)
    four, off = NAMES.index("period/16_over_4"), NAMES.index("period/16_over_3")
    raised = texture(nearest).features - texture(noise).features
    assert raised[four] > 2
    assert abs(raised[off]) < 0.8


def test_tiles_cover_the_picture_and_begin_on_the_jpeg_grid() -> None:
    for width, height, side in ((1024, 1024, TILE), (225, 224, TILE), (501, 333, 112), (64, 64, 56)):
        found = tiles(width, height, side)
        assert all(left % 8 == 0 and top % 8 == 0 for left, top in found)
        assert all(left + side <= width and top + side <= height for left, top in found)
        assert covered(found, side, width // 8 * 8, height // 8 * 8) > 0.9
    assert sample(tiles(1024, 1024, TILE), 100, 0) == tiles(1024, 1024, TILE)
    with pytest.raises(ValueError, match="no tile"):
        tiles(100, 300, TILE)
    with pytest.raises(ValueError, match=str(2 * CELL)):
        texture(np.zeros((40, 80, 3), dtype=np.uint8))


def test_a_map_shows_each_value_where_its_tile_lies() -> None:
    drawn = canvas([(0, 0), (64, 0)], [0.25, 0.75], 64, (128, 96))
    assert drawn.shape == (12, 16)
    assert (drawn[:8, :8] == 0.25).all()
    assert (drawn[:8, 8:] == 0.75).all()
    assert np.isnan(drawn[8:]).all()


def test_the_shared_photographs_and_generated_pictures_are_told_apart_in_the_right_direction(shared: Path) -> None:
    from evals import datasets
    from evals.perturb import Chain, seed_of

    chain, means = Chain(), {}
    items = datasets.labelled(shared, "train")
    for label in ("real", "generated"):
        chosen = [item for item in items if item.label == label][:60:3]
        scores = [
            patch.examine(SourceImage.open(chain(i.pixels(), seed_of(i.id, 9), i.panes)[0]), Budget()).score
            for i in chosen
        ]
        means[label] = np.mean([score for score in scores if score is not None])
    assert means["generated"] > means["real"] + 0.05

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from tests.conftest import encoded, picture
from tools import weights
from tools.contract import Budget, Evidence
from tools.detectors import inversion as module
from tools.detectors.inversion import PHOTOGRAPHS, inversion
from tools.diffusion import Denoiser, preconditioning
from tools.image import SourceImage
from tools.reconstruction import LADDER, NAMES, TILE, inverted, look, measure, shipped
from tools.tiles import Head


def examined(image: Image.Image, budget: Budget | None = None) -> tuple[Evidence, SourceImage]:
    source = SourceImage.open(encoded(image, "PNG"), "x.png")
    return inversion.examine(source, budget or Budget()), source


def test_the_same_bytes_give_the_same_evidence_with_a_map_and_pinned_weights() -> None:
    first, source = examined(picture(520, 400))
    second, _ = examined(picture(520, 400))
    assert first.model_copy(update={"ms": 0.0}) == second.model_copy(update={"ms": 0.0})
    assert first.score is not None
    assert first.measurements["tiles_judged"] == 8
    assert 0 < float(first.measurements["coverage"]) < 0.6
    assert set(first.weights) == {"inverter", "inversion"}
    assert all(digest == weights.weight(name).sha256 for name, digest in first.weights.items())
    assert all(digest[:8] in first.version for digest in first.weights.values())
    drawn = np.asarray(Image.open(io.BytesIO(source.maps.png[first.maps[0].sha256])))
    assert drawn.shape == (50, 65)
    assert drawn.max() == 255


@pytest.mark.parametrize("logit", [-3.0, 0.0, 3.0])
def test_findings_follow_the_score_and_speak_only_of_numbers_they_carry(
    monkeypatch: pytest.MonkeyPatch, logit: float
) -> None:
    def leaning(arrays: object) -> Head:
        slope = np.zeros(len(NAMES))
        slope[NAMES.index("returned/strength")] = 0.05
        return Head(np.zeros(len(NAMES)), np.ones(len(NAMES)), slope, logit, -2.0, 2.0)

    monkeypatch.setattr(module.Head, "of", leaning)
    rough = np.asarray(picture(448, 448)).copy()
    rough[:112, :112] = np.random.default_rng(0).integers(0, 256, (112, 112, 3))
    evidence, _ = examined(Image.fromarray(rough), Budget(level="thorough"))
    assert evidence.findings[0].polarity == {-3.0: "camera", 0.0: "neutral", 3.0: "generated"}[logit]
    for finding in evidence.findings:
        assert finding.severity in ("info", "weak")
        said = {float(number) for number in re.findall(r"\d+(?:\.\d+)?", finding.text)}
        assert said <= {float(value) for value in finding.numbers.values()}
    assert bool(evidence.regions) == (logit > 0)
    if logit > 0:
        assert evidence.regions[0].place == "top left"


def test_budgets_bound_the_tiles_that_are_reconstructed() -> None:
    image = picture(720, 720)
    judged = {}
    for level in ("quick", "standard", "thorough"):
        evidence, _ = examined(image, Budget.model_validate({"level": level}))
        judged[level] = evidence.measurements["tiles_judged"]
        assert any("were reconstructed" in limit for limit in evidence.limits)
    assert judged == {"quick": 4, "standard": 8, "thorough": 24}
    assert examined(image, Budget(max_tiles=2))[0].measurements["tiles_judged"] == 2


@pytest.mark.parametrize(
    ("image", "because"),
    [(picture(300, 63), "300x63"), (Image.new("RGB", (300, 300), (90, 120, 200)), "nearly flat")],
)
def test_abstains_on_what_it_cannot_judge(image: Image.Image, because: str) -> None:
    evidence, _ = examined(image)
    assert evidence.score is None
    assert because in str(evidence.abstained_because)


def test_a_small_picture_is_judged_with_less_weight_and_says_so() -> None:
    evidence, _ = examined(picture(64, 90))
    assert evidence.score is not None
    assert evidence.applicability == pytest.approx((64 / TILE) ** 2, abs=1e-3)
    assert any("64 px" in limit for limit in evidence.limits)


def test_flat_tiles_are_passed_over() -> None:
    image = Image.new("RGB", (1120, 112), (80, 80, 80))
    image.paste(picture(112, 112), (336, 0))
    found = look(shipped(), np.asarray(image), most=8, seed=3)
    assert found.judged == [(336, 0)]
    assert found.flat == 9


def test_the_model_denoises_and_limits_name_its_photographs() -> None:
    card = (Path(weights.__file__).parent / "inverter.md").read_text()
    assert f"| photographs | {PHOTOGRAPHS} |" in card
    assert any(f"{PHOTOGRAPHS} photographs" in limit for limit in examined(picture())[0].limits)
    rgb = np.asarray(picture(128, 128).filter(ImageFilter.GaussianBlur(1))).astype(np.float32) / 127.5 - 1
    clean = torch.from_numpy(rgb).permute(2, 0, 1)[None]
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        for sigma in (0.1, 0.3):
            restored = shipped()(clean + sigma * noise, torch.tensor([sigma]))
            assert ((restored - clean) ** 2).mean().sqrt() < 0.5 * sigma


def test_inversion_comes_back_to_the_picture_and_a_perfect_model_returns_it_exactly() -> None:
    class Perfect(Denoiser):
        def forward(self, noisy: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
            return truth.expand_as(noisy)

    truth = torch.linspace(-0.5, 0.5, 3 * 16 * 16).reshape(1, 3, 16, 16)
    shifted = truth + 0.03
    with torch.inference_mode():
        first, noise, back = inverted(Perfect(), shifted)
    assert torch.allclose(first, torch.ones_like(truth) * 0.03 / LADDER[0], atol=1e-5)
    assert torch.allclose(back, shifted, atol=1e-5)
    assert torch.allclose(noise, (LADDER[2] - LADDER[0]) * first / LADDER[2], atol=1e-4)


def test_features_are_finite_named_and_answer_to_what_a_generator_would_change() -> None:
    image = picture(TILE, TILE, seed=5)
    plain = measure(shipped(), np.asarray(image), [(0, 0)], TILE, seed=1)[0]
    soft = measure(shipped(), np.asarray(image.filter(ImageFilter.GaussianBlur(2))), [(0, 0)], TILE, seed=1)[0]
    assert plain.features.shape == (len(NAMES),)
    assert len(set(NAMES)) == len(NAMES)
    assert np.isfinite(plain.features).all()
    assert plain.error.shape == (TILE, TILE)
    for reading in ("residual/strength", "inverted/strength", "noise_0.08/along_residual"):  # no noise left to find
        at = NAMES.index(reading)
        assert soft.features[at] < plain.features[at] - 0.3
    at = NAMES.index("returned/lag_0_1")  # and what comes back differs smoothly
    assert soft.features[at] > plain.features[at] + 0.1
    for flat in (0, 255):
        extreme = measure(shipped(), np.full((64, 64, 3), flat, dtype=np.uint8), [(0, 0)], 64, seed=1)[0]
        assert np.isfinite(extreme.features).all()


def test_preconditioning_gives_unit_variance() -> None:
    sigma = torch.tensor([0.02, 0.1, 0.5])
    skip, out, scale = (value.flatten() for value in preconditioning(sigma))
    data, noise = 0.4**2, sigma**2
    assert torch.allclose(scale**2 * (data + noise), torch.ones(3), atol=1e-5)
    assert torch.allclose(((1 - skip) ** 2 * data + skip**2 * noise) / out**2, torch.ones(3), atol=1e-4)

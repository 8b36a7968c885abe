"""The tower is cut where it says, and the detector speaks only of what it saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agent.settings import Settings
from tests.conftest import encoded, picture
from tools import weights
from tools.clip import BLOCKS, LEAST, SIDE, UNIT, WIDTH, Tower, has_vnni, look, mirrored
from tools.contract import Budget
from tools.detectors.semantic import MOST, semantic
from tools.errors import MissingWeightError
from tools.image import SourceImage
from tools.tiles import Head


@pytest.fixture(scope="module")
def clip() -> Path:
    try:
        file = weights.verify("clip", Settings().cache)
    except MissingWeightError as missing:
        pytest.skip(str(missing))
    weights.use_cache(Settings().cache)
    return file


def opened(width: int, height: int, seed: int = 0) -> SourceImage:
    return SourceImage.open(encoded(picture(width, height, seed), "JPEG", quality=90), "a.jpg")


def test_the_cut_graph_gives_what_the_whole_one_gives(clip: Path) -> None:
    import onnx
    import onnxruntime

    view = np.asarray(picture(SIDE, SIDE))
    found = Tower(clip, threads=1).class_tokens(view)
    assert found.shape == (len(BLOCKS), WIDTH)
    whole = onnx.load(str(clip))
    name = f"/vision_model/encoder/layers.{BLOCKS[-1] - 1}/Add_1_output_0"
    whole.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")  # right on any CPU
    session = onnxruntime.InferenceSession(whole.SerializeToString(), options, providers=["CPUExecutionProvider"])
    mean = np.array([0.48145466, 0.4578275, 0.40821073], dtype=np.float32)
    deviation = np.array([0.26862954, 0.26130258, 0.27577711], dtype=np.float32)
    pixels = ((view.astype(np.float32) / 255 - mean) / deviation).transpose(2, 0, 1)[None]
    expected = session.run([name], {"pixel_values": np.ascontiguousarray(pixels)})[0][0, 0]
    similarity = expected @ found[-1] / np.linalg.norm(expected) / np.linalg.norm(found[-1])
    assert similarity > 0.999


def test_kernels_that_may_overflow_are_taken_only_where_the_cpu_says_that_they_do_not(tmp_path: Path) -> None:
    told = tmp_path / "cpuinfo"
    assert not has_vnni(told)
    for flags, sound in (("avx2 avx512f", False), ("avx2 avx512_vnni", True), ("avx2 avx_vnni", True)):
        told.write_text(f"model name\t: A CPU\nflags\t\t: fpu {flags}\n")
        assert has_vnni(told) == sound


def test_it_judges_within_its_budget_and_says_how_much_it_saw(clip: Path) -> None:
    image = opened(1200, 900)
    for level, most in MOST.items():
        if level == "thorough":
            continue
        evidence = semantic.examine(image, Budget(level=level))  # type: ignore[arg-type]
        assert evidence.score is not None
        assert evidence.measurements["tiles_judged"] <= most < evidence.measurements["tiles_possible"]
        assert any(f"of {evidence.measurements['tiles_possible']} tiles" in limit for limit in evidence.limits)
        assert evidence.weights["clip"] == weights.weight("clip").sha256
        assert evidence.maps[0].sha256 in image.maps.png
    again = semantic.examine(opened(1200, 900), Budget(level="standard"))
    first = semantic.examine(image, Budget(level="standard"))
    assert again.model_copy(update={"ms": 0.0}) == first.model_copy(update={"ms": 0.0})


def test_the_score_is_the_mean_over_tiles(clip: Path) -> None:
    image = opened(448, 448)
    tower, head = Tower(clip, threads=1), Head.of(weights.load("semantic"))
    logits = head.logits(look(tower, image.rgb, most=9, seed=image.seed).features)
    evidence = semantic.examine(image, Budget())
    assert evidence.score == pytest.approx(1 / (1 + np.exp(-logits.mean())), abs=1e-3)
    assert len(logits) == 4


def test_it_abstains_where_it_cannot_see() -> None:
    small = semantic.examine(opened(LEAST - 1, 400), Budget())
    assert small.score is None
    assert "127x400" in str(small.abstained_because)


def test_a_small_picture_is_mirrored_not_enlarged_and_has_a_head_of_its_own(clip: Path) -> None:
    image = opened(176, 300)
    wide = mirrored(image.rgb)
    assert wide.shape == (300, SIDE, 3)
    assert (wide[:, :176] == image.rgb).all()
    assert (wide[:, 176:] == image.rgb[:, 2 * 176 - SIDE :][:, ::-1]).all()
    assert mirrored(wide) is wide
    evidence = semantic.examine(image, Budget())
    logits = Head.of(weights.load("semantic_small")).logits(look(Tower(clip, 1), image.rgb, 9, image.seed).features)
    assert evidence.score == pytest.approx(1 / (1 + np.exp(-logits.mean())), abs=1e-3)
    assert set(evidence.weights) == {"clip", "semantic_small"}
    assert evidence.measurements["tiles_judged"] == evidence.measurements["tiles_possible"] == 2
    assert float(evidence.measurements["coverage"]) > 0.94
    assert any("mirror" in limit for limit in evidence.limits)


@pytest.mark.parametrize("size", [(282, 300), (232, 224), (1100, 777), (449, 448)])
def test_tiles_begin_where_the_units_of_a_jpeg_do_and_leave_no_gap(size: tuple[int, int]) -> None:
    class Blind(Tower):
        def __init__(self) -> None: ...

        def class_tokens(self, view: np.ndarray) -> np.ndarray:
            return np.zeros((len(BLOCKS), WIDTH), dtype=np.float32)

    seen = look(Blind(), np.asarray(picture(*size)), most=100, seed=0)
    assert seen.judged == list(dict.fromkeys(seen.judged))
    assert all(left % UNIT == top % UNIT == 0 for left, top in seen.judged)
    hit = np.zeros(size[::-1], dtype=bool)
    for left, top in seen.judged:
        hit[top : top + SIDE, left : left + SIDE] = True
    height, width = (max(starts) + SIDE for starts in ([t for _, t in seen.judged], [x for x, _ in seen.judged]))
    assert hit[:height, :width].all()
    assert size[0] - width < UNIT
    assert size[1] - height < UNIT


@pytest.mark.parametrize(("size", "score"), [((224, 300), 0.297188), ((448, 448), 0.369216)])
def test_the_head_of_whole_tiles_is_not_touched_by_that_of_small_views(
    clip: Path, size: tuple[int, int], score: float
) -> None:
    evidence = semantic.examine(opened(*size), Budget())
    # The int8 graph rounds at every layer, so that CPUs with other floating-point kernels come out some .05 apart.
    assert evidence.score == pytest.approx(score, abs=0.08)
    assert set(evidence.weights) == {"clip", "semantic"}
    assert not any("mirror" in limit for limit in evidence.limits)


def test_it_abstains_without_its_weight_and_names_the_command(tmp_path: Path) -> None:
    weights.use_cache(tmp_path)
    try:
        evidence = semantic.examine(opened(300, 300), Budget())
    finally:
        weights.use_cache(Settings().cache)
    assert evidence.score is None
    assert "exposit models pull clip" in str(evidence.abstained_because)


def test_flat_pictures_are_not_judged(clip: Path) -> None:
    flat = SourceImage.open(encoded(picture(300, 300).resize((1, 1)).resize((300, 300)), "PNG"), "flat.png")
    evidence = semantic.examine(flat, Budget())
    assert evidence.score is None
    assert "flat" in str(evidence.abstained_because)

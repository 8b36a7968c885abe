from __future__ import annotations

import io
import re
import tracemalloc

import numpy as np
import pytest
from PIL import Image, ImageFilter

from evals.edits import retouched
from tests.conftest import encoded, picture
from tools import copies, weights
from tools.consistency import CELL, GROUPS, NAMES, measure
from tools.contract import Budget, Evidence, Finding
from tools.copies import LEAST, Copy, find
from tools.detectors.splice import splice
from tools.image import SourceImage
from tools.signal import as_in_file
from tools.splicing import PATCH, WHOLE, WINDOW, Comparer, compare, shipped, windows
from tools.suspicion import drawn, regions, with_copy


def rough(width: int, height: int, seed: int = 0) -> np.ndarray:
    """A picture full of corners: smooth blobs of random colour under fine noise."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(40, 216, (height // 6, width // 6, 3), dtype=np.uint8))
    soft = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)
    return np.rint(np.clip(soft + rng.normal(0, 3, soft.shape), 0, 255)).astype(np.uint8)


def examined(rgb: np.ndarray, fmt: str = "PNG", **options: object) -> tuple[Evidence, SourceImage]:
    source = SourceImage.open(encoded(Image.fromarray(rgb), fmt, **options), "x")
    return splice.examine(source, Budget()), source


def map_of(evidence: Evidence, source: SourceImage, name: str = "splice_marks") -> np.ndarray:
    ref = next(ref for ref in evidence.maps if ref.name == name)
    return np.asarray(Image.open(io.BytesIO(source.maps.png[ref.sha256])))


def spoken(finding: Finding) -> set[float]:
    return {float(number) for number in re.findall(r"\d+(?:\.\d+)?", finding.text)}


def saved(rgb: np.ndarray, quality: int = 88) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(encoded(Image.fromarray(rgb), quality=quality))))


@pytest.fixture(scope="module")
def pasted() -> np.ndarray:
    """A picture that was a JPEG, with a part at the bottom right that never was one."""
    fresh = rough(512, 384)
    rgb = saved(fresh).copy()
    rgb[208:336, 320:464] = fresh[208:336, 320:464]
    return rgb


def test_a_part_of_another_past_is_marked_and_the_same_bytes_give_the_same_evidence(pasted: np.ndarray) -> None:
    first, source = examined(pasted)
    second, _ = examined(pasted)
    plain, _ = examined(saved(rough(512, 384)))
    assert first.model_copy(update={"ms": 0.0}) == second.model_copy(update={"ms": 0.0})
    assert first.score is not None
    assert plain.score is not None
    assert first.score > plain.score + 0.3
    marks = map_of(first, source)
    assert marks.shape == map_of(first, source, "splice_trust").shape == (24, 32)
    y, x = np.unravel_index(int(marks.argmax()), marks.shape)
    assert 208 <= y * PATCH < 336
    assert 320 <= x * PATCH < 464
    assert first.findings[0].polarity == "edited"
    assert first.regions[0].place == "bottom right"
    assert first.weights == {"splice": weights.weight("splice").sha256}
    assert first.version.endswith(first.weights["splice"][:8])
    for finding in (*first.findings, *plain.findings):
        assert spoken(finding) <= {float(v) for v in finding.numbers.values() if not isinstance(v, str)}
        assert finding.polarity == "edited" or finding.severity == "info"


def test_a_copied_part_is_found_with_both_places() -> None:
    rgb = rough(480, 360)
    rgb[200:320, 320:440] = rgb[30:150, 40:160]
    evidence, source = examined(rgb, "JPEG", quality=90)
    told = [finding for finding in evidence.findings if "matched_points" in finding.numbers]
    assert len(told) == 1
    assert told[0].numbers["scale"] == pytest.approx(1.0, abs=0.02)
    assert spoken(told[0]) <= {float(v) for v in told[0].numbers.values() if not isinstance(v, str)}
    assert {region.place for region in evidence.regions[:2]} == {"top left", "bottom right"}
    marks = map_of(evidence, source)
    y, x = np.unravel_index(int(marks.argmax()), marks.shape)
    inside = [(200, 320, 320, 440), (30, 150, 40, 160)]
    assert any(top <= y * PATCH + 8 < bottom and left <= x * PATCH + 8 < right for top, bottom, left, right in inside)
    assert find(rough(480, 360), 1) is None


def test_a_copy_is_found_scaled_and_turned_and_repeats() -> None:
    rgb = rough(600, 480, seed=5)
    part = Image.fromarray(rgb[40:200, 40:200]).resize((200, 200), Image.Resampling.BICUBIC)
    part = part.rotate(20, Image.Resampling.BICUBIC)
    rgb[260:420, 360:520] = np.asarray(part)[20:180, 20:180]
    found = find(rgb, 3)
    assert found is not None
    assert found.matches >= LEAST
    larger = found.scale if found.scale > 1 else 1 / found.scale
    assert larger == pytest.approx(1.25, abs=0.05)
    assert abs(found.turned) == pytest.approx(20, abs=2)
    assert found.likeness > 0.98
    again = find(rgb, 3)
    assert again is not None
    assert (again.matches, again.turned) == (found.matches, found.turned)


def test_two_parts_must_be_the_same_pixel_by_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    rgb = rough(480, 360)
    part = rgb[30:150, 40:160].astype(np.float32)
    rgb[200:320, 320:440] = np.clip(part + np.random.default_rng(9).normal(0, 9, part.shape), 0, 255).astype(np.uint8)
    found = find(rgb, 1)
    assert found is not None
    assert copies.LEAST_LIKENESS < found.likeness < 0.999
    monkeypatch.setattr(copies, "LEAST_LIKENESS", 0.999)
    assert find(rgb, 1) is None, "alike by their corners, yet not the same"
    luma = np.random.default_rng(2).normal(128, 30, (200, 200)).astype(np.float32)
    luma[100:180, 100:180] = luma[10:90, 10:90]
    places = np.array([40 + 40j, 60 + 50j, 50 + 70j])
    assert copies._likeness(luma, places, 1.0, 90 + 90j) == pytest.approx(1.0)
    assert abs(copies._likeness(luma, places, 1.0, 80 + 85j)) < 0.4


@pytest.mark.parametrize(
    ("image", "because"),
    [(picture(300, 127), "300x127"), (Image.new("RGB", (300, 300), (90, 120, 200)), "nearly flat")],
)
def test_abstains_on_what_it_cannot_judge(image: Image.Image, because: str) -> None:
    evidence, _ = examined(np.asarray(image))
    assert evidence.score is None
    assert because in str(evidence.abstained_because)


def test_a_picture_turned_by_exif_is_marked_where_a_viewer_sees_it(pasted: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = np.ascontiguousarray(np.rot90(pasted, -1))
    evidence, source = examined(np.ascontiguousarray(as_in_file(upright, 6)), exif=exif.tobytes())
    assert (source.width, source.height) == (384, 512)
    plain, _ = examined(pasted)
    assert evidence.score == plain.score
    assert evidence.regions[0].place == "bottom left"


def test_windows_cover_a_large_picture_or_sample_it_by_its_hash() -> None:
    assert windows(1024, 1024, 96, 0).corners == ((0, 0),)
    all_of = windows(2048, 1536, 96, 0)
    assert (all_of.height, len(all_of.corners), all_of.possible) == (WINDOW, 12, 12)
    some = windows(8000, 8000, 96, 5)
    assert len(some.corners) == 24
    assert some == windows(8000, 8000, 96, 5) != windows(8000, 8000, 96, 6)
    slim = windows(40_000, 200, 96, 0)
    assert slim.height * slim.width <= WHOLE * 65_536


def test_a_sampled_picture_says_so_within_bounded_memory() -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (3000, 4000, 3), dtype=np.uint8)
    source = SourceImage.open(encoded(Image.fromarray(rgb), "PNG", compress_level=1), "x")
    tracemalloc.start()
    evidence = splice.examine(source, Budget(max_tiles=8))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert evidence.measurements["coverage"] == pytest.approx(2 * 512**2 / 12e6, rel=0.05)
    assert any("was read" in limit for limit in evidence.limits)
    assert evidence.applicability < 0.1
    assert peak < 60e6


def test_features_see_what_they_are_named_after() -> None:
    base = np.asarray(picture(256, 256, seed=4))
    soft = np.asarray(Image.fromarray(base).filter(ImageFilter.GaussianBlur(1.2)))
    half = base.copy()
    half[:, 128:] = soft[:, 128:]
    (maps,) = measure([half], None)
    assert maps.shape == (len(NAMES), 256 // CELL, 256 // CELL)
    assert {name.partition("/")[0] for name in NAMES} == set(GROUPS)
    left, right = maps[:, 4:-4, 4:12].mean(dim=(1, 2)), maps[:, 4:-4, 20:28].mean(dim=(1, 2))
    at = {name: i for i, name in enumerate(NAMES)}
    assert left[at["noise/square3"]] > right[at["noise/square3"]] + 1
    assert right[at["resampling/lag_0_1"]] > left[at["resampling/lag_0_1"]] + 0.3
    once = saved(base, 40)
    (blocked,) = measure([once], None)
    columns = blocked[at["grid/column_0"] : at["grid/column_7"] + 1, 4:-4, 4:-4].mean(dim=(1, 2))
    assert int(columns.argmax()) == 7  # the difference across the edge of a block
    shifted = np.ascontiguousarray(once[:, 3:-5])
    (moved,) = measure([shifted], None)
    assert int(moved[at["grid/column_0"] : at["grid/column_7"] + 1, 4:-4, 4:-4].mean(dim=(1, 2)).argmax()) == 4


def test_history_tells_a_part_that_was_never_a_jpeg() -> None:
    fresh = rough(512, 384, seed=9)
    once = saved(fresh, 60).copy()
    once[160:, 320:] = fresh[160:, 320:]
    (maps,) = measure([once], None)
    history = maps[-1]
    assert history[4:-4, 4:36].mean() > history[24:-4, 44:-4].mean() + 0.1


def test_regions_hang_together_and_a_copy_is_marked() -> None:
    marks = np.full((20, 30), 0.1, np.float32)
    marks[2:6, 3:8] = 0.8
    marks[12:14, 20:28] = 0.9
    marks[18, 1] = 0.99  # alone, and left out
    found = regions(marks, 0.5, PATCH, (480, 320))
    assert [round(region.x0 * 480) // PATCH for region, _ in found] == [3, 20]
    assert [round(peak, 1) for _, peak in found] == [0.8, 0.9]
    points = np.array([[100.0, 200.0], [110.0, 210.0], [120.0, 200.0]])
    copy = Copy(3, points, points + 50, 1.0, 0.0, 1.0)
    marked = with_copy(marks, copy, False, PATCH)
    y, x = np.unravel_index(int(marked.argmax()), marked.shape)
    assert (y, x) == (12, 6)
    assert marked[2:6, 3:8] == pytest.approx(0.8)


def test_certain_marks_are_still_told_apart_when_drawn() -> None:
    marks = np.array([[0.5, 0.998, 0.99999, np.nan, 0.01]], np.float32)
    bright = np.rint(drawn(marks)[0] * 255)
    assert bright[0] == 128
    assert bright[1] + 5 < bright[2] < 255
    assert bright[3] == 0 < bright[4]


def test_the_shipped_network_is_the_one_that_was_declared_and_windows_agree_with_the_whole() -> None:
    assert sum(value.numel() for value in shipped().parameters()) == sum(v.numel() for v in Comparer().parameters())
    rgb = rough(1536, 1024, seed=1)
    source = SourceImage.open(encoded(Image.fromarray(rgb), "PNG", compress_level=1), "x")
    whole = compare(shipped(), source, 96)
    assert len(whole.seen.corners) == 1
    cut = compare(shipped(), source, 20)
    assert len(cut.seen.corners) == 5
    both = np.isfinite(cut.marks)
    assert both.mean() == pytest.approx(5 / 6, abs=0.01)
    assert np.abs(cut.marks - whole.marks)[both].mean() < 0.15


def test_retouching_is_found_in_photographs(shared: object) -> None:
    from pathlib import Path

    from evals import datasets
    from evals.edits import Scene
    from evals.shapes import free_shape

    assert isinstance(shared, Path)
    scores: dict[bool, list[float]] = {False: [], True: []}
    for number, item in enumerate([i for i in datasets.labelled(shared, "train") if i.label == "real"][:40:4]):
        rng = np.random.default_rng(number)
        rgb = item.pixels()[:400, :400]
        region = free_shape((rgb.shape[0], rgb.shape[1]), rng)
        altered, _, _ = retouched(Scene(rgb, region, rgb, region, None), rng)
        for edited, pixels in ((True, altered), (False, rgb)):
            score = examined(np.ascontiguousarray(pixels))[0].score
            assert score is not None
            scores[edited].append(score)
    assert np.mean(scores[True]) > np.mean(scores[False]) + 0.1

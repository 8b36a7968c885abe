"""Periodic traces, the shape and the fall of the spectrum: what upsampling decoders, codecs and rescaling leave.

The score is a linear head's over the shape of the residual spectrum (`tools.spectra`), tile by tile at native size.
What a person can check stands beside it and is not scored: a lattice of 8, 16 or 32 px in both directions, single
peaks (periods of the codec's own blocks are left out first), and how the spectrum falls, compared with photographs
(`frequency_photographs.json`, made by `python -m finetune.spectra`).
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from tools import weights
from tools.contract import Budget, Evidence, Finding, MapRef, Number, Region, Severity, Tool, detector
from tools.image import SourceImage
from tools.jpeg import JpegFile, fit_quality, fit_tables, former_grid, luma_crops
from tools.lattice import BLOCK, SIDE_STEP, Peak, average_power, find_peaks, lattice_sigmas
from tools.signal import (
    Plane,
    Tiles,
    centred,
    frequencies,
    hann,
    luma_of,
    power,
    radial_profile,
    residual,
    tile_grid,
)
from tools.spectra import GROUPS, NAMES, TILE, look
from tools.tiles import Head, Judged

REFERENCE = Path(__file__).with_name("frequency_photographs.json")
FINE = 0.35
"""Cycles per pixel from which detail counts as fine."""
_BAND = (0.1, 0.45)
_SMALLEST = 64
_FLAT = 0.25
_STILL = 0.05
_MOST_STILL_PCT = 50
_PEAK_SIGMAS = 6.5
_LATTICE_SIGMAS = 5.0
_TILE_EXCESS = 12.0
_SPOKEN = 3
MOST = {"quick": 8, "standard": 24, "thorough": 96}
"""Tiles whose spectrum the head judges, by the level of the budget."""


@dataclass(frozen=True, slots=True)
class _Codec:
    """The block period of the codec that the pixels went through (1: none), in words, and the JPEG quality (or 100)."""

    period: int
    words: str
    quality: int


@detector(name="frequency", version=f"2+{weights.weight('frequency').sha256[:8]}", target="generated", cost=14.0)
def frequency(tool: Tool, image: SourceImage, budget: Budget) -> Evidence:
    """Judges the shape of the noise's spectrum, and looks for periodic traces of upsampling in it."""
    began = time.perf_counter()
    short = min(image.width, image.height)
    if short < _SMALLEST:
        return tool.abstain(
            f"The picture is too small: its shorter side has {short} px, a spectrum needs {_SMALLEST} px.",
            measurements={"short_side_px": short},
        )
    blocks, coverage = _blocks(image, budget)
    still = round(100 * float(np.mean([np.mean(np.abs(block) < _STILL) for block in blocks])))
    blocks = [block for block in blocks if float(np.abs(block).mean()) >= _FLAT]
    if not blocks:
        return tool.abstain("The picture is flat: it holds no noise or detail whose spectrum could be taken.")
    if still > _MOST_STILL_PCT:
        return tool.abstain(
            f"{still} % of the picture does not change from pixel to pixel, as in drawings and screenshots; the "
            "spectra of photographs say nothing about it.",
            measurements={"short_side_px": short, "still_pct": still},
        )
    codec = _codec_of(image)
    spectrum, (height, width) = average_power(blocks), blocks[0].shape
    reach = 1.5 / min(height, width)
    lattices = {
        period: round(lattice_sigmas(spectrum, width, len(blocks), period, codec=codec.period), 1)
        for period in (8, 16, 32)
        if period > codec.period
    }
    peaks = [
        peak
        for peak in find_peaks(spectrum, width, len(blocks), sigmas=_PEAK_SIGMAS)
        if codec.period == 1 or not _is_multiple(peak, codec.period, reach)
    ]
    tiles, grid = _tiles(image, budget)
    report = _Report(codec, tiles, grid, (image.width, image.height), reach)
    report.tell_lattice(lattices)
    for number, peak in enumerate(_fundamentals(peaks, report.lattice, reach)[:_SPOKEN], start=1):
        report.tell_peak(number, peak)
    report.tell_fall(profile_of(tiles))
    limits = [
        "Many generators leave no such pattern, and resizing or re-saving removes it: finding none means little.",
        "The photographs compared with are small crops of web pictures; large camera files have less fine detail.",
    ]
    if codec.period > 1:
        limits.append(
            f"Patterns at the periods of {codec.words} were left out, for the codec makes them: {codec.period} px and "
            "whole fractions of it."
        )
    if coverage < 1:
        limits.append(f"A sample covering {round(100 * coverage)} % of the picture was examined.")
    measurements: dict[str, Number] = {f"lattice_{period}px_sigmas": value for period, value in lattices.items()}
    measurements |= report.measurements | {"blocks_coverage": round(coverage, 3), "codec_period_px": codec.period}
    measurements |= {"short_side_px": short, "still_pct": still}
    seen = look(image.rgb, most=min(MOST[budget.level], budget.max_tiles), seed=image.seed)
    maps = (_spectrum_map(image, tiles, grid.size),)
    if not lattices or not seen.judged:
        because = f"The blocks of {codec.words} have the periods that are looked for."
        return tool.abstain(
            because if not lattices else f"All {seen.flat} tiles that were looked at are nearly flat.",
            findings=tuple(report.findings), regions=report.regions, measurements=measurements, limits=tuple(limits),
            maps=maps, ms=(time.perf_counter() - began) * 1000,
        )  # fmt: skip
    judged = Judged.of(Head.of(weights.load("frequency")), seen, (image.width, image.height))
    measurements |= {"trace_sigmas": max([*lattices.values(), *(p.sigmas for p in peaks if _is_stride(p, reach))])}
    return judged.evidence(
        tool, meant=TILE, measurements=measurements, findings=(_overall(judged), *report.findings),
        regions=report.regions, limits=(*limits, *_limits(judged)), maps=maps,
        weights={"frequency": weights.weight("frequency").sha256}, ms=(time.perf_counter() - began) * 1000,
    )  # fmt: skip


def _overall(judged: Judged) -> Finding:
    """What the head makes of the tiles, with the group of features that speaks most where it leans to generated."""
    shown, alike, tiles = round(judged.score, 2), judged.above, len(judged.scores)
    text = (
        f"The shape of the noise's spectrum in {alike} of {tiles} {'tile' if tiles == 1 else 'tiles'} lies above the "
        f"level that {Head.LEVEL} % of photographs held out in training stay under"
    )
    numbers: dict[str, Number] = {
        "tiles_above_level": alike, "tiles": tiles, "level_percent": Head.LEVEL, "score": shown
    }  # fmt: skip
    if judged.leaning == "camera":
        text += f"; the mean (score {shown}) lies under the level that as many generated pictures stay above."
        return Finding(text=text, polarity="camera", numbers=numbers)
    if judged.leaning == "neutral":
        return Finding(text=f"{text}; the mean (score {shown}) leans neither way.", numbers=numbers)
    totals = dict.fromkeys(GROUPS, 0.0)
    for name, part in zip(NAMES, judged.head.parts(judged.seen.features).mean(axis=0), strict=True):
        totals[name.partition("/")[0]] += float(part)
    group = max(totals, key=lambda name: totals[name])
    text += f"; so does the mean (score {shown}). What differs most is {GROUPS[group]}. This is a weak sign."
    return Finding(text=text, polarity="generated", severity="weak", numbers=numbers | {"group": GROUPS[group]})


def _limits(judged: Judged) -> tuple[str, ...]:
    limits = [
        "The score is weak evidence: on passages through an autoencoder that the head did not know it is little better "
        "than chance (finetune/RESULTS.md). It was fitted on pictures saved once more as JPEG of quality 70 to 95."
    ]
    if judged.seen.coverage < 0.995:
        limits.append(f"The score is of tiles drawn by the picture's hash: {judged.seen.coverage:.0%} of the area.")
    return (*limits, *judged.smaller(TILE))


def _blocks(image: SourceImage, budget: Budget) -> tuple[list[Plane], float]:
    """Residuals of equal blocks of up to 1024 px a side that divide the picture, and the share that they cover."""
    height, width = (side // math.ceil(side / BLOCK) // SIDE_STEP * SIDE_STEP for side in (image.height, image.width))
    corners = [
        (top, left)
        for top in range(0, image.height - height + 1, height)
        for left in range(0, image.width - width + 1, width)
    ]
    cap = max(budget.max_tiles * 65_536 // (height * width), 1)
    chosen = corners
    if len(corners) > cap:
        index = np.sort(np.random.default_rng(image.seed).choice(len(corners), cap, replace=False))
        chosen = [corners[i] for i in index]
    crops = (luma_of(image.rgb[top : top + height, left : left + width]) for top, left in chosen)
    return [residual(crop, "laplace") for crop in crops], len(chosen) / len(corners)


def _codec_of(image: SourceImage) -> _Codec:
    jpeg = JpegFile.read(image)
    if jpeg is not None:
        quality = fit_tables(list(jpeg.tables)).quality if jpeg.tables else 75
        return _Codec(8, "JPEG", quality)
    if image.format in ("AVIF", "HEIC"):
        return _Codec(64, image.format, 100)
    if image.format == "GIF" or image.mode == "P":
        return _Codec(16, "palette dithering", 100)
    crops = luma_crops(image, count=3)
    grid = former_grid(crops)
    quality = 100 if grid is None else fit_quality(crops, grid.x, grid.y)[0]
    if image.format == "WebP":
        return _Codec(16, "WebP", quality)
    return _Codec(1, "", 100) if grid is None else _Codec(8, "an earlier JPEG", quality)


def _tiles(image: SourceImage, budget: Budget) -> tuple[Plane, Tiles]:
    """Power spectra of windowed luma tiles at native resolution: (tiles, size, size/2 + 1)."""
    short = min(image.width, image.height)
    size = 256 if short >= 512 else 128 if short >= 256 else 64
    cap = max(budget.max_tiles * 65_536 // size**2 // 4, 1)
    grid = tile_grid(image.height, image.width, size, size, cap=cap, seed=image.seed)
    window = hann(size)
    spectra = [power(luma_of(image.rgb[y : y + size, x : x + size]), window) for y, x in grid.corners]
    return np.stack(spectra), grid


def profile_of(tiles: list[Plane] | Plane) -> tuple[float, float]:
    """How the mean spectrum of tiles falls.

    Args:
        tiles: Power spectra in the layout of `tools.signal.power`.

    Returns:
        The slope of log power over log frequency between 0.1 and 0.45 cycles per px (a photograph lies near -2 to -4),
        and the share of power beyond 0.35 among all beyond 0.1, in percent.
    """
    size = tiles[0].shape[0]
    mean = np.mean(tiles, axis=0)
    profile = radial_profile(mean, size)
    f = np.arange(len(profile)) / size
    band = (f >= _BAND[0]) & (f <= _BAND[1])
    slope = float(np.polyfit(np.log(f[band]), np.log(profile[band] + 1e-6), 1)[0])
    fy, fx = frequencies(size)
    radius = np.hypot(fy, fx)
    whole = float(mean[radius >= _BAND[0]].sum())
    fine = float(mean[radius >= FINE].sum())
    return slope, 100 * fine / max(whole, 1e-9)


@lru_cache(maxsize=1)
def _photographs() -> dict[str, dict[str, list[float]]]:
    """Sorted slopes and fine shares of photographs by JPEG quality, and how many there are."""
    loaded: dict[str, dict[str, list[float]]] = json.loads(REFERENCE.read_text(encoding="utf-8"))["by_quality"]
    return loaded


def _is_multiple(peak: Peak, period: int, reach: float) -> bool:
    """Whether a peak's frequency is a multiple of 1 / period along both axes, within `reach` cycles per px."""
    reach = max(reach, 1.5 / 256)
    return all(abs(f - round(f * period) / period) <= reach for f in (peak.fy, peak.fx))


def _is_stride(peak: Peak, reach: float) -> bool:
    """Whether a pattern runs along an axis at 4, 8 or 16 px: the strides of decoders that double a picture."""
    if _direction(peak, reach) == "diagonally":
        return False
    return any(abs(1 / peak.period - 1 / stride) <= reach / 2 for stride in (4, 8, 16))


def _fundamentals(peaks: list[Peak], lattice: int | None, reach: float) -> list[Peak]:
    """The strongest peaks, less those of a lattice already told and less the overtones of others on their line."""
    kept: list[Peak] = []
    for peak in sorted(peaks, key=lambda peak: -peak.period):
        if lattice is not None and _is_multiple(peak, lattice, reach):
            continue
        if not any(_is_overtone(peak, base, reach) for base in kept):
            kept.append(peak)
    return sorted(kept, key=lambda peak: -peak.sigmas)


def _is_overtone(peak: Peak, base: Peak, reach: float) -> bool:
    times = round(base.period / peak.period)
    return any(
        abs(peak.fy - sign * times * base.fy) <= times * reach
        and abs(peak.fx - sign * times * base.fx) <= times * reach
        for sign in (1, -1)
    )


def _direction(peak: Peak, reach: float) -> str:
    if abs(peak.fy) <= reach:
        return "horizontally"
    return "vertically" if abs(peak.fx) <= reach else "diagonally"


class _Report:
    """Collects findings and measurements."""

    def __init__(self, codec: _Codec, tiles: Plane, grid: Tiles, size: tuple[int, int], reach: float) -> None:
        self.codec, self.tiles, self.grid, self.size, self.reach = codec, tiles, grid, size, reach
        self.findings: list[Finding] = []
        self.measurements: dict[str, Number] = {}
        self.lattice: int | None = None

    @property
    def regions(self) -> tuple[Region, ...]:
        """Where the findings lie that have a place."""
        return tuple(finding.region for finding in self.findings if finding.region is not None)

    def tell_lattice(self, lattices: dict[int, float]) -> None:
        if not lattices:
            return
        period = max(lattices, key=lambda key: lattices[key])
        sigmas = lattices[period]
        if sigmas < _LATTICE_SIGMAS:
            return
        self.lattice = period
        self.findings.append(
            Finding(
                text=f"A faint pattern repeats every {period} px both horizontally and vertically, {sigmas} standard "
                "deviations above chance; decoders that build a picture by repeated doubling leave such patterns.",
                polarity="generated",
                severity="moderate" if sigmas >= 8 else "weak",
                numbers={"period_px": period, "sigmas": sigmas},
            )
        )

    def tell_peak(self, number: int, peak: Peak) -> None:
        period = round(peak.period, 1)
        stride = _is_stride(peak, self.reach)
        numbers: dict[str, Number] = {"period_px": period, "sigmas": peak.sigmas}
        text = (
            f"A pattern repeats every {period} px {_direction(peak, self.reach)}, {peak.sigmas} standard deviations "
            "above its surroundings; "
        )
        severity: Severity = "info"
        if stride:
            text += "such a whole stride is typical of upsampling in a generator, and of enlarging by a whole factor."
            severity = "moderate" if peak.sigmas >= 10 else "weak"
        elif period <= 2.1:
            text += "cameras' colour filters and sharpening leave it as well."
        else:
            text += "rescaling leaves such patterns, and so do real textures, screens and scanned prints."
        self.measurements |= {f"peak{number}_period_px": period, f"peak{number}_excess_db": peak.excess_db}
        region = self._place(peak)
        if region is not None:
            text += f" It is seen only in part of the picture ({region.place})."
            severity = "info"
        self.findings.append(
            Finding(
                text=text, polarity="generated" if stride and region is None else "neutral", severity=severity,
                numbers=numbers, region=region,
            )
        )  # fmt: skip

    def _place(self, peak: Peak) -> Region | None:
        """The box of the tiles that show a peak by themselves, where they are no more than half of all."""
        size = self.grid.size
        row, column = round(peak.fy * size) % size, round(peak.fx * size)
        near = [
            self.tiles[:, (row + y) % size, min(max(column + x, 0), size // 2)]
            for y, x in ((-4, 0), (4, 0), (0, -4), (0, 4), (3, 3), (3, -3), (-3, 3), (-3, -3))
        ]
        here = self.tiles[:, row, min(column, size // 2)]
        rise = 10 * np.log10((here + 1e-9) / (np.median(near, axis=0) + 1e-9))
        shown = np.flatnonzero(rise >= _TILE_EXCESS)
        if not 0 < len(shown) <= len(here) / 2:
            return None
        corners = np.array(self.grid.corners)[shown]
        top, left = corners.min(axis=0)
        bottom, right = corners.max(axis=0) + size
        region = Region.from_pixels(left, top, right, bottom, self.size)
        return None if region.covers_most else region

    def tell_fall(self, fall: tuple[float, float]) -> None:
        slope, fine = round(fall[0], 2), round(fall[1], 2)
        self.measurements |= {"slope": slope, "fine_energy_pct": fine}
        reference = _photographs()
        near = min(reference, key=lambda quality: abs(int(quality) - self.codec.quality))
        fines, slopes = np.array(reference[near]["fine_energy_pct"]), np.array(reference[near]["slope"])
        more = round(100 * float((fines > fine).mean()))
        flatter = round(100 * float((slopes > slope).mean()))
        self.measurements |= {"photographs_finer_pct": more, "photographs_flatter_pct": flatter}
        self.findings.append(
            Finding(
                text=f"Detail finer than {FINE} cycles per px holds {fine} % of the energy; of {len(fines)} "
                f"photographs of similar JPEG quality {more} % hold more. The spectrum falls with a slope of {slope}; "
                f"{flatter} % of them fall more gently.",
                numbers={
                    "finer_than": FINE, "fine_energy_pct": fine, "photographs": len(fines), "hold_more_pct": more,
                    "slope": slope, "gentler_pct": flatter,
                },
            )
        )  # fmt: skip


def _spectrum_map(image: SourceImage, tiles: Plane, size: int) -> MapRef:
    """Mean log spectrum with the radial fall taken out, zero frequency in the middle."""
    log = np.log(tiles + 1e-3).mean(axis=0)
    full = centred(log.astype(np.float32), size)
    low, high = np.percentile(full, [1, 99.8])
    return image.maps.add(
        "spectrum", (full - low) / max(float(high - low), 1e-6),
        "Logarithm of the mean spectrum; slow changes in the middle, fine detail outside. Single bright dots away from "
        "the middle are repeating patterns.",
    )  # fmt: skip

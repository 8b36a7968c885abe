"""Periodic traces and the fall of the spectrum: what upsampling decoders, codecs and rescaling leave in pixels.

The raw score is `1 / (1 + exp(-(t - 5) / 1.5))`, where t is the larger of two significances in standard deviations:
that of a lattice of 8, 16 or 32 px in both directions, and that of the strongest single peak at a period of 4, 8 or
16 px along an axis. Periods of the codec's own blocks are left out first. It is rank information for calibration:
a low score says that no lattice was seen, which many generators do not leave.

The spectrum's fall is compared with photographs (`frequency_photographs.json`, made by `python -m finetune.spectra`);
it describes and is not scored.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

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


@dataclass(frozen=True, slots=True)
class _Codec:
    """The block period of the codec that the pixels went through (1: none), in words, and the JPEG quality (or 100)."""

    period: int
    words: str
    quality: int


@detector(name="frequency", version="1.0", target="generated", cost=6.0)
def frequency(tool: Tool, image: SourceImage, budget: Budget) -> Evidence:
    """Looks for periodic traces of upsampling in the noise, and compares the spectrum's fall with photographs."""
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
    measurements |= report.measurements | {"coverage": round(coverage, 3), "codec_period_px": codec.period}
    measurements |= {"short_side_px": short, "still_pct": still}
    maps = (_spectrum_map(image, tiles, grid.size),)
    common = {
        "findings": tuple(report.findings),
        "regions": tuple(finding.region for finding in report.findings if finding.region is not None),
        "measurements": measurements,
        "limits": tuple(limits),
        "maps": maps,
    }
    if not lattices:
        return tool.abstain(
            f"The blocks of {codec.words} have the periods that are looked for.",
            ms=(time.perf_counter() - began) * 1000, **common,
        )  # fmt: skip
    trace = max([*lattices.values(), *(peak.sigmas for peak in peaks if _is_stride(peak, reach))])
    return tool.evidence(
        score=1 / (1 + math.exp(-max(min((trace - 5) / 1.5, 30), -30))),
        applicability=_applicability(codec.quality, short),
        ms=(time.perf_counter() - began) * 1000,
        **common,
    )


def _applicability(quality: int, short: int) -> float:
    """Compression wipes faint patterns out, and a small picture gathers few of their periods."""
    return (1.0 if quality >= 90 else 0.7 if quality >= 75 else 0.4) * (1.0 if short >= 256 else 0.6)


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

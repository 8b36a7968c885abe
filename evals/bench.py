"""`make bench`: what one warm 1024x1024 JPEG costs in time and memory, with a row a tool.

The picture is made from a seed (1/f noise, shading and edges, JPEG quality 90), so that any two machines measure the
same work. How long drawing such a picture takes (NumPy and Pillow on one core) is the machine's pace: the time that a
case may take is told in paces, so that a slow machine is not taken for slow code. Memory is the sum over this process
and its workers of the proportional set size (pages that are shared count once), read 20 times a second; its peak is
told.

No language model takes part: the template narrates. With `--model served` or `--model embedded` the vision-language
model looks and narrates, one case alone and then `--concurrent` at once: told are seconds from the verdict to the first
words, to the first sentence and to the whole explanation, and cases a minute.

    python -m evals.bench --sides 512 1024 2048 8000

tells instead what each tool takes in this process as pictures grow: CPU time must grow with the tiles up to the cap
and no further, and memory must stay bounded up to the largest picture that is decoded.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import io
import json
import math
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from agent.service import Explainer, Submission
from agent.settings import Settings
from agent.verdict import Report
from evals.scoring import Memory
from tools.catalogue import detectors
from tools.contract import Budget, Detector
from tools.image import MapBook, SourceImage
from tools.weights import use_cache

DEAR = 100.0
"""Tools from this cost on are told apart from the core."""


def natural_picture(side: int, seed: int) -> bytes:
    """A JPEG whose spectrum falls as a photograph's does (amplitude 1/f), `side` x `side` pixels."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.rfftfreq(side), indexing="ij"))
    frequency[0, 0] = 1
    planes = []
    for _ in range(3):
        phases = rng.normal(size=frequency.shape) + 1j * rng.normal(size=frequency.shape)
        plane = np.fft.irfft2(phases / frequency, s=(side, side))
        planes.append(128 + 48 * plane / plane.std())
    base = planes[0]
    rgb = np.stack([base, 0.8 * base + 0.2 * planes[1], 0.8 * base + 0.2 * planes[2]], axis=2)
    rgb += rng.normal(0, 2, rgb.shape)
    buffer = io.BytesIO()
    Image.fromarray(rgb.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


class MemoryWatch:
    """Peak of the summed proportional set size of this process and its descendants, in MiB, while it is entered."""

    def __init__(self, every_s: float = 0.05) -> None:
        self.peak_mib = 0.0
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.is_set():
            self.peak_mib = max(self.peak_mib, sum(map(_pss_mib, _family(os.getpid()))))
            self._stop.wait(self._every_s)


def _family(root: int) -> list[int]:
    """`root` and its descendants."""
    family, queue = [], [root]
    while queue:
        pid = queue.pop()
        family.append(pid)
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                queue += map(int, task.read_text().split())
            except OSError:  # it ended meanwhile
                continue
    return family


def _pss_mib(pid: int) -> float:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in rollup.splitlines() if line.startswith("Pss:")), 0.0)


@dataclass(frozen=True, slots=True)
class Taken:
    """What one call of a tool took: milliseconds of CPU, and MiB at its peak beyond what was held before."""

    cpu_ms: float
    mib: float | None


def large_picture(side: int, seed: int = 0) -> SourceImage:
    """A decoded square of natural pictures laid side by side; its bytes are one of them."""
    data = natural_picture(min(side, 1024), seed)
    one = SourceImage.open(data, "bench.jpg")
    times = math.ceil(side / one.width)
    rgb = np.ascontiguousarray(np.tile(one.rgb, (times, times, 1))[:side, :side])
    return dataclasses.replace(one, width=side, height=side, rgb=rgb, maps=MapBook())


def growth(tools: Mapping[str, Detector], sides: Sequence[int]) -> dict[str, list[Taken]]:
    """What each tool takes at each side, after a warm-up on the first."""
    found: dict[str, list[Taken]] = {name: [] for name in tools}
    for tool in tools.values():
        tool.examine(large_picture(sides[0]), Budget())
    for side in sides:
        for name, tool in tools.items():
            image = large_picture(side)
            memory, began = Memory(), time.process_time()
            tool.examine(image, Budget())
            found[name].append(Taken(1000 * (time.process_time() - began), memory.taken()))
    return found


def _tell_growth(sides: Sequence[int]) -> None:
    use_cache(Settings().cache)
    found = growth({name: tool for name, tool in detectors().items() if tool.cost < DEAR}, sides)
    print("CPU ms (MiB at the peak) of one warm call, by the side of the picture in pixels")
    print(f"  {'':<14}" + "".join(f"{side:>16}" for side in sides))
    for name, row in found.items():
        cells = (f"{taken.cpu_ms:.0f} ({'?' if taken.mib is None else round(taken.mib)})" for taken in row)
        print(f"  {name:<14}" + "".join(f"{cell:>16}" for cell in cells))


@dataclass(frozen=True, slots=True)
class Told:
    """One case with a model: seconds in all, and from the verdict to the first words, first sentence and report."""

    whole_s: float
    words_s: float
    first_s: float
    explained_s: float
    writer: str


async def _told(explainer: Explainer, data: bytes) -> Told:
    """Explains one picture and watches its events. The last verdict counts: what came before was weighed again."""
    begun = weighed = words = first = time.perf_counter()
    writer = ""
    async for event in explainer.stream(Submission(data=data, name="bench.jpg")):
        now = time.perf_counter()
        if event.kind == "verdict":
            weighed = words = first = now
        elif event.kind == "writing" and words == weighed:
            words = now
        elif event.kind == "sentence" and first == weighed:
            first = now
            words = now if words == weighed else words
        elif event.kind == "report":
            by = Report.model_validate(event.data["report"]).explained_by
            writer = f"{by.kind} {by.model or ''} {by.adapter or ''}@{by.revision or ''}" if by.model else by.note
    end = time.perf_counter()
    return Told(end - begun, words - weighed, first - weighed, end - weighed, writer)


async def _with_model(side: int, model: str, concurrent: int) -> None:
    """Prints what a case costs with a model: alone, and among others."""
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home), vlm=model, log_level="error")
        # Reading what a process of 3 GB holds takes long: done often, it would slow what is timed.
        with MemoryWatch(every_s=3.0) as watch:
            begun = time.perf_counter()
            async with Explainer(settings) as explainer:
                await explainer.until_warm()
                print(f"{model}: ready after {time.perf_counter() - begun:.0f} s, {os.cpu_count()} cores")
                await _told(explainer, natural_picture(side, 0))
                for number in (1, concurrent):
                    begun = time.perf_counter()
                    cases = [_told(explainer, natural_picture(side, seed)) for seed in range(1, number + 1)]
                    told = await asyncio.gather(*cases)
                    rate = number / (time.perf_counter() - begun) * 60
                    medians = [
                        statistics.median(getattr(each, name) for each in told)
                        for name in ("whole_s", "words_s", "first_s", "explained_s")
                    ]
                    print(
                        f"  {number} at once: {rate:.1f} cases/min; median {medians[0]:.1f} s a case, first words "
                        f"{medians[1]:.1f} s, first sentence {medians[2]:.1f} s and whole explanation "
                        f"{medians[3]:.1f} s after the verdict"
                    )
                    for writer in sorted({each.writer for each in told}):
                        print(f"    {sum(each.writer == writer for each in told)} explained by {writer}")
        print(f"  peak memory {watch.peak_mib:.0f} MiB (this process, its workers and the model server)")


def pace() -> float:
    """Seconds that a fixed work takes on this machine: one picture of 1024 px drawn and saved; the median of five."""
    seconds = []
    for seed in range(5):
        begun = time.perf_counter()
        natural_picture(1024, seed)
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds)


async def _measure(side: int, runs: int) -> tuple[list[Report], list[float], float]:
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home), vlm="template", log_level="error")
        async with Explainer(settings) as explainer:
            await explainer.explain(Submission(data=natural_picture(side, 0), name="warm-up.jpg"))
            reports, seconds = [], []
            with MemoryWatch() as watch:
                for seed in range(1, runs + 1):
                    data = natural_picture(side, seed)
                    start = time.perf_counter()
                    reports.append(await explainer.explain(Submission(data=data, name=f"bench-{seed}.jpg")))
                    seconds.append(time.perf_counter() - start)
    return reports, seconds, watch.peak_mib


def main() -> None:
    """Prints the table, or JSON with `--json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=1024, help="side of the picture in pixels")
    parser.add_argument("--runs", type=int, default=5, help="pictures to explain after the warm-up")
    parser.add_argument("--max-paces", type=float, help="fail if the median is above this many times the pace")
    parser.add_argument("--max-mib", type=float, help="fail if the peak is above this")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--sides", type=int, nargs="+", help="tell what each tool takes at these sides, and no more")
    parser.add_argument("--model", choices=("served", "embedded"), help="measure cases with the model instead")
    parser.add_argument("--concurrent", type=int, default=8, help="cases at once, with --model")
    args = parser.parse_args()
    if args.model:
        asyncio.run(_with_model(args.side, args.model, args.concurrent))
        return
    if args.sides:
        _tell_growth(args.sides)
        return
    before = pace()
    reports, seconds, peak = asyncio.run(_measure(args.side, args.runs))
    one = max(before, pace())
    tools = {
        evidence.detector: statistics.median(
            e.ms for r in reports for e in r.evidence if e.detector == evidence.detector
        )
        for evidence in reports[0].evidence
    }
    median = statistics.median(seconds)
    if args.json:
        told = {"median_s": median, "max_s": max(seconds), "pace_s": one, "peak_mib": peak, "tools_ms": tools}
        print(json.dumps(told))
    else:
        print(f"{args.side}x{args.side} JPEG, {args.runs} pictures, {os.cpu_count()} cores, no language model")
        for name, ms in sorted(tools.items(), key=lambda row: -row[1]):
            print(f"  {name:<14}{ms:8.0f} ms")
        print(f"  {'whole case':<14}{median * 1000:8.0f} ms (median; slowest {max(seconds) * 1000:.0f} ms)")
        print(f"  {'pace':<14}{one * 1000:8.0f} ms (so that a whole case takes {median / one:.0f} paces)")
        print(f"  {'peak memory':<14}{peak:8.0f} MiB (this process and its workers)")
    late = args.max_paces is not None and median > args.max_paces * one
    large = args.max_mib is not None and peak > args.max_mib
    raise SystemExit(f"over the bound: {median / one:.0f} paces, {peak:.0f} MiB" if late or large else 0)


if __name__ == "__main__":
    main()

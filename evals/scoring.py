"""Scores files with the very tools and the very fusion that the service uses, and keeps what the tools said.

What a tool says of a file depends on nothing but the bytes, how they are decoded, the tool and the budget; so it is
kept on disk under those (`evals.kept` says when a tool is the same), and a run that was broken off, or repeated, goes
on where it stopped. Fusion is cheap and is always done anew.
"""

from __future__ import annotations

import base64
import io
import json
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from agent.calibration import Calibration
from agent.fusion import fuse
from agent.verdict import Verdict
from evals.kept import code_of, decoded, still_pinned
from tools.contract import Budget, Detector, Evidence
from tools.errors import ImageError
from tools.image import SourceImage

KEPT_MAP_SIDE = 512
"""Longest side of a kept map; larger ones are reduced."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """What one tool said of one file.

    Attributes:
        evidence: Without findings and maps that fusion does not read.
        ms: Wall-clock milliseconds of the call.
        mb: MiB that the call took at its peak beyond what the process held before; None where not known.
        heat: The first map of a tool that judges edits, HxW in [0, 1]; None where it drew none.
        failed: What it raised, against its contract; the evidence is then an abstention.
    """

    evidence: Evidence
    ms: float
    mb: float | None
    heat: npt.NDArray[np.float64] | None = field(default=None, repr=False)
    failed: str = ""


class Shelf:
    """Kept results of one tool's version under one budget: a line a file, appended as they come."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: dict[str, str] = {}
        self._file: TextIO | None = None
        if path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                sha, _, rest = line.partition("\t")
                if rest.endswith("}"):  # else the run was broken off in mid-line
                    self._lines[sha] = rest

    def get(self, sha256: str, pixels: str) -> Spoken | None:
        """What was said of the file with that hash, where it was decoded alike (`evals.kept.decoded`)."""
        line = self._lines.get(sha256)
        if line is None:
            return None
        try:
            row = json.loads(line)
            evidence = Evidence.model_validate(row["evidence"])
            if row["decoded"] != pixels or not still_pinned(evidence):
                return None
            return Spoken(evidence, row["ms"], row["mb"], _unpacked(row["heat"]))
        except (ValueError, KeyError):  # written by another version of this file
            return None

    def put(self, sha256: str, pixels: str, spoken: Spoken) -> None:
        """Keeps a result."""
        row = {
            "decoded": pixels, "evidence": spoken.evidence.model_dump(mode="json"), "ms": spoken.ms, "mb": spoken.mb,
            "heat": _packed(spoken.heat),
        }  # fmt: skip
        line = json.dumps(row, separators=(",", ":"))
        self._lines[sha256] = line
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("a", encoding="utf-8")
            self._file.write("\n" if self._path.stat().st_size else "")  # closes a line that was broken off
        self._file.write(f"{sha256}\t{line}\n")
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


class Scorer:
    """Examines files with a set of tools."""

    def __init__(self, tools: Mapping[str, Detector], budget: Budget, kept: Path | None) -> None:
        self.tools = dict(tools)
        self.budget = budget
        self.fresh = 0
        self._shelves = {
            name: Shelf(
                kept / f"{name}-{_safe(tool.version)}-{code_of(tool)[:12]}-{budget.level}-{budget.max_tiles}.tsv"
            )
            for name, tool in self.tools.items()
            if kept is not None
        }

    def examine(self, data: bytes, name: str = "scored") -> dict[str, Spoken]:
        """What every tool says of a file.

        Raises:
            ImageError: It cannot be decoded.
        """
        image = SourceImage.open(data, name)
        pixels = decoded(image)
        said: dict[str, Spoken] = {}
        for tool_name, tool in self.tools.items():
            shelf = self._shelves.get(tool_name)
            spoken = shelf.get(image.sha256, pixels) if shelf is not None else None
            if spoken is None:
                spoken = _asked(tool, image, self.budget)
                self.fresh += 1
                if shelf is not None and not spoken.failed:
                    shelf.put(image.sha256, pixels, spoken)
            said[tool_name] = spoken
        return said

    def close(self) -> None:
        """Closes the files of what is kept."""
        for shelf in self._shelves.values():
            shelf.close()


def verdict(said: Iterable[Spoken], prior: float, calibration: Calibration) -> Verdict:
    """The agent's verdict on what was said: fusion, as the service does it."""
    return fuse([spoken.evidence for spoken in said], prior=prior, calibration=calibration).verdict


def alone(said: Mapping[str, Spoken], name: str) -> list[Spoken]:
    """One tool and the context tools, which say under which conditions it was calibrated."""
    return [spoken for tool, spoken in said.items() if tool == name or spoken.evidence.target == "context"]


def without(said: Mapping[str, Spoken], name: str) -> list[Spoken]:
    """All tools but one."""
    return [spoken for tool, spoken in said.items() if tool != name]


def _asked(tool: Detector, image: SourceImage, budget: Budget) -> Spoken:
    memory = Memory()
    began = time.perf_counter()
    try:
        evidence = tool.examine(image, budget)
        failed = ""
    except ImageError as error:
        evidence, failed = _silent(tool, str(error)), ""
    except Exception as error:  # the service, too, goes on without a tool that breaks its contract
        failed = f"{type(error).__name__}: {error}"
        evidence = _silent(tool, f"the tool failed ({type(error).__name__})")
    ms = (time.perf_counter() - began) * 1000
    heat = _heat(evidence, image) if evidence.target == "edited" else None
    slim = evidence.model_copy(update={"findings": evidence.findings if evidence.claims else (), "maps": ()})
    return Spoken(slim, round(ms, 2), memory.taken(), heat, failed)


def _silent(tool: Detector, because: str) -> Evidence:
    return Evidence(
        id=tool.name, detector=tool.name, version=tool.version, target=tool.target, abstained_because=because
    )


def _heat(evidence: Evidence, image: SourceImage) -> npt.NDArray[np.float64] | None:
    if not evidence.maps:
        return None
    with Image.open(io.BytesIO(image.maps.png[evidence.maps[0].sha256])) as file:
        grey = file.convert("L")
        grey.thumbnail((KEPT_MAP_SIDE, KEPT_MAP_SIDE))
        return np.asarray(grey, dtype=np.float64) / 255


def _packed(heat: npt.NDArray[np.float64] | None) -> str | None:
    if heat is None:
        return None
    buffer = io.BytesIO()
    Image.fromarray(np.rint(heat * 255).astype(np.uint8)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def _unpacked(text: str | None) -> npt.NDArray[np.float64] | None:
    if text is None:
        return None
    with Image.open(io.BytesIO(base64.b64decode(text))) as file:
        return np.asarray(file, dtype=np.float64) / 255


class Memory:
    """Peak resident memory since it was made, beyond what was held then; Linux only."""

    _STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")

    def __init__(self) -> None:
        self._before: float | None = None
        try:
            self._RESET.write_text("5")  # sets the high-water mark back to what is held now
            self._before = self._read("VmRSS")
        except OSError:
            return

    def taken(self) -> float | None:
        """MiB at the peak; None where the machine does not tell."""
        if self._before is None:
            return None
        return round(max(0.0, self._read("VmHWM") - self._before), 2)

    def _read(self, key: str) -> float:
        found = re.search(rf"^{key}:\s+(\d+) kB", self._STATUS.read_text(), re.MULTILINE)
        if found is None:
            raise OSError(f"{key} is not told")
        return int(found[1]) / 1024


def _safe(version: str) -> str:
    return re.sub(r"[^A-Za-z0-9.+-]", "_", version)

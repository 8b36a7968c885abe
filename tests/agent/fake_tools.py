"""Detectors for the tests of workers and service: some that behave, and one for each way to misbehave."""

from __future__ import annotations

import ctypes
import os
import time

import numpy as np

import tools.image
from tools import borrowed, weights
from tools.contract import Budget, Detector, Evidence, Finding, Region, Tool, detector
from tools.errors import MissingWeightError
from tools.image import SourceImage


def _catalogue(*found: Tool) -> dict[str, Detector]:
    return {tool.name: tool for tool in sorted(found, key=lambda tool: tool.name)}


@detector(name="bright", version="1", target="generated", cost=2.0)
def bright(tool: Tool, image: SourceImage, budget: Budget) -> Evidence:
    """Says how bright the picture is."""
    mean = float(image.luma.mean())
    finding = Finding(text=f"The mean brightness is {mean:.1f}.", numbers={"mean": round(mean, 1)})
    return tool.evidence(score=round(mean / 255, 6), findings=(finding,))


@detector(name="drawer", version="1", target="generated", cost=30.0)
def drawer(tool: Tool, image: SourceImage, budget: Budget) -> Evidence:
    """Draws a map, and points at a place."""
    box = Region(x0=0.1, y0=0.1, x1=0.4, y1=0.4)
    finding = Finding(text="The texture differs here.", polarity="generated", severity="weak", region=box)
    chart = image.maps.add("brightness", np.asarray(image.luma / 255)[::4, ::4], "How bright each place is.")
    return tool.evidence(score=0.75, findings=(finding,), regions=(box,), maps=(chart,))


@detector(name="slow", version="1", target="generated", cost=90.0)
def slow(tool: Tool, image: SourceImage, budget: Budget) -> Evidence:
    """Takes a second and a half."""
    time.sleep(1.5)
    return tool.evidence(score=0.5)


@detector(name="sleeper", version="1", target="generated", cost=1.0)
def sleeper(tool: Tool, image: SourceImage, budget: Budget) -> Evidence:
    """Never ends."""
    while True:
        time.sleep(60)


@detector(name="quitter", version="1", target="generated", cost=1.0)
def quitter(tool: Tool, image: SourceImage, budget: Budget) -> Evidence:
    """Ends its process."""
    os._exit(3)


@detector(name="crasher", version="1", target="generated", cost=1.0)
def crasher(tool: Tool, image: SourceImage, budget: Budget) -> Evidence:
    """Reads where nothing is: a segmentation fault, as a broken C library gives."""
    ctypes.string_at(0)
    return tool.evidence(score=0.5)


@detector(name="eater", version="1", target="generated", cost=1.0)
def eater(tool: Tool, image: SourceImage, budget: Budget) -> Evidence:
    """Takes memory until it is stopped."""
    held = []
    while True:
        held.append(np.ones(32 * 2**20, dtype=np.uint8))
        time.sleep(0.02)


@detector(name="raiser", version="1", target="generated", cost=1.0)
def raiser(tool: Tool, image: SourceImage, budget: Budget) -> Evidence:
    """Raises, and with a path in its message."""
    raise ValueError("no such file: /secret/place/weights.bin")


@detector(name="no_evidence_at_all", version="1", target="generated", cost=1.0)
def mute(tool: Tool, image: SourceImage, budget: Budget) -> Evidence:
    """Returns something else."""
    return {"score": 0.9}  # type: ignore[return-value]


@detector(name="impostor", version="1", target="generated", cost=1.0)
def impostor(tool: Tool, image: SourceImage, budget: Budget) -> Evidence:
    """Speaks in the name of another."""
    return bright.evidence(score=0.9)


@detector(name="not_a_number", version="1", target="generated", cost=1.0)
def not_a_number(tool: Tool, image: SourceImage, budget: Budget) -> Evidence:
    """Returns NaN past the validation of the contract."""
    return tool.evidence(score=0.5).model_copy(update={"score": float("nan")})


@detector(name="weightless", version="1", target="generated", cost=1.0)
def weightless(tool: Tool, image: SourceImage, budget: Budget) -> Evidence:
    """Lacks its weights."""
    raise MissingWeightError("heads.safetensors (3 MB, Apache-2.0) is not here.", remedy="Run `exposit models pull`.")


@detector(name="borrower", version="1", target="generated", cost=1.0, missing=borrowed.missing)
def borrower(tool: Tool, image: SourceImage, budget: Budget) -> Evidence:
    """Tells what its process was told at its start of weights and models."""
    told = {"clip": str(weights.path("clip")), "model": ", ".join(one.name for one in borrowed.inversion_models())}
    return tool.evidence(score=0.5, measurements=told)


def lacking() -> dict[str, Detector]:
    return _catalogue(bright, borrower)


def borrowing() -> dict[str, Detector]:
    """For a worker only: finds diffusers installed, whether it is or not."""
    borrowed.find_spec = lambda name: object()  # type: ignore[assignment,misc]
    return lacking()


def good() -> dict[str, Detector]:
    return _catalogue(bright, drawer)


def bad() -> dict[str, Detector]:
    return _catalogue(bright, sleeper, quitter, crasher, eater, raiser, mute, impostor, not_a_number, weightless)


def unhurried() -> dict[str, Detector]:
    return _catalogue(bright, slow)


def hanging() -> dict[str, Detector]:
    return _catalogue(bright, sleeper)


def missing() -> dict[str, Detector]:
    return _catalogue(bright, weightless)


def deadly_decoder() -> dict[str, Detector]:
    """Has the decoder of the worker that imports this die of some files and hang on others."""
    plain = SourceImage.open.__func__  # type: ignore[attr-defined]

    def open_(cls: type[SourceImage], data: bytes, *args: object) -> SourceImage:
        if b"DIE" in data:
            os._exit(9)
        if b"HANG" in data:
            time.sleep(60)
        return plain(cls, data, *args)  # type: ignore[no-any-return]

    tools.image.SourceImage.open = classmethod(open_)  # type: ignore[assignment,method-assign]
    return good()

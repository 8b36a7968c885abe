"""Versions of everything that may speak in a report, and how those of two times differ."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from agent.calibration import Calibration
from tools.contract import Detector

_TOLD_PACKAGES: Final = ("langgraph", "numpy", "pillow", "torch", "transformers", "onnxruntime", "c2pa-python")


def installed(tools: Mapping[str, Detector], calibration: Calibration) -> dict[str, str]:
    """Versions of what is installed, by name."""
    found = {"calibration": calibration.name}
    for package in ("exposit", *_TOLD_PACKAGES):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found | {f"tool:{tool.name}": tool.version for tool in tools.values()}


def differences(stored: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    """Versions that are not those of a report, one sentence each; empty where all are the same."""
    return tuple(
        f"{name} was {stored.get(name, 'not there')} then and is {now.get(name, 'not there')} now."
        for name in sorted(stored.keys() | now.keys())
        if stored.get(name) != now.get(name)
    )

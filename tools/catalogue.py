"""Finds the detectors: every `Tool` in a file of `tools/detectors/`, and every entry point of `exposit.detectors`.

Adding a detector is adding a file; nothing else is edited. Nothing is imported until `detectors()` is called, and a
detector's own file imports heavy libraries only inside its functions.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType

from tools.contract import Detector, Tool
from tools.errors import ConfigurationError

GROUP = "exposit.detectors"


@lru_cache(maxsize=1)
def detectors() -> dict[str, Detector]:
    """Every detector by name, in the order of names.

    Raises:
        ConfigurationError: where two have one name (both places are named), or one cannot be loaded.
    """
    import tools.detectors as package

    return collect(package, entry_points(group=GROUP))


def collect(package: ModuleType, points: Iterable[EntryPoint] = ()) -> dict[str, Detector]:
    """Collects the detectors of one package's files and of some entry points; `detectors` says how it fails."""
    found: dict[str, tuple[str, Detector]] = {}
    for place, candidate in (*_in_files(package), *_in_points(points)):
        name = candidate.name
        if name in found:
            raise ConfigurationError(
                f"Two detectors are named {name!r}: one in {found[name][0]}, one in {place}.",
                remedy="Rename or remove one of them.",
                code="duplicate_detector",
            )
        found[name] = (place, candidate)
    return {name: found[name][1] for name in sorted(found)}


def _in_files(package: ModuleType) -> Iterator[tuple[str, Detector]]:
    for name in sorted(info.name for info in pkgutil.iter_modules(package.__path__, package.__name__ + ".")):
        try:
            module = import_module(name)
        except Exception as error:  # a broken file must be named, whatever it raised
            raise ConfigurationError(
                f"The detector file {name} cannot be imported: {str(error).rstrip('.')}.",
                remedy="Repair or remove it.",
                code="broken_detector",
            ) from error  # fmt: skip
        for attribute, value in sorted(vars(module).items()):
            if isinstance(value, Tool) and not attribute.startswith("_"):
                yield f"{name}:{attribute}", value


def _in_points(points: Iterable[EntryPoint]) -> Iterator[tuple[str, Detector]]:
    for point in sorted(points, key=lambda point: (point.name, point.value)):
        place = f"entry point {point.name} = {point.value}"
        try:
            loaded = point.load()
        except Exception as error:  # third-party code may raise anything
            raise ConfigurationError(
                f"The detector of {place} cannot be loaded: {str(error).rstrip('.')}.",
                remedy="Repair or uninstall the package that brings it.",
                code="broken_detector",
            ) from error
        if not isinstance(loaded, Detector):
            raise ConfigurationError(
                f"The {place} is no detector: it lacks name, version, target, cost or examine.",
                remedy="Point it at an object that follows tools.contract.Detector.",
                code="broken_detector",
            )
        yield place, loaded

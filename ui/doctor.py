"""What is wrong with this installation, and how to mend it: part by part, without examining a picture."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from typing import Final, Literal

from agent.settings import Settings
from tools.errors import ExpositError

_PACKAGES: Final = {
    # distribution: module
    "numpy": "numpy", "pillow": "PIL", "pi-heif": "pi_heif", "c2pa-python": "c2pa", "torch": "torch",
    "transformers": "transformers", "onnxruntime": "onnxruntime", "langgraph": "langgraph", "sqlalchemy": "sqlalchemy",
    "fastapi": "fastapi", "gradio": "gradio", "httpx": "httpx", "openai": "openai",
}  # fmt: skip
_MIN_FREE: Final = 500 * 2**20


@dataclass(frozen=True, slots=True)
class Check:
    """One part: `ok`, `note` (works, but worth knowing) or `bad`."""

    part: str
    state: Literal["ok", "note", "bad"]
    detail: str
    remedy: str = ""


async def examine(settings: Settings) -> list[Check]:
    """Checks everything; a part that fails does not keep the rest from being checked."""
    checks = [_python(), *_packages(), *_folders(settings), *_weights(settings), _trust(settings), _inversion(settings)]
    if any(check.state == "bad" and check.part.startswith("package") for check in checks):
        return checks
    return [*checks, *await _service(settings)]


def _python() -> Check:
    return Check("python", "ok", ".".join(map(str, sys.version_info[:3])))


def _packages() -> Iterator[Check]:
    missing = False
    for distribution, module in _PACKAGES.items():
        if importlib.util.find_spec(module) is None:
            missing = True
            yield Check(f"package {distribution}", "bad", "is not installed.", "Run `make setup`.")
    if not missing:
        yield Check("packages", "ok", ", ".join(f"{name} {_version(name)}" for name in _PACKAGES))


def _version(name: str) -> str:
    try:
        return installed(name)
    except PackageNotFoundError:
        return "without metadata"


def _folders(settings: Settings) -> Iterator[Check]:
    for name, folder in (("EXPOSIT_HOME", settings.home), ("EXPOSIT_CACHE", settings.cache)):
        there = folder
        while not there.exists():
            there = there.parent
        if not os.access(there, os.W_OK):
            yield Check(name, "bad", f"{there} cannot be written to.", f"Point {name} at a folder that can.")
        elif (free := shutil.disk_usage(there).free) < _MIN_FREE:
            yield Check(name, "bad", f"{free // 2**20} MiB are free at {folder}.", f"Free space, or move {name}.")
        else:
            yield Check(name, "ok", f"{folder}, {free // 2**30} GiB free")


def _weights(settings: Settings) -> Iterator[Check]:
    from agent.models import states
    from tools.weights import registry

    pins = registry()
    for one in states(settings.cache):
        size = f"{one.size / 1e6:.1f} MB"
        if one.state == "ready":
            yield Check(f"weight {one.name}", "ok", f"{size}, hash checked")
        elif one.state == "missing" and (one.name not in pins or pins[one.name].wheel is not None):
            # What is fetched or composed can be done without: the agent then leaves that part out and says so.
            yield Check(f"weight {one.name}", "note", f"{one.file} ({size}, {one.licence}) is not here.", one.note)
        else:
            yield Check(f"weight {one.name}", "bad", f"{one.file} is {one.state}.", one.note)


def _inversion(settings: Settings) -> Check:
    from tools.borrowed import missing, use_inversion_model

    name = "inversion_sd"
    if settings.inversion_model is None:
        return Check(name, "note", "No Stable Diffusion model is configured.", "Optional: see EXPOSIT_INVERSION_MODEL.")
    use_inversion_model(settings.inversion_model)
    reason = missing()
    if reason is not None:
        return Check(name, "bad", reason, "Correct EXPOSIT_INVERSION_MODEL or unset it.")
    return Check(name, "ok", "what EXPOSIT_INVERSION_MODEL names is on this machine")


def _trust(settings: Settings) -> Check:
    from tools.provenance.trust import load_trust_list

    try:
        held = load_trust_list(settings.trust_list)
    except ExpositError as error:
        return Check("trust list", "bad", error.message, error.remedy)
    if not held.anchors:
        return Check(
            "trust list", "note", f"{held.name} is empty: no signature is believed.", "Set EXPOSIT_TRUST_LIST."
        )
    return Check("trust list", "ok", f"{held.name}: {held.anchors} certificate authorities")


async def _service(settings: Settings) -> list[Check]:
    """Opens what a run would open, and asks it."""
    from agent.service import Explainer

    try:
        async with Explainer(settings) as explainer:
            await explainer.until_warm()
            parts = await explainer.readiness()
    except ExpositError as error:
        return [Check("service", "bad", error.message, error.remedy)]
    return [
        Check(part, "ok", state)
        if state == "ok" or state.startswith("ok ")
        else Check(part, "bad", state, "See the log, or set this part up again with `make setup`.")
        for part, state in parts.items()
    ]

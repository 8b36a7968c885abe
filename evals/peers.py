"""A peer: another detector that runs beside ours on the very same files, in its own environment.

A peer is a command. It is started once a protocol with the path of a folder (in place of `{folder}`, or as its last
argument) and prints a line `name,score` for each file, a higher score for generated. It sees neither labels nor our
names: files are numbered in an order drawn from the seed. What it prints besides is counted as junk, what it leaves out
as missing; a peer that hangs is ended with all it started.
"""

from __future__ import annotations

import contextlib
import math
import os
import shlex
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from evals.results import PeerRun
from tools.errors import ConfigurationError

_OURS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
_TOLD = 300
"""Characters of a failed peer's last words that are kept."""
_SUFFIX = {b"\xff\xd8": ".jpg", b"\x89P": ".png", b"RI": ".webp", b"GI": ".gif", b"BM": ".bmp"}


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer's name and command."""

    name: str
    command: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Peer:
        """From `NAME=COMMAND`.

        Raises:
            ConfigurationError: It is not of that form.
        """
        name, _, command = text.partition("=")
        if not name.strip() or not command.strip():
            raise ConfigurationError(
                f"--peer {text!r} is not NAME=COMMAND.", remedy='Example: --peer "other=/opt/other/bin/python score.py"'
            )
        return cls(name.strip(), tuple(shlex.split(command)))


class Handout:
    """The folder that peers are given: files numbered in an order that tells nothing."""

    def __init__(self, seed: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="handout-")
        self._rng = np.random.default_rng(seed)
        self._taken: set[int] = set()
        self.folder = Path(self._folder.name)

    def add(self, data: bytes) -> str:
        """Lays a file into the folder and returns its name there."""
        number = int(self._rng.integers(10**9))
        while number in self._taken:
            number = int(self._rng.integers(10**9))
        self._taken.add(number)
        suffix = _SUFFIX.get(data[:2], ".bin")
        name = f"{number:09d}{suffix}"
        (self.folder / name).write_bytes(data)
        return name

    def close(self) -> None:
        """Removes the folder."""
        self._folder.cleanup()


def ask(peer: Peer, protocol: str, folder: Path, timeout_s: float) -> tuple[dict[str, float], PeerRun]:
    """Runs a peer over a folder.

    Returns:
        Its scores by file name, and how it went. Scores that were printed before it failed or hung are kept.
    """
    names = {path.name for path in folder.iterdir()}
    command = [part.replace("{folder}", str(folder)) for part in peer.command]
    if command == list(peer.command):
        command.append(str(folder))
    environment = {name: value for name, value in os.environ.items() if name not in _OURS}
    began = time.perf_counter()
    outcome: Literal["ok", "timeout", "failed"] = "ok"
    message = ""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as words:
        try:
            process = subprocess.Popen(  # noqa: S603 - the command is the operator's own
                command, stdout=out, stderr=words, stdin=subprocess.DEVNULL, env=environment, start_new_session=True
            )
        except OSError as error:
            run = PeerRun(
                name=peer.name, protocol=protocol, outcome="failed", seconds=0, scored=0, missing=len(names), junk=0,
                message=f"It could not be started: {error}.",
            )  # fmt: skip
            return {}, run
        try:
            code = process.wait(timeout_s)
            if code:
                outcome, message = "failed", f"It ended with status {code}."
        except subprocess.TimeoutExpired:
            outcome, message = "timeout", f"It did not end within {timeout_s:g} s and was ended."
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # whatever it left running
            process.wait()
        out.seek(0)
        words.seek(0)
        scores, junk = read(out.read().decode("utf-8", "replace"), names)
        last = words.read().decode("utf-8", "replace").strip()[-_TOLD:]
    if outcome != "ok" and last:
        message += f" Its last words: {last}"
    missing = len(names) - len(scores)
    return scores, PeerRun(
        name=peer.name, protocol=protocol, outcome=outcome, seconds=round(time.perf_counter() - began, 1),
        scored=len(scores), missing=missing, junk=junk, message=message,
    )  # fmt: skip


def read(text: str, names: set[str]) -> tuple[dict[str, float], int]:
    """Scores by name from what a peer printed, and how many lines were neither a score nor empty.

    A file that is scored twice counts once, the first time.
    """
    scores: dict[str, float] = {}
    junk = 0
    for line in text.splitlines():
        if not line.strip():
            continue
        name, _, value = line.strip().rpartition(",")
        name = name.strip().strip('"').rsplit("/", 1)[-1]
        try:
            score = float(value)
        except ValueError:
            score = math.nan
        if name in names and name not in scores and math.isfinite(score):
            scores[name] = score
        else:
            junk += 1
    return scores, junk

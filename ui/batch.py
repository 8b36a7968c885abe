"""A folder of pictures to JSON Lines: one line a file, in order, each on the disk before the next is counted.

A line is a report with `path` (below the folder) and `sha256` added, or, for a file that cannot be judged, `path`,
`sha256`, `image` and `error` (`code`, `message`, `remedy`, `retry`). A line whose `retry` is true is tried again when
the batch is resumed, and the later line counts.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from agent.service import Explainer
from agent.settings import Settings
from agent.verdict import SCHEMA_VERSION
from tools.errors import CallerError, ExpositError, OperatorError, TryAgainError
from ui import intake
from ui.problems import internal

if TYPE_CHECKING:
    from rich.console import Console

Key = tuple[str, str]


@dataclass(slots=True)
class Tally:
    """What became of the files."""

    examined: int = 0
    failed: int = 0
    skipped: int = 0

    def sentence(self) -> str:
        """The tally in a sentence."""
        text = f"{self.examined} examined, {self.failed} could not be judged"
        return f"{text}, {self.skipped} were done before." if self.skipped else f"{text}."


async def run(
    explainer: Explainer, settings: Settings, folder: Path, out: Path, *, resume: bool, console: Console
) -> Tally:
    """Examines every file of `folder` and writes a line for each to `out`.

    As many files as there are workers are under way at once; lines keep the order of the names.

    Raises:
        CallerError: where `folder` is none or `out` holds something else.
        OperatorError: as the Explainer raises it; the lines written so far stay.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    if not await asyncio.to_thread(folder.is_dir):
        raise CallerError(f"{folder} is not a folder.", remedy="Give the folder of the pictures.", code="not_a_folder")
    files = await asyncio.to_thread(lambda: list(_files(folder, out)))
    tally = Tally()
    with _opened(out, resume) as (sink, done):
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            bar = progress.add_task("Examining", total=len(files))
            async for line in _examined(explainer, settings, folder, files, done):
                if line is None:
                    tally.skipped += 1
                else:
                    sink.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
                    sink.flush()
                    await asyncio.to_thread(os.fsync, sink.fileno())
                    tally.failed += "error" in line
                    tally.examined += "error" not in line
                progress.advance(bar)
    return tally


def _files(folder: Path, out: Path) -> Iterator[Path]:
    """Regular files of the folder and below, by name, without hidden ones and without the out file itself."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden and path.resolve() != out.resolve():
            yield path


@contextmanager
def _opened(out: Path, resume: bool) -> Iterator[tuple[BinaryIO, set[Key]]]:
    """The out file, ready to be appended to, and what stands in it."""
    try:
        file = out.open("r+b" if resume and out.exists() else "wb")
    except OSError as error:
        raise CallerError(
            f"{out} cannot be written: {error.strerror}.", remedy="Give another --out.", code="out_unwritable"
        ) from error
    with file:
        done: set[Key] = set()
        if file.readable():
            done, end = _read(file, out)
            file.seek(end)
            file.truncate()
        yield file, done


def _read(file: BinaryIO, out: Path) -> tuple[set[Key], int]:
    """Files that are done, and where the last whole line ends; what follows was cut off when a run was killed."""
    done: set[Key] = set()
    end = 0
    for number, raw in enumerate(file, start=1):
        if not raw.endswith(b"\n") and number > 1:
            break
        try:
            line = json.loads(raw)
            key = (line["path"], line["sha256"])
            retry = line.get("error", {}).get("retry", False)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            if not raw.endswith(b"\n") and raw.startswith(b'{"'):
                break  # the very first line was cut off
            raise CallerError(
                f"Line {number} of {out} is not a line of a batch.",
                remedy="Give another --out, or start anew with --no-resume.",
                code="out_not_a_batch",
            ) from error
        if not raw.endswith(b"\n"):
            break
        end += len(raw)
        if not retry:
            done.add(key)
    return done, end


async def _examined(explainer: Explainer, settings: Settings, folder: Path, files: list[Path], done: set[Key]) -> Any:
    """Lines in the order of `files`, None for a file that is done; a window of files is under way at once."""
    waiting = iter(files)
    window: deque[asyncio.Task[dict[str, Any] | None]] = deque()
    try:
        while True:
            while len(window) < settings.workers and (path := next(waiting, None)) is not None:
                window.append(asyncio.create_task(_line(explainer, settings, folder, path, done)))
            if not window:
                return
            yield await window[0]
            window.popleft()
    finally:
        for task in window:
            task.cancel()
        await asyncio.gather(*window, return_exceptions=True)


async def _line(
    explainer: Explainer, settings: Settings, folder: Path, path: Path, done: set[Key]
) -> dict[str, Any] | None:
    name = path.relative_to(folder).as_posix()
    sha256 = ""
    try:
        sha256 = await asyncio.to_thread(_hash, path)
        if (name, sha256) in done:
            return None
        submission = await asyncio.to_thread(intake.from_path, path, settings)
        report = await explainer.explain(submission)
        return {"path": name, "sha256": sha256, **report.model_dump(mode="json")}
    except OperatorError:
        raise  # it would be the same for every file that follows
    except ExpositError as error:
        told = error
    except OSError as error:
        told = CallerError(
            f"The file cannot be read: {error.strerror or 'the system refused'}.",
            remedy="Check that the file may be read.", code="unreadable_file",
        )  # fmt: skip
    except Exception as error:
        told = internal(error, place="batch")
    retry = isinstance(told, TryAgainError) or told.code in ("internal", "unreadable_file")
    return {
        "schema_version": SCHEMA_VERSION, "path": name, "sha256": sha256,
        "image": {"path": intake.clean_name(path.name), "sha256": sha256},
        "error": {"code": told.code, "message": told.message, "remedy": told.remedy, "retry": retry},
    }  # fmt: skip


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

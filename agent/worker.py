"""The worker process: decodes pictures and runs the tools, one job at a time, for `agent.workers`.

Hostile bytes are parsed here and nowhere else. Started as `python -m agent.worker FD PARENT`, where FD is its end of
a socket; the first frame says which catalogue, limits, trust list and models hold. It ends when the socket closes or
the service dies.
"""

from __future__ import annotations

import ctypes
import io
import os
import signal
import socket
import sys
import time
from collections import OrderedDict
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from agent.frames import frames
from agent.wire import Frame, pack, receive_blocking
from tools.borrowed import use_inversion_model
from tools.contract import Budget, Detector, Evidence
from tools.errors import ExpositError, IntegrityError
from tools.image import Limits, SourceImage
from tools.perceptual import perceptual_hash
from tools.views import View, show

_PR_SET_PDEATHSIG = 1
_WARM_SIDE = 320
_DETAIL = 4000


def resolve(reference: str) -> Mapping[str, Detector]:
    """The catalogue that `module:function` names, by calling it."""
    module, _, function = reference.partition(":")
    found: Mapping[str, Detector] = getattr(import_module(module), function)()
    return found


class Images:
    """The last few decoded pictures, by the hash of the file.

    Args:
        limits: Bounds of decoding.
        max_pixels: Pixels that may be kept together; the newest picture is kept whatever its size.
    """

    def __init__(self, limits: Limits, max_pixels: int) -> None:
        self._limits, self._max_pixels = limits, max_pixels
        self._kept: OrderedDict[str, SourceImage] = OrderedDict()

    def get(self, path: str, sha256: str, name: str) -> SourceImage:
        """The picture at `path`, decoded now or earlier.

        Raises:
            ImageError: where it cannot be judged.
            IntegrityError: where the file does not have that hash.
        """
        kept = self._kept.pop(sha256, None)
        # one file may come under two names, and a tool may read the name
        image = kept if kept is not None and kept.name == name else self._open(path, sha256, name)
        self._kept[sha256] = image
        while len(self._kept) > 1 and sum(one.width * one.height for one in self._kept.values()) > self._max_pixels:
            self._kept.popitem(last=False)
        return image

    def _open(self, path: str, sha256: str, name: str) -> SourceImage:
        image = SourceImage.open(Path(path).read_bytes(), name, self._limits)
        if image.sha256 != sha256:
            raise IntegrityError("The stored original does not have the hash it is stored under.", code="blob_altered")
        return image


def _facts(image: SourceImage) -> dict[str, Any]:
    return {
        "path": image.name, "sha256": image.sha256, "bytes": len(image.data), "width": image.width,
        "height": image.height, "format": image.format, "mode": image.mode, "frame": image.frame,
        "frames": image.frames, "notes": list(image.notes), "pdq": perceptual_hash(image.rgb),
    }  # fmt: skip


def _refusal(error: ExpositError) -> dict[str, Any]:
    kind = next(base.__name__ for base in type(error).__mro__ if base.__module__ == "tools.errors")
    return {"kind": kind, "message": error.message, "remedy": error.remedy, "code": error.code}


def _trace(error: BaseException) -> str:
    """Where an error of the start came from and what it says, for the log: no picture was sent yet."""
    return f"{' > '.join(frames(error))}: {error}"[-_DETAIL:]


class Worker:
    """Answers jobs. Each job's failure is an answer too; only the process's own end is not."""

    def __init__(self, start: Mapping[str, Any]) -> None:
        use_inversion_model(start["inversion_model"])
        self.tools = resolve(start["catalogue"])
        self.images = Images(Limits.model_validate(start["limits"]), start["cache_pixels"])
        if start["trust_list"] is not None:
            from tools.provenance.trust import use_trust_list

            use_trust_list(Path(start["trust_list"]))
        if start["weights"] is not None:
            from tools.weights import use_cache

            use_cache(Path(start["weights"]))

    def answer(self, job: Mapping[str, Any]) -> Frame:
        """Does one job: `inspect`, `examine` or `warm`."""
        try:
            if job["do"] == "warm":
                return self._warm(job["tool"])
            image = self.images.get(job["path"], job["sha256"], job["name"])
            if job["do"] == "inspect":
                return Frame({"facts": _facts(image)})
            if job.get("view") is not None:
                image = show(image, View.model_validate(job["view"]))
            return self._examine(self.tools[job["tool"]], image, Budget.model_validate(job["budget"]))
        except ExpositError as error:
            return Frame({"refused": _refusal(error)})
        except Exception as error:  # a tool may raise anything; the next job must not suffer
            kind = "MemoryError" if isinstance(error, MemoryError) else type(error).__name__
            return Frame({"raised": kind, "detail": frames(error)})

    def _examine(self, tool: Detector, image: SourceImage, budget: Budget) -> Frame:
        began = time.perf_counter()
        evidence = tool.examine(image, budget)
        ms = round((time.perf_counter() - began) * 1000, 1)
        drawn = dict(image.maps.png)
        image.maps.png.clear()  # the picture is kept for the next tool; its maps are not
        if not isinstance(evidence, Evidence):
            return Frame({"nonsense": f"it returned {type(evidence).__name__} and not Evidence"})
        missing = [each.name for each in evidence.maps if each.sha256 not in drawn]
        if missing:
            return Frame({"nonsense": f"it refers to maps that it did not draw ({', '.join(missing)})"})
        told = evidence.model_copy(update={"ms": ms})
        wanted = dict.fromkeys(each.sha256 for each in evidence.maps)
        return Frame({"evidence": told.model_dump_json(warnings="none")}, tuple(drawn[sha256] for sha256 in wanted))

    def _warm(self, name: str) -> Frame:
        """Runs a tool once over a made picture, so that its libraries and weights are loaded before they are needed."""
        import numpy as np
        from PIL import Image

        noise = np.random.default_rng(0).normal(128, 40, (_WARM_SIDE, _WARM_SIDE, 3)).clip(0, 255).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(noise).save(file, "JPEG", quality=90)
        self.tools[name].examine(SourceImage.open(file.getvalue(), "warm.jpg"), Budget())
        return Frame({"warm": name})


def _die_with(parent: int) -> None:
    """Has the kernel kill this process when the service dies, even in the middle of a job (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked
        os._exit(0)


def main() -> None:
    """Serves jobs until the service closes the socket."""
    _die_with(int(sys.argv[2]))
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        connection.set_inheritable(False)
        start = receive_blocking(connection)
        if start is None:
            return
        try:
            worker = Worker(start.head)
        except ExpositError as error:
            connection.sendall(pack(Frame({"refused": _refusal(error)})))
            return
        except Exception as error:  # a broken catalogue is told to the operator, not left to a time limit
            connection.sendall(pack(Frame({"raised": type(error).__name__, "detail": _trace(error)})))
            return
        connection.sendall(pack(Frame({"ready": sorted(worker.tools)})))
        while (job := receive_blocking(connection)) is not None:
            connection.sendall(pack(worker.answer(job.head)))


if __name__ == "__main__":
    main()

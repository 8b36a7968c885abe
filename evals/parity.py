"""Whether the served model and the model in process say the same: vLLM and transformers on the same pictures.

    python -m evals.parity --data DIR --images 50 --max-median 0.03

Each picture is reduced to one view, so that a probability is one look's. The command starts the server itself, from the
environment that `make vllm` built, and fails where that is missing: a comparison that did not run has shown nothing. A
flip is a picture that one of them holds for generated and the other does not, though the model in process is further
than BAND from the threshold.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from agent import models
from agent.embedded import EmbeddedVision
from agent.served import ServedVision
from agent.serving import ModelServer, interpreter, shipped
from agent.settings import Settings
from agent.vision import Vision
from evals.bench import natural_picture
from evals.datasets import labelled
from evals.metrics import auroc
from tools.errors import ConfigurationError, ModelServerError

THRESHOLD, BAND = 0.5, 0.05
Shown = tuple[bytes, str | None]
"""A picture, and its label where it has one."""
_SIDE = 440
"""Longest short side of a picture that is shown as one view only."""


@dataclass(frozen=True, slots=True)
class Parity:
    """How far two ways to run one model agree.

    Attributes:
        pictures: How many were compared.
        median, largest: Of the differences of the probabilities.
        flips: Pictures on the other side of THRESHOLD, of those further than BAND from it.
        same_observations: Pictures of which both reported the same, word for word.
        auroc: How well the probability in process tells generated pictures from photographs; None for made pictures.
        model: Model and adapter that were compared.
    """

    pictures: int
    median: float
    largest: float
    flips: int
    same_observations: int
    auroc: float | None
    model: str


async def compare(served: Vision, embedded: Vision, pictures: Sequence[Shown]) -> Parity:
    """Shows both each picture.

    Raises:
        ModelServerError: where either fails, or gives no probability.
    """
    pairs, same = [], 0
    for picture, _ in pictures:
        there, here = await served.look(picture), await embedded.look(picture)
        if there.score is None or here.score is None:
            raise ModelServerError(f"A look gave no probability: {there.abstained_because or here.abstained_because}")
        pairs.append((there.score, here.score))
        same += [each.text for each in there.findings] == [each.text for each in here.findings]
    scores = np.array(pairs)
    differences = np.abs(scores[:, 0] - scores[:, 1])
    flipped = (scores[:, 0] >= THRESHOLD) != (scores[:, 1] >= THRESHOLD)
    clear = np.abs(scores[:, 1] - THRESHOLD) > BAND
    writer = await served.writer()
    labels = [label for _, label in pictures]
    return Parity(
        pictures=len(pairs), median=round(float(np.median(differences)), 6), largest=round(float(differences.max()), 6),
        flips=int((flipped & clear).sum()), same_observations=same,
        auroc=None if None in labels else round(auroc([label == "generated" for label in labels], scores[:, 1]), 3),
        model=f"{writer.model} {writer.adapter or 'without adapter'}@{writer.revision or ''}",
    )  # fmt: skip


def pictures_of(data: Path | None, number: int) -> list[Shown]:
    """Test pictures, photographs and generated ones in turn; made ones, without a label, where there is no data."""
    if data is None:
        return [(_one_view(Image.open(io.BytesIO(natural_picture(256, seed)))), None) for seed in range(number)]
    items = sorted(labelled(data, "test"), key=lambda item: item.id)
    sides = [[item for item in items if item.label == label] for label in ("real", "generated")]
    half = (number + 1) // 2
    chosen = [side[index * len(side) // half] for index in range(half) for side in sides]
    return [(_one_view(Image.fromarray(item.pixels())), item.label) for item in chosen[:number]]


def _one_view(picture: Image.Image) -> bytes:
    factor = _SIDE / min(picture.size)
    if factor < 1:
        picture = picture.resize((round(picture.width * factor), round(picture.height * factor)))
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


async def _measure(settings: Settings, pictures: Sequence[Shown]) -> Parity:
    python = interpreter()
    if python is None:
        raise ConfigurationError("The environment of the vLLM server was not built.", remedy="Run `make vllm`.")
    base, adapter = models.compose(settings.cache), models.adapter()
    with tempfile.TemporaryDirectory() as home:
        server = ModelServer(python, lambda: shipped(python, settings.cache), home=Path(home))
        served = ServedVision("http://localhost", timeout_s=600, server=server)
        embedded = EmbeddedVision(base, adapter, timeout_s=600)
        server.start()
        try:
            await server.until_ready()
            return await compare(served, embedded, pictures)
        finally:
            await served.close()
            await embedded.close()


def main() -> None:
    """Prints the comparison as JSON; ends with status 1 where a bound does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the data; made pictures where it is left out")
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--max-median", type=float, default=0.03, help="fail if the median difference is above this")
    args = parser.parse_args()
    found = asyncio.run(_measure(Settings(), pictures_of(args.data, args.images)))
    print(json.dumps(asdict(found), indent=1))
    if found.median > args.max_median or found.flips:
        raise SystemExit(f"served and in process differ: median {found.median}, {found.flips} flips")


if __name__ == "__main__":
    main()

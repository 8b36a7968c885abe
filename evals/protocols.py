"""From a protocol of a suite to the files that are scored, one by one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from evals import datasets
from evals.datasets import Item
from evals.edits import EditedItem, made_edits
from evals.perturb import decode, jpeg, perturb, seed_of
from evals.suite import ProtocolSpec
from tools.errors import ConfigurationError, ImageError

MADE = 20
"""Pictures of a smoke test."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One file to score.

    Attributes:
        picture: Names the picture it comes from; its draws share it.
        positive: Whether the answer to the protocol's question is yes.
        generator: What made it, or the way in which it was altered.
        pair: What it must be drawn with: the name of a content-matched pair, or the photograph that was altered.
        mask: HxW, true where the picture was altered; None where that is not known or it was not.
    """

    picture: str
    draw: int
    data: bytes = field(repr=False)
    positive: bool
    generator: str = ""
    source: str = ""
    pair: str = ""
    mask: npt.NDArray[np.bool_] | None = field(default=None, repr=False)


@dataclass(slots=True)
class Drawn:
    """The files of one protocol.

    Attributes:
        left_out: Pictures too small for the chain, by class.
        broken: Pictures that could not be decoded, and why.
    """

    spec: ProtocolSpec
    data: Path
    items: list[Item]
    seed: int
    left_out: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    broken: dict[str, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Sample]:
        if "forged" in self.spec.data:
            yield from self._forged()
        for item in self.items:
            try:
                yield from self._of(item)
            except ImageError as error:
                self.broken[item.id] = str(error)

    def _of(self, item: Item) -> Iterator[Sample]:
        spec = self.spec
        if spec.chain is None and not spec.perturb:
            yield self._sample(item, 0, item.path.read_bytes())
            return
        rgb = item.pixels()
        chain = spec.chain
        if chain is not None and chain.small == "leave_out" and min(rgb.shape[:2]) // item.panes < chain.side:
            self.left_out[item.label] += 1
            return
        for draw in range(spec.draws):
            # Both sides of a pair meet one and the same draw, so that nothing of the chain can tell them apart.
            seed = seed_of(f"{item.pair or item.id}/{chain.side if chain else 'as-is'}", draw)
            pixels = rgb
            data = b""
            if chain is not None:
                data, _ = chain.chain(rgb, seed, item.panes)
                pixels = decode(data) if spec.perturb else rgb
            if spec.perturb:
                data = perturb(pixels, spec.perturb, seed)
            yield self._sample(item, draw, data)

    def _sample(self, item: Item, draw: int, data: bytes) -> Sample:
        positive = item.label == self.spec.question
        mask = item.mask_pixels() if item.mask is not None and positive and not self.spec.perturb else None
        return Sample(
            picture=item.id, draw=draw, data=data, positive=positive, 
            generator=item.generator, source=item.source, pair=item.pair, mask=mask,
        )  # fmt: skip

    def _forged(self) -> Iterator[Sample]:
        spec = self.spec
        for made in _made_once(self.data, spec.forged, self.seed):
            positive = bool(made.kind)
            mask = made.mask if positive and not spec.perturb else None
            for draw in range(spec.draws):
                seed = seed_of(made.id, draw)
                data = perturb(decode(made.data), spec.perturb, seed) if spec.perturb else made.data
                yield Sample(made.id, draw, data, positive, made.kind, made.host.source, made.host.id, mask)


@lru_cache(maxsize=1)
def _made_once(data: Path, count: int, seed: int) -> tuple[EditedItem, ...]:
    """Made edits, for all protocols of a suite that start from the same: filling holes costs more than judging them."""
    return tuple(made_edits(data, count, seed))


def drawn(
    spec: ProtocolSpec, data: Path, *, limit: int | None, seed: int, given: Sequence[Item] = (), work: Path
) -> Drawn:
    """The files of a protocol; nothing is decoded before they are asked for.

    Args:
        spec: The protocol.
        data: Folder of the data.
        limit: At most this many pictures, drawn evenly over classes and generators; pairs stay whole.
        seed: Of that draw.
        given: Items of a public layout, for the source `given`.
        work: Folder for pictures that are made.

    Raises:
        ConfigurationError: There is nothing to measure.
    """
    items: list[Item] = []
    for source in spec.data:
        if source in ("train", "test"):
            items += datasets.labelled(data, "train" if source == "train" else "test")
        elif source == "pairs":
            items += datasets.pairs(data)
        elif source == "edited":
            items += datasets.edited(data)
        elif source == "photographs":
            items += [item for item in datasets.labelled(data, "test") if item.label == "real"]
        elif source == "made":
            items += made(work / "made", MADE, seed)
        elif source == "given":
            items += given
    if not items and "forged" not in spec.data:
        raise ConfigurationError(
            f"The protocol {spec.name} has no pictures.",
            remedy="Name a public layout with --layout, or pass --data with the folder that holds the pictures.",
        )
    if limit is not None:
        items = few(items, limit, seed)
        spec = spec.model_copy(update={"forged": min(spec.forged, limit)})
    return Drawn(spec=spec, data=data, items=items, seed=seed)


def few(items: Sequence[Item], limit: int, seed: int) -> list[Item]:
    """At most `limit` items: classes alternate, then generators and sources in turn; a pair comes whole or not."""
    rng = np.random.default_rng(seed)
    units: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        units[item.pair or item.id].append(item)
    queues: Mapping[str, dict[str, list[list[Item]]]] = {"pair": {}, "real": {}, "generated": {}, "edited": {}}
    for name in rng.permutation(sorted(units)):
        unit = units[str(name)]
        queue = queues["pair" if len(unit) > 1 else unit[0].label]
        queue.setdefault(unit[0].generator or unit[0].source, []).append(unit)
    turns = [_in_turn(list(queue.values())) for queue in queues.values() if queue]
    chosen: list[Item] = []
    for unit in _in_turn(turns):
        if len(chosen) + len(unit) > limit:
            continue
        chosen += unit
    order = {item.id: place for place, item in enumerate(items)}
    return sorted(chosen, key=lambda item: order[item.id])


def _in_turn(queues: list[list[list[Item]]]) -> list[list[Item]]:
    longest = max((len(queue) for queue in queues), default=0)
    return [queue[n] for n in range(longest) for queue in queues if n < len(queue)]


def made(folder: Path, count: int, seed: int) -> list[Item]:
    """Pictures made by arithmetic, for smoke tests: half are noise of a photograph's spectrum, half the same doubled.

    What is measured on them says nothing of any detector; it shows that the measuring runs.
    """
    from evals.bench import natural_picture

    folder.mkdir(parents=True, exist_ok=True)
    items = []
    for number in range(count):
        doubled = bool(number % 2)
        path = folder / f"{seed}-{number:03d}.jpg"
        rgb = decode(natural_picture(144 if doubled else 288, 1000 * seed + number))
        if doubled:
            rgb = np.asarray(Image.fromarray(rgb).resize((288, 288), Image.Resampling.NEAREST))
        path.write_bytes(jpeg(rgb, 92))
        items.append(
            Item(
                id=f"made/{path.name}", path=path, split="test", label="generated" if doubled else "real",
                generator="doubling" if doubled else "", source="" if doubled else "noise",
            )
        )  # fmt: skip
    return items

"""The vision-language model as a detector that the harness can ask: its own probability, one voice in fusion.

The service's model (`agent.embedded`) looks at the whole picture, in process. Native crops are left out: they add
nothing to the score (`agent.seeing.evidence_of`), and each would cost as much as the whole.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from agent import models
from agent.embedded import looked, version_of
from agent.llava import Llava
from agent.seeing import evidence_of
from agent.views import Pixels, views
from tools.contract import Budget, Evidence, Target
from tools.image import SourceImage

AT_ONCE = 8
"""Pictures that are looked at side by side, where there are many."""
PATIENCE_S = 600.0
"""Seconds that one batch may take: what is measured is what the model says, not how soon."""


class Voice:
    """The composed model with its adapter; loaded at its first use.

    Args:
        folder: The composed checkpoint (`agent.models.compose`).
        adapter: The trained adapter.
    """

    name = "vision"
    target: Target = "generated"
    cost = 20.0

    def __init__(self, folder: Path, adapter: models.Adapter | None) -> None:
        self._adapter = adapter
        self._model = Llava(folder, adapter.folder if adapter else None)
        self.version = version_of(folder, adapter)

    @classmethod
    def from_cache(cls, cache: Path) -> Voice:
        """The model that ships.

        Raises:
            MissingWeightError: if a part is not in the cache; names the command that gets it.
            IntegrityError: if a part is not the one that is pinned.
        """
        return cls(models.compose(cache), models.adapter())

    def examine(self, image: SourceImage, budget: Budget) -> Evidence:
        """What the model says of one picture."""
        return self._side_by_side([image.rgb])[0]

    def many(self, pictures: Iterable[Pixels]) -> Iterator[Evidence]:
        """What it says of each of many pictures, AT_ONCE at a time."""
        waiting = iter(pictures)
        while some := list(islice(waiting, AT_ONCE)):
            yield from self._side_by_side(some)

    def _side_by_side(self, pictures: Sequence[Pixels]) -> list[Evidence]:
        began = time.perf_counter()
        shown = [views(rgb, crops=0) for rgb in pictures]
        said = iter(looked(self._model, self._adapter, [v for own in shown for v in own], timeout_s=PATIENCE_S))
        replies = [[next(said) for _ in own] for own in shown]
        ms = (time.perf_counter() - began) * 1000 / len(pictures)
        # The version names every weight; `evals.kept.still_pinned` knows those of the tools alone.
        return [
            evidence_of(own, own_replies, version=self.version, weights={}, ms=ms)
            for own, own_replies in zip(shown, replies, strict=True)
        ]

"""Crossed folds: no held-out score comes from a head that knew the generator, the prompt or the source.

A generated picture has a generator and a prompt, a photograph a source. One head is fitted for each combination of a
generator fold, a prompt fold and a source fold, on the pictures outside all three; a picture's held-out score is the
mean logit over the heads that knew neither of its keys.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

GENERATORS, PROMPTS, SOURCES = 4, 4, 3
_LARGE_SOURCES = ("EliSchwartz/imagenet-sample-images", "BIDS/BSDS500")


@dataclass(frozen=True, slots=True)
class Key:
    """What of an example may not be known to the head that scores it. -1 where it has none."""

    generator: int
    prompt: int
    source: int

    @property
    def name(self) -> str:
        """The fold as it stands in score files."""
        return f"g{self.generator}p{self.prompt}" if self.generator >= 0 else f"s{self.source}"


def _ranked(name: str, names: Sequence[str], folds: int) -> int:
    order = sorted(set(names), key=lambda n: hashlib.sha256(n.encode()).hexdigest())
    return order.index(name) % folds


def keys(generators: Sequence[str], prompts: Sequence[str], sources: Sequence[str]) -> list[Key]:
    """The folds of examples, from the columns of their manifest. An empty generator marks a photograph.

    A generated picture without a prompt is its generator's own subject. The two large collections of photographs are
    a source fold each, all smaller ones together the third.
    """
    subjects = [prompt or generator for generator, prompt in zip(generators, prompts, strict=True)]
    made = [g for g in generators if g]
    told = [s for s, g in zip(subjects, generators, strict=True) if g]
    out = []
    for generator, subject, source in zip(generators, subjects, sources, strict=True):
        if generator:
            out.append(Key(_ranked(generator, made, GENERATORS), _ranked(subject, told, PROMPTS), -1))
        else:
            out.append(Key(-1, -1, _LARGE_SOURCES.index(source) if source in _LARGE_SOURCES else 2))
    return out


def crossed(examples: Sequence[Key]) -> Iterator[tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]]:
    """For each head to fit: which examples it may be fitted on, and which it scores.

    A combination that would leave no generated picture or no photograph to fit on is left out.
    """
    table = np.array([(k.generator, k.prompt, k.source) for k in examples])
    photograph = table[:, 0] < 0
    for generator, prompt, source in product(range(GENERATORS), range(PROMPTS), range(SOURCES)):
        known = (table[:, 0] == generator) | (table[:, 1] == prompt) | (table[:, 2] == source)
        scored = np.where(photograph, table[:, 2] == source, (table[:, 0] == generator) & (table[:, 1] == prompt))
        fitted = ~known
        if scored.any() and (fitted & photograph).any() and (fitted & ~photograph).any():
            yield fitted, scored

"""Leave one decoder out: held-out scores of passages through an autoencoder that no head has met.

A photograph and its passage differ by one thing, the decoder's trace. A head that has met that decoder says nothing of
the next one; so each passage is scored by a head that was fitted on the passages of every *other* decoder, and on no
photograph of the same source. Its photograph is scored by the same head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from finetune import folds
from finetune.examples import Example

Table = npt.NDArray[np.float64]
Fits = Callable[[npt.NDArray[np.int64]], Callable[[npt.NDArray[np.int64]], Table]]
"""Fits a head on the examples of some places; the head gives the logits of the examples of others."""


def decoders(examples: Sequence[Example]) -> tuple[str, ...]:
    """The decoders whose passages are among the examples, by name."""
    return tuple(sorted({e.generator for e in examples if e.kind == "aligned" and e.generator}))


def left_out(examples: Sequence[Example], fits: Fits) -> dict[str, Table]:
    """For each decoder, held-out logits of its passages and of all photographs beside passages; NaN elsewhere."""
    aligned = np.array([e.kind == "aligned" for e in examples])
    taken = np.array([e.kind == "aligned" or e.label == "real" for e in examples])
    source = np.array([folds.keys([""], [""], [e.item.source])[0].source for e in examples])
    made_by = np.array([e.generator if e.kind == "aligned" else "" for e in examples])
    found = {}
    for decoder in decoders(examples):
        logits = np.full(len(examples), np.nan)
        for fold in range(folds.SOURCES):
            known = (taken & (source == fold)) | (made_by == decoder)
            scored = aligned & (source == fold) & ((made_by == decoder) | (made_by == ""))
            if scored.any():
                places = np.flatnonzero(scored)
                logits[places] = fits(np.flatnonzero(~known))(places)
        found[decoder] = logits
    return found

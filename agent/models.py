"""Which weights the agent's own models need, and whether they are here. `tools.weights` pins and fetches them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tools import weights
from tools.contract import Frozen
from tools.errors import IntegrityError, MissingWeightError

LANGUAGE_MODEL = "SmolLM2-135M-Instruct"
"""The language model of the embedded narrator, by its name at its makers."""
_LANGUAGE_WEIGHT = "smollm2"


class WeightState(Frozen):
    """One pinned weight as it stands on this machine.

    Attributes:
        state: `ready`, `missing`, or `damaged` (not the file that is pinned).
        note: What to do, where it is not ready.
    """

    name: str
    file: str
    size: int
    licence: str
    source: str
    state: Literal["ready", "missing", "damaged"]
    note: str = ""


def language_model_file(cache: Path) -> tuple[Path, str]:
    """The file of the language model, checked, and its sha256.

    Raises:
        MissingWeightError: if it is not in the cache.
        IntegrityError: if it is not the file that is pinned.
    """
    return weights.verify(_LANGUAGE_WEIGHT, cache), weights.weight(_LANGUAGE_WEIGHT).sha256


def states(cache: Path) -> tuple[WeightState, ...]:
    """Every pinned weight with its state; each file that is there is hashed."""
    found = []
    for name, pin in weights.registry().items():
        state: Literal["ready", "missing", "damaged"] = "ready"
        note = ""
        try:
            weights.verify(name, cache)
        except MissingWeightError as error:
            state, note = "missing", error.remedy
        except IntegrityError as error:
            state, note = "damaged", str(error)
        found.append(
            WeightState(
                name=name, file=pin.file, size=pin.size, licence=pin.licence, source=pin.source, state=state, note=note
            )
        )
    return tuple(found)

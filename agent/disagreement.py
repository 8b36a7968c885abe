"""How far two tools may disagree before it is a conflict: what held-out pictures that both judged have shown.

`agent/disagreement.json` is written by `python -m finetune.disagreement` from the same out-of-fold scores and the same
calibration as the tools' weights. It names the versions of the tools, and says nothing of any other.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from tools.contract import Frozen
from tools.errors import ConfigurationError

SHIPPED = Path(__file__).with_name("disagreement.json")


class Apart(Frozen):
    """What was seen of one pair of tools.

    Attributes:
        tools: Names and versions, in the order of names.
        apart: The weighted log-likelihood ratios of 99 in 100 held-out pictures lay at most this far apart, taken over
            the class and the kind of rows in which they lay furthest apart.
        pictures: How many pictures that class and kind held.
    """

    tools: tuple[tuple[str, str], tuple[str, str]]
    apart: Annotated[float, Field(gt=0)]
    pictures: Annotated[int, Field(ge=1)]


class Disagreement(Frozen):
    """The file."""

    made_by: str
    calibration: str
    pairs: tuple[Apart, ...]


@cache
def load(path: Path = SHIPPED) -> Disagreement:
    """The file at `path`.

    Raises:
        ConfigurationError: It is missing or not in the agreed form.
    """
    try:
        return Disagreement.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise ConfigurationError(
            f"The file {path.name} cannot be used: {error}.", remedy="Write it with: python -m finetune.disagreement"
        ) from error


def expected(one: tuple[str, str], other: tuple[str, str]) -> Apart | None:
    """What was seen of two tools, each by name and version; None where held-out pictures do not tell."""
    first, second = sorted((one, other))
    return next((pair for pair in load().pairs if pair.tools == (first, second)), None)

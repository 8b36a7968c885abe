"""What calibration found: how far each tool's score may be leaned on, as `python -m finetune.calibrate` wrote it.

A raw score says nothing by itself. For each tool this file holds, by reliability bucket (JPEG quality × size), the
logistic that turns its score into a log-likelihood ratio, 200 bootstrap draws of its coefficients, and the weight that
the tool has beside the others. Logistic calibration of scores into likelihood ratios: Brümmer & du Preez,
"Application-independent evaluation of speaker detection" (2006); Platt (1999).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from tools.contract import Fraction, Frozen, Number
from tools.errors import ConfigurationError

Array = NDArray[np.float64]
SHIPPED = Path(__file__).with_name("calibration.json")
DRAWS = 200
ALL = "all"
"""The bucket of every row but those of small views, used where a picture's own bucket had too few rows."""
SCORE_EDGE = 1e-4
"""Scores are kept this far from 0 and 1 before their logit is taken."""
QUALITY_EDGES = (70, 85, 95)
SMALL_SIDE = 224
"""Shorter side in pixels under which a tool of tiles looks at something else than a tile. Such rows share no bucket
with larger ones."""
SIZE_EDGES = (SMALL_SIDE, 384, 768)


def logit(score: Array | float) -> Array:
    """Log odds of raw scores, kept finite."""
    kept = np.clip(np.asarray(score, dtype=np.float64), SCORE_EDGE, 1 - SCORE_EDGE)
    return np.asarray(np.log(kept) - np.log1p(-kept), dtype=np.float64)


def bucket_names(quality: float, short_side: float) -> tuple[str, str, str]:
    """The reliability buckets that hold a picture, narrowest first: quality and size, quality alone, all.

    Small views are told apart from all others at once: quality and size, size alone, all.

    Args:
        quality: Effective JPEG quality, 1 to 100; 100 where the picture was never a JPEG.
        short_side: Shorter side of the upright picture, in pixels.
    """
    band, size = _band("q", quality, QUALITY_EDGES), _band("s", short_side, SIZE_EDGES)
    return f"{band} {size}", size if short_side < SMALL_SIDE else band, ALL


def _band(letter: str, value: float, edges: Sequence[int]) -> str:
    low = 0
    for edge in edges:
        if value < edge:
            return f"{letter}{low}-{edge - 1}"
        low = edge
    return f"{letter}{low}+"


class Logistic(Frozen):
    """`llr = intercept + slope · logit(score)`, fitted with both classes at equal total weight.

    Attributes:
        draws: (intercept, slope) of each bootstrap replicate; draw d of every tool is of the same replicate.
    """

    intercept: float
    slope: Annotated[float, Field(ge=0)]
    draws: tuple[tuple[float, Annotated[float, Field(ge=0)]], ...]

    @property
    def table(self) -> Array:
        """The fit and, below it, its draws: (1 + draws) × 2."""
        return np.array([(self.intercept, self.slope), *self.draws], dtype=np.float64)


class Bucket(Frozen):
    """The calibration of one tool under one reliability bucket.

    Attributes:
        fits: One logistic a kind of training row (`matched`, `aligned`).
        n: Independent pictures of the scarcer class in the scarcer kind.
    """

    fits: Annotated[dict[str, Logistic], Field(min_length=1)]
    n: Annotated[int, Field(ge=1)]

    @property
    def bound(self) -> float:
        """Largest |llr| that `n` pictures can support, log(n + 1).

        Where none of n photographs scored so high, the rule of succession still gives the next one a chance of about
        1/(n + 1); no likelihood ratio above n + 1 is supported by them (cf. Vergeer et al. 2016 on the limits of
        likelihood ratios in forensic calibration).
        """
        return math.log(self.n + 1)

    def llr(self, score: Array | float) -> Array:
        """Log-likelihood ratio by the fit, then by each draw: (1 + draws,), or (1 + draws, n) of n scores.

        The kinds must agree on the sign, and the smaller one counts; where they disagree the answer is 0. Each kind's
        logistic rises with the score, so this does too.
        """
        x = logit(score)
        tables = [fit.table for fit in self.fits.values()]
        each = np.stack([np.add.outer(t[:, 0], np.zeros_like(x)) + np.multiply.outer(t[:, 1], x) for t in tables])
        agreed = np.maximum(each.min(axis=0), 0) + np.minimum(each.max(axis=0), 0)
        return np.asarray(np.clip(agreed, -self.bound, self.bound), dtype=np.float64)


class CalibratedTool(Frozen):
    """One tool as calibration found it.

    Attributes:
        version: The version that was calibrated; another one has weight zero.
        weight: Share of its own log-likelihood ratio that a tool keeps beside the others (correlated tools would be
            counted twice otherwise); 0 where its use was not shown.
        weight_draws: The same by bootstrap replicate.
        because: Why the weight is what it is.
        least_quality, least_short_side: Harshest conditions in the training rows; a picture below them has no weight.
        figures: Out-of-fold figures, for the reader.
    """

    version: str
    target: Literal["generated", "edited"]
    weight: Fraction
    weight_draws: tuple[Fraction, ...]
    because: str
    least_quality: float
    least_short_side: float
    figures: dict[str, Number] = Field(default_factory=dict)
    buckets: dict[str, Bucket]

    @model_validator(mode="after")
    def _has_the_bucket_of_all(self) -> CalibratedTool:
        if self.weight > 0 and ALL not in self.buckets:
            raise ValueError("a tool that has weight needs the bucket 'all'")
        return self

    @property
    def weights(self) -> Array:
        """Weight, then its draws: (1 + draws,)."""
        return np.array([self.weight, *self.weight_draws], dtype=np.float64)


class Threshold(Frozen):
    """A bound on the summed log-likelihood ratio, how it was chosen, and what it gave out of fold."""

    llr: float
    because: str
    figures: dict[str, Number] = Field(default_factory=dict)


class Calibration(Frozen):
    """The calibration file.

    Attributes:
        made_by: The command that wrote it.
        data_sha256: Hash of the out-of-fold rows it was fitted on; empty where there were none.
        generated, edited: Above this sum the label may be given.
        no_evidence: At or below this sum `no_evidence` may be given.
        digest: SHA-256 of the file that was read.
    """

    format: Literal[1] = 1
    made_by: str
    seed: int = 0
    draws: Annotated[int, Field(ge=20)] = DRAWS
    data_sha256: str = ""
    rows: dict[str, int] = Field(default_factory=dict)
    tools: dict[str, CalibratedTool] = Field(default_factory=dict)
    generated: Threshold
    edited: Threshold
    no_evidence: Threshold
    digest: Annotated[str, Field(exclude=True)] = ""

    @model_validator(mode="after")
    def _draws_agree(self) -> Calibration:
        for name, tool in self.tools.items():
            counts = [len(tool.weight_draws)]
            counts += [len(fit.draws) for bucket in tool.buckets.values() for fit in bucket.fits.values()]
            if any(count != self.draws for count in counts):
                raise ValueError(f"{name}: expected {self.draws} draws everywhere, found {sorted(set(counts))}")
        return self

    @property
    def weighted(self) -> frozenset[str]:
        """Names of the tools whose score has a weight; a calibrated tool may have none."""
        return frozenset(name for name, tool in self.tools.items() if tool.weight > 0)

    @property
    def name(self) -> str:
        """Format and hash, for the verdict."""
        return f"{self.format}:{self.digest[:12] or 'unsaved'}"


def load(path: Path | None = None) -> Calibration:
    """Reads a calibration file, the shipped one unless told otherwise.

    Raises:
        ConfigurationError: It is missing or not in the agreed form.
    """
    path = SHIPPED if path is None else path
    remedy = "Write it with: python -m finetune.calibrate --scores finetune/oof --out agent/calibration.json"
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"The calibration file {path.name} cannot be read ({error}).", remedy=remedy
        ) from error
    try:
        calibration = Calibration.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "file"
        raise ConfigurationError(
            f"The calibration file {path.name} does not hold: {where}: {first['msg']}.", remedy=remedy
        ) from error
    return calibration.model_copy(update={"digest": hashlib.sha256(raw).hexdigest()})


def conditions(measurements: Mapping[str, Number]) -> tuple[float, float] | None:
    """JPEG quality and short side that the compression tool measured; None where it did not measure both."""
    quality, side = measurements.get("jpeg_quality_effective"), measurements.get("short_side_px")
    if isinstance(quality, int | float) and isinstance(side, int | float):
        return float(quality), float(side)
    return None

"""The contract between tools and everything above them: pixels in, `Evidence` out.

A detector is one function in one file of `tools/detectors/`, marked with `@detector`. It never raises for a
strange picture: it abstains and says why (`Evidence.abstain`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, Protocol, Self, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    from tools.image import SourceImage

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Number = float | int | str | bool
Target = Literal["generated", "edited", "context"]
"""The question that a tool's score speaks to; a `context` tool describes the file and never judges."""
Polarity = Literal["generated", "edited", "camera", "neutral"]
"""What a finding speaks for. `neutral` describes and speaks for nothing."""
Severity = Literal["info", "weak", "moderate", "strong"]
ClaimRank = Literal["trusted", "valid_unknown_signer", "invalid", "unsigned"]


class Frozen(BaseModel):
    """Immutable value that refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Region(Frozen):
    """A box in fractions of the upright image: left, top, right, bottom, each in [0, 1]."""

    x0: Fraction
    y0: Fraction
    x1: Fraction
    y1: Fraction

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.x0 >= self.x1 or self.y0 >= self.y1:
            raise ValueError(f"a region needs x0 < x1 and y0 < y1, got {self!r}")
        return self

    @classmethod
    def from_pixels(cls, left: float, top: float, right: float, bottom: float, size: tuple[int, int]) -> Self:
        """Makes a region from pixel bounds in an image of `size` (width, height), clipped to it."""
        width, height = size

        def inside(value: float, whole: int) -> float:
            return round(min(max(value / whole, 0.0), 1.0), 6)

        return cls(x0=inside(left, width), y0=inside(top, height), x1=inside(right, width), y1=inside(bottom, height))

    @property
    def place(self) -> str:
        """The cell of a 3x3 grid that holds the centre, in words: `top left`, `centre`, `bottom right`."""
        column = ("left", "", "right")[min(int((self.x0 + self.x1) * 1.5), 2)]
        row = ("top", "", "bottom")[min(int((self.y0 + self.y1) * 1.5), 2)]
        return f"{row} {column}".strip() or "centre"

    @property
    def covers_most(self) -> bool:
        """Whether the box holds more than three fifths of the picture, so that a place would mislead."""
        return (self.x1 - self.x0) * (self.y1 - self.y0) > 0.6


class MapRef(Frozen):
    """A picture that a tool drew (heat map, spectrum), kept by hash beside the case."""

    name: str
    sha256: str
    caption: str
    width: int
    height: int


class Finding(Frozen):
    """One thing a tool saw, in plain English, with the numbers behind it.

    Every number that `text` speaks of must stand in `numbers`, as it is written there (grounding checks this).
    """

    text: str
    polarity: Polarity = "neutral"
    severity: Severity = "info"
    region: Region | None = None
    numbers: dict[str, Number] = Field(default_factory=dict)


class Claim(Frozen):
    """What metadata or a signature says of the picture's making, and how far that may be believed.

    Attributes:
        source: Where it stands: `c2pa`, `iptc`, `exif`, `png_text`, ...
        says: What it claims. `composite` means generated parts in another picture.
        rank: `trusted` decides; `valid_unknown_signer` counts discounted for AI and nothing for camera;
            `invalid` never decides; `unsigned` is forgeable, strong for AI and nothing for camera.
        depth: 0 for the picture itself, 1 for its ingredients, and so on.
    """

    source: str
    says: Literal["generated", "composite", "edited", "camera", "other"]
    rank: ClaimRank
    depth: int = 0
    signer: str | None = None
    generator: str | None = None
    prompt: str | None = None
    detail: str = ""


class Evidence(Frozen):
    """What one tool found in one picture.

    Attributes:
        id: Name to cite: the detector's, with a suffix where it spoke more than once.
        target: The question that `score` speaks to.
        score: Raw, uncalibrated, 1 speaks for the target; None abstains.
        applicability: How far the tool applies to this picture; fusion shrinks its weight by it.
        measurements: Numbers for the log and for other tools, named with their unit where they have one.
        weights: sha256 of each weight file that spoke, by name.
        ms: Wall-clock cost in milliseconds.
    """

    id: str
    detector: str
    version: str
    target: Target
    score: Fraction | None = None
    abstained_because: str | None = None
    findings: tuple[Finding, ...] = ()
    regions: tuple[Region, ...] = ()
    claims: tuple[Claim, ...] = ()
    measurements: dict[str, Number] = Field(default_factory=dict)
    applicability: Fraction = 1.0
    limits: tuple[str, ...] = ()
    maps: tuple[MapRef, ...] = ()
    weights: dict[str, str] = Field(default_factory=dict)
    blind: bool = True
    ms: float = 0.0

    @model_validator(mode="after")
    def _abstains_with_a_reason(self) -> Self:
        if (self.score is None) != (self.abstained_because is not None):
            raise ValueError("evidence has either a score or a reason to abstain, never both or neither")
        return self


class Budget(Frozen):
    """What one examination may cost.

    It counts cost units (one is about 10 ms on one core), never seconds: the same picture under the same budget gives
    the same evidence on any machine.
    """

    level: Literal["quick", "standard", "thorough"] = "standard"
    max_tiles: int = 96
    """Cap on tiles of about 64 kilopixels that a tool scores; beyond it a seeded sample, with its coverage told."""


@runtime_checkable
class Detector(Protocol):
    """What the catalogue holds: a named, versioned way to examine a picture."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def target(self) -> Target: ...
    @property
    def cost(self) -> float:
        """Cost units at one megapixel."""
        ...

    def examine(self, image: SourceImage, budget: Budget) -> Evidence: ...


@runtime_checkable
class Conditional(Protocol):
    """A detector that needs what a machine may lack (an extra, a model); planning then leaves it out and says why."""

    def missing(self) -> str | None:
        """What is missing and how to get it, as a sentence; None where the detector can run. It must be quick."""
        ...


Examine = Callable[["Tool", "SourceImage", Budget], Evidence]
Missing = Callable[[], str | None]


@dataclass(frozen=True, slots=True)
class Tool:
    """A detector made from a function; what `@detector` returns."""

    name: str
    version: str
    target: Target
    cost: float
    about: str
    _examine: Examine
    _missing: Missing | None = None

    def missing(self) -> str | None:
        """Why the tool cannot run on this machine; None where it can (see `Conditional`)."""
        return None if self._missing is None else self._missing()

    def examine(self, image: SourceImage, budget: Budget) -> Evidence:
        """Examines `image` within `budget`."""
        return self._examine(self, image, budget)

    def evidence(self, *, score: float, **fields: object) -> Evidence:
        """Evidence in this tool's name."""
        return Evidence.model_validate(
            {"id": self.name, "detector": self.name, "version": self.version, "target": self.target, "score": score}
            | fields
        )

    def abstain(self, because: str, **fields: object) -> Evidence:
        """Evidence that gives no score, and why."""
        return Evidence.model_validate(
            {"id": self.name, "detector": self.name, "version": self.version, "target": self.target}
            | {"abstained_because": because}
            | fields
        )


def detector(
    *, name: str, version: str, target: Target, cost: float, missing: Missing | None = None
) -> Callable[[Examine], Tool]:
    """Marks a function `(tool, image, budget) -> Evidence` as a detector; its docstring's first line describes it.

    `missing` is for a detector that needs what may not be on the machine: see `Conditional`.
    """

    def mark(examine: Examine) -> Tool:
        about = (examine.__doc__ or "").strip().partition("\n")[0]
        return Tool(
            name=name, version=version, target=target, cost=cost, about=about, _examine=examine, _missing=missing
        )

    return mark

"""Suite files: what is measured, as TOML in `evals/suites/`."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from evals.perturb import PERTURBATIONS, Chain
from evals.results import Rule
from tools.contract import Frozen
from tools.errors import ConfigurationError

FOLDER = Path(__file__).with_name("suites")


class ChainSpec(Frozen):
    """The format-matching chain: both classes leave it with one size and one distribution of JPEG qualities.

    Attributes:
        small: What happens to a picture whose shorter side is below `side`: it is left out (and counted), or enlarged,
            which leaves a trace that may tell the classes apart.
    """

    side: Annotated[int, Field(ge=16, le=2048)]
    rescaled: Annotated[float, Field(ge=0, le=1)] = 0.0
    scales: tuple[float, float] = (0.875, 1.25)
    qualities: tuple[int, int] = (70, 95)
    small: Literal["leave_out", "enlarge"] = "leave_out"

    @property
    def chain(self) -> Chain:
        """The chain itself."""
        return Chain(self.side, self.rescaled, self.scales, self.qualities)


class ProtocolSpec(Frozen):
    """One protocol: which pictures, what is done to them, what is asked.

    Attributes:
        data: `train`, `test`, `pairs`, `edited`, `photographs` (those of test/), `forged` (edits made by masks, each
            with an untouched twin), `made` (by arithmetic, for smoke tests) or `given` (a public layout named on the
            command line).
        chain: None scores files as they lie.
        perturb: Names of `evals.perturb.PERTURBATIONS`, applied one after the other to what left the chain.
        against: The protocol that this one disturbs; the paired loss is told.
        forged: How many pictures are altered, where `data` asks for it.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.+-]*$")]
    title: str
    question: Literal["generated", "edited"] = "generated"
    data: Annotated[
        tuple[Literal["train", "test", "pairs", "edited", "photographs", "forged", "made", "given"], ...],
        Field(min_length=1),
    ]
    chain: ChainSpec | None = None
    draws: Annotated[int, Field(ge=1, le=20)] = 1
    perturb: tuple[str, ...] = ()
    against: str | None = None
    forged: Annotated[int, Field(ge=1)] = 200

    @model_validator(mode="after")
    def _holds(self) -> ProtocolSpec:
        unknown = [name for name in self.perturb if name not in PERTURBATIONS]
        if unknown:
            raise ValueError(f"unknown perturbations {unknown}; known: {', '.join(PERTURBATIONS)}")
        if self.question == "edited" and self.chain is not None:
            raise ValueError("the chain crops, so that an edit could be cut away; leave it out for question = 'edited'")
        if self.chain is None and not self.perturb and self.draws > 1:
            raise ValueError("without a chain or a perturbation every draw is the same file; set draws = 1")
        return self


class TargetSpec(Frozen):
    """A bar set before the run: the figure must be at least, at most, or truly above it.

    Attributes:
        measure: A name of `evals.figures.MEASURES`; or `fpr` and `coverage`, the agent's labels over photographs;
            `loss`, the paired difference to the undisturbed protocol; `ece_excess`, the calibration error beyond what
            exactly right probabilities would show at that number of pictures.
        not_proven_above: Reached unless the whole interval lies above it.
    """

    text: str
    protocol: str
    system: str = "agent"
    measure: str
    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None
    not_proven_above: float | None = None

    @model_validator(mode="after")
    def _one_bar(self) -> TargetSpec:
        if len(self._bars()) != 1:
            raise ValueError("a target has one of at_least, at_most, above and not_proven_above")
        return self

    def _bars(self) -> list[tuple[Rule, float]]:
        told: tuple[tuple[Rule, float | None], ...] = (
            ("at least", self.at_least), ("at most", self.at_most), ("above", self.above),
            ("not proven above", self.not_proven_above),
        )  # fmt: skip
        return [(rule, bar) for rule, bar in told if bar is not None]

    @property
    def rule(self) -> tuple[Rule, float]:
        """What is asked, and the bar."""
        return self._bars()[0]


class Suite(Frozen):
    """A suite file.

    Attributes:
        tools: Names of the tools that take part; empty for all of the catalogue.
        bootstrap: Replicates behind each interval.
        voice: Whether the vision-language model takes part beside the tools, as the detector `vision` (`evals.voice`).
        examiner: Whether the agent's own plan and second looks are run, and held against its rivals.
        sha256: Of the file.
    """

    name: str
    title: str
    seed: int = 0
    bootstrap: Annotated[int, Field(ge=20)] = 400
    prior: Annotated[float, Field(gt=0, lt=1)] = 0.5
    budget: Literal["quick", "standard", "thorough"] = "standard"
    max_tiles: Annotated[int, Field(ge=1)] = 96
    tools: tuple[str, ...] = ()
    voice: bool = False
    examiner: bool = False
    protocol: Annotated[tuple[ProtocolSpec, ...], Field(min_length=1)]
    target: tuple[TargetSpec, ...] = ()
    notes: tuple[str, ...] = ()
    sha256: str = ""

    @model_validator(mode="after")
    def _names_hold(self) -> Suite:
        seen: list[str] = []
        for protocol in self.protocol:
            if protocol.name in seen:
                raise ValueError(f"two protocols are named {protocol.name!r}")
            if protocol.against is not None and protocol.against not in seen:
                raise ValueError(f"{protocol.name}: against = {protocol.against!r} must name an earlier protocol")
            seen.append(protocol.name)
        for target in self.target:
            if target.protocol not in seen:
                raise ValueError(f"the target {target.text!r} names the unknown protocol {target.protocol!r}")
        return self

    def only(self, names: Sequence[str]) -> Suite:
        """The suite with those protocols, and the ones that they are compared with.

        Raises:
            ConfigurationError: There is no protocol of that name.
        """
        by_name = {protocol.name: protocol for protocol in self.protocol}
        unknown = [name for name in names if name not in by_name]
        if unknown:
            raise ConfigurationError(
                f"The suite {self.name} has no protocol {unknown[0]!r}.", remedy=f"Known: {', '.join(by_name)}."
            )
        kept = {*names, *(other for name in names if (other := by_name[name].against) is not None)}
        return self.model_copy(
            update={
                "protocol": tuple(protocol for protocol in self.protocol if protocol.name in kept),
                "target": tuple(target for target in self.target if target.protocol in kept),
            }
        )


def load(name: str) -> Suite:
    """The suite of that name in `evals/suites/`, or the one in the TOML file `name`.

    Raises:
        ConfigurationError: There is none, or it does not hold.
    """
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in FOLDER.glob("*.toml")))
        raise ConfigurationError(f"There is no suite {name!r}.", remedy=f"Known: {known}; or pass a .toml file.")
    raw = path.read_bytes()
    try:
        table = tomllib.loads(raw.decode())
        return Suite.model_validate({"name": path.stem, "sha256": hashlib.sha256(raw).hexdigest()} | table)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValidationError) as error:
        raise ConfigurationError(f"The suite {path.name} does not hold: {error}.", remedy="Repair the file.") from error

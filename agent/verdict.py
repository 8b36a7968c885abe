"""What leaves the agent: the report, a versioned public contract (`schema/report-1.0.json` is made from it)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field

from agent.stated import StatedClaim
from tools.contract import Evidence, Fraction, Frozen, Region, Severity
from tools.views import Degradation

SCHEMA_VERSION: Final = "1.0"

Label = Literal["generated", "edited", "laundered", "no_evidence", "authentic", "inconclusive"]
State = Literal["queued", "running", "done", "failed"]
Confidence = Literal["none", "low", "moderate", "high"]
Interval = tuple[Fraction, Fraction]


class ImageFacts(Frozen):
    """The file that was judged. Width and height are of the upright picture, in pixels.

    Attributes:
        path: The name it came under; never a path of the server.
        notes: What decoding had to do or guess ("judged on frame 1 of 12"), in plain English.
        pdq: Perceptual hash (PDQ, 256 bits as 64 hexadecimal digits), the same or nearly so for copies of a picture;
            empty where the picture holds too little to tell it by.
    """

    path: str
    sha256: str
    bytes: int
    width: int
    height: int
    format: str
    mode: str
    frame: int = 0
    frames: int = 1
    notes: tuple[str, ...] = ()
    pdq: str = ""


class Contribution(Frozen):
    """What one piece of evidence adds to one question.

    Attributes:
        llr: Natural logarithm of the likelihood ratio; positive speaks for the target, 0 adds nothing.
        decibans: The same in decibans, 10·log10 of the ratio.
        bucket: The reliability bucket (JPEG quality, size) whose calibration was used.
        because: Why the weight is what it is, in plain English ("not calibrated yet: weight zero").
    """

    evidence_id: str
    target: Literal["generated", "edited"]
    llr: float
    decibans: float
    bucket: str
    because: str = ""


class Conflict(Frozen):
    """Evidence that disagrees beyond what calibration expects, and what could reconcile it.

    Attributes:
        speaks_for, against: Who says what of the question.
        beyond: What calibration expects, and by how much this goes beyond it, in plain English.
        reconcile: What could explain it or settle it.
        outcome: What second looks made of it; empty where there were none.
    """

    evidence_ids: tuple[str, ...]
    text: str
    speaks_for: tuple[str, ...] = ()
    against: tuple[str, ...] = ()
    beyond: str = ""
    reconcile: str = ""
    outcome: str = ""


class Verdict(Frozen):
    """The answer, how sure it is, and what it rests on.

    Attributes:
        p_generated: Probability at `prior` that the picture was made by a generative model.
        p_edited: The same for altered in part; None where nothing examined that question.
        likelihood_ratio: exp of the summed log-likelihood ratios, for each question that was examined.
        interval: 90 % bootstrap interval of `p_generated`.
        confidence: The interval in a word: what a reader may lean on.
        decided_by: `provenance` where a trusted signature decided, else `fusion`.
        not_examined: What nothing looked at, so that silence is not taken for a clean bill.
    """

    label: Label
    p_generated: Fraction
    p_edited: Fraction | None
    likelihood_ratio: dict[Literal["generated", "edited"], float]
    prior: Fraction
    interval: Interval
    interval_edited: Interval | None
    confidence: Confidence
    decided_by: Literal["provenance", "fusion"]
    abstained_because: str | None
    conflicts: tuple[Conflict, ...] = ()
    not_examined: tuple[str, ...] = ()
    calibration: str = Field(description="Version and hash of the calibration file that was used.")


class Artifact(Frozen):
    """Something seen at a place, gathered from the findings that have a region."""

    kind: str
    text: str
    region: Region
    severity: Severity
    evidence_id: str


class Sentence(Frozen):
    """A sentence of the explanation and the ids of the evidence that it rests on.

    Attributes:
        role: `answer` first; `reason` speaks for it and `against` against it; `context` describes the file or answers
            another question; `limits` says what was not examined and how far all this may be leaned on.
    """

    text: str
    cites: tuple[str, ...]
    role: Literal["answer", "reason", "against", "context", "limits"] = "reason"


class DroppedSentence(Frozen):
    """A sentence that grounding refused, and why."""

    text: str
    cites: tuple[str, ...]
    because: str


class Writer(Frozen):
    """Who wrote the explanation.

    Attributes:
        kind: `template` is the plain template; the rest are language models.
        note: Why this writer and not another, in plain English.
    """

    kind: Literal["template", "embedded", "served", "scripted"]
    model: str | None = None
    adapter: str | None = None
    revision: str | None = None
    prompt_version: str | None = None
    note: str = ""


class PlanStep(Frozen):
    """A tool or probe that was run or left out, and why.

    Attributes:
        tool: Its name; of a probe, what it does: `stability`, `zoom`, `question`, `similar`.
        cost: Cost units (one is about 10 ms on one core).
        kind: A `tool` or a model's blind `look` gives evidence; a `probe` looks again and lends no weight.
        round: In which round it was decided: 1 before anything was known, 2 after what the file says of itself, and so
            on.
        on: The tools that a probe asks again.
        region: Where a probe looks.
        expected: Chance that it would change the label, by calibration; None where that was not asked.
    """

    tool: str
    run: bool
    because: str
    cost: float
    kind: Literal["tool", "look", "probe"] = "tool"
    round: Annotated[int, Field(ge=1)] = 1
    on: tuple[str, ...] = ()
    region: Region | None = None
    expected: Fraction | None = None


class SecondLook(Frozen):
    """The same picture degraded, and what the verdict would be on it.

    Attributes:
        kind: What was done to it (`tools.views.View`).
        scores: Raw scores of the tools that looked again.
        silent: Why others of them gave none, by tool.
        likelihood_ratio: As in a verdict, with the scores of the second look in place of the first ones.
        flips: Whether it speaks against what the whole file was found to be.
    """

    kind: Degradation
    scores: dict[str, Fraction]
    silent: dict[str, str] = Field(default_factory=dict)
    label: Label
    p_generated: Fraction
    p_edited: Fraction | None
    likelihood_ratio: dict[Literal["generated", "edited"], float]
    flips: bool


class Stability(Frozen):
    """Whether the pixel evidence survives re-saving, resizing and cropping. A signature is not judged by it.

    Attributes:
        judged: Whether any second look gave a score.
        because: What was done, or why nothing was, in plain English.
        tools: The tools that looked again.
        flips: Whether any second look flips.
    """

    judged: bool
    because: str
    tools: tuple[str, ...] = ()
    looks: tuple[SecondLook, ...] = ()
    flips: bool = False


class Similar(Frozen):
    """An earlier case of the same picture, or of a copy of it. An annotation: it has no part in the verdict.

    Attributes:
        distance: Bits of 256 by which the perceptual hashes differ; 0 too where the files are the same.
        same_file: Whether the file was the very same, byte for byte.
    """

    case_id: str
    created_at: datetime
    name: str
    label: Label | None
    distance: Annotated[int, Field(ge=0, le=256)]
    same_file: bool


class EarlierVerdict(Frozen):
    """What this case said before new evidence came.

    Attributes:
        revision: Number of the report that said it, 1 for the first.
        because: What brought the new evidence that followed, in plain English.
    """

    revision: int
    label: Label
    p_generated: Fraction
    p_edited: Fraction | None
    because: str


class Report(Frozen):
    """Everything about one case.

    Attributes:
        revision: 1 for the first report; each new evidence after it makes another, and all are kept.
        earlier: What the reports before this one said, oldest first.
        review_asked: Why a person should look before the verdict is used; None where the policy asks for nobody.
    """

    schema_version: Literal["1.0"] = SCHEMA_VERSION
    case_id: str
    created_at: datetime
    budget: Literal["quick", "standard", "thorough"]
    image: ImageFacts
    verdict: Verdict
    evidence: tuple[Evidence, ...]
    contributions: tuple[Contribution, ...]
    artifacts: tuple[Artifact, ...]
    explanation: tuple[Sentence, ...]
    dropped: tuple[DroppedSentence, ...] = ()
    explained_by: Writer
    plan: tuple[PlanStep, ...]
    stability: Stability | None = None
    similar: tuple[Similar, ...] = ()
    similar_because: str = Field(default="", description="Why earlier cases were not looked through, where so.")
    unrecorded: str = Field(default="", description="Why the log may lack this report; empty where it was stored.")
    versions: dict[str, str]
    timings: dict[str, Annotated[float, Field(ge=0)]] = Field(description="Milliseconds a step.")
    revision: Annotated[int, Field(ge=1)] = 1
    earlier: tuple[EarlierVerdict, ...] = ()
    review_asked: str | None = None
    claim: StatedClaim | None = Field(
        default=None, description="What somebody says of the picture, as the checker gave it. Nothing here judged it."
    )


class CaseSummary(Frozen):
    """One line of the history.

    Attributes:
        label, p_generated: Of the newest report; None until the case is done.
        status: `queued` and `running` are under way, `done` and `failed` are ends.
        error: Why a failed case failed, in plain English; `error_code` is the stable name of the cause.
        revision: Number of the newest report.
        review: `asked` where a person should look and nobody has, else what the newest reviewer did.
        purged: Whether the file and the maps were deleted; the report stays.
    """

    case_id: str
    created_at: datetime
    status: State
    name: str
    sha256: str
    label: Label | None
    p_generated: float | None
    error: str | None = None
    error_code: str | None = None
    revision: int = 1
    review: Literal["asked", "confirm", "override"] | None = None
    purged: bool = False

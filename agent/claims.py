"""What a statement of origin weighs: one table of expert judgement.

No data set tells how often metadata is forged, so these likelihood ratios are judgement and not measurement. They are
shown as such in docs/VERDICTS.md and in each contribution. Their uncertainty enters the interval as a factor of 0.5 to
1.5 on the log-likelihood ratio.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from tools.contract import Claim, ClaimRank, Evidence

Question = Literal["generated", "edited"]


@dataclass(frozen=True, slots=True)
class Judged:
    """One row: the likelihood ratio that a claim lends to each question (1 adds nothing).

    Attributes:
        says: `generated` means the whole picture, `composite` generated parts, `edited` altered with AI. The
            provenance tool has already turned what is said of an ingredient into what that means for the picture.
        ingredient: Whether the claim stands at a picture that this one was made from; None where that is the same.
    """

    rank: ClaimRank
    says: str
    ingredient: bool | None
    generated: float
    edited: float
    because: str


_TRUSTED, _UNKNOWN, _UNSIGNED = 1000.0, 50.0, 20.0
_CAMERA_BELOW = 10.0
_FORGEABLE = "this metadata is not signed: it can be forged or left over from another file, yet that is seldom done"
_ANYONE = "the signature is intact but its signer is not on the trust list, and anyone can sign"

TABLE: tuple[Judged, ...] = (
    Judged("trusted", "generated", None, _TRUSTED, 1, "a signer on the trust list says that a model made it"),
    Judged("trusted", "composite", None, 1, _TRUSTED, "a signer on the trust list says that parts were generated"),
    Judged("trusted", "edited", None, 1, _TRUSTED, "a signer on the trust list says that AI altered it"),
    Judged("trusted", "camera", False, 1 / _TRUSTED, 1 / _TRUSTED, "a signer on the trust list says camera capture"),
    Judged(
        "trusted", "camera", True, 1 / _CAMERA_BELOW, 1,
        "a signer on the trust list says that it was made from a camera capture; what was done since may not be told",
    ),
    Judged("valid_unknown_signer", "generated", None, _UNKNOWN, 1, _ANYONE),
    Judged("valid_unknown_signer", "composite", None, 1, _UNKNOWN, _ANYONE),
    Judged("valid_unknown_signer", "edited", None, 1, _UNKNOWN, _ANYONE),
    Judged("unsigned", "generated", None, _UNSIGNED, 1, _FORGEABLE),
    Judged("unsigned", "composite", None, 1, _UNSIGNED, _FORGEABLE),
    Judged("unsigned", "edited", None, 1, _UNSIGNED, _FORGEABLE),
)  # fmt: skip
"""Every claim that is not in this table weighs nothing."""

UNTOUCHED = frozenset(
    {"created", "captured", "opened", "converted", "transcoded", "repackaged", "published", "resized", "orientation"}
)
"""Actions after which a camera's picture still shows all that it showed. A crop is not one of them."""

_NOTHING: dict[ClaimRank, str] = {
    "trusted": "this statement says nothing about generative models",
    "valid_unknown_signer": (
        "the signer is not on the trust list: such a signature counts only where it admits AI, because anyone can sign "
        "a picture as camera capture"
    ),
    "invalid": "the signature does not hold (tampered, expired or malformed), so nothing it says is believed",
    "unsigned": "unsigned metadata counts only where it admits AI, because anyone can write camera data into a file",
}
_RANK_WORDS: dict[ClaimRank, str] = {
    "trusted": "trusted signature",
    "valid_unknown_signer": "valid signature, signer unknown",
    "invalid": "invalid signature",
    "unsigned": "unsigned metadata",
}


_WHERE = {None: "the picture or its ingredients", False: "the picture", True: "its ingredients"}
_ORDER: dict[ClaimRank, int] = {"invalid": 0, "unsigned": 1, "valid_unknown_signer": 2, "trusted": 3}


@dataclass(frozen=True, slots=True)
class Weighed:
    """What the statements of one piece of evidence lend to one question.

    Attributes:
        llr: Natural logarithm of the likelihood ratio.
    """

    evidence_id: str
    question: Question
    llr: float
    rank: ClaimRank
    because: str


@dataclass(frozen=True, slots=True)
class Statements:
    """The statements of origin of one examination, by what they may decide.

    Attributes:
        actions: What the manifest of the picture itself records as done to it, by C2PA's short names.
    """

    claims: tuple[Claim, ...]
    actions: frozenset[str] = frozenset()

    def any(self, says: str, *, ranks: Iterable[ClaimRank] = ("trusted",), ingredient: bool | None = None) -> bool:
        """Whether there is such a statement; `ingredient` None looks at the picture and at what it was made from."""
        return any(
            claim.says == says and claim.rank in ranks and ingredient in (None, claim.depth > 0)
            for claim in self.claims
        )

    @property
    def admit_ai(self) -> bool:
        """Whether any statement that may be believed at all says that AI was at work."""
        believed: tuple[ClaimRank, ...] = ("trusted", "valid_unknown_signer", "unsigned")
        return any(self.any(says, ranks=believed) for says in ("generated", "composite", "edited"))

    @property
    def decided(self) -> Literal["generated", "edited", "authentic"] | None:
        """The label that a trusted signature decides. A statement that AI was at work comes before one of a camera.

        `authentic` needs more than the word camera: nothing else may be stated of the picture itself, no edit may be
        recorded beyond `UNTOUCHED`, and no statement of any standing but an invalid one may tell of AI.
        """
        if self.any("generated"):
            return "generated"
        if self.any("composite") or self.any("edited"):
            return "edited"
        touched = self.any("other", ingredient=False) or bool(self.actions - UNTOUCHED)
        if self.any("camera", ingredient=False) and not touched and not self.admit_ai:
            return "authentic"
        return None


def statements(evidence: Iterable[Evidence]) -> Statements:
    """All statements of origin in `evidence`, and the actions that are recorded at the picture itself (depth 0)."""
    evidence = tuple(evidence)
    recorded = [
        str(finding.numbers["actions"])
        for item in evidence
        if item.claims
        for finding in item.findings
        if "actions" in finding.numbers and finding.numbers.get("depth", 0) == 0
    ]
    actions = frozenset(name.strip() for names in recorded for name in names.split(",") if name.strip())
    return Statements(tuple(claim for item in evidence for claim in item.claims), actions)


def judged(claim: Claim) -> Judged | None:
    """The row of the table for a claim; None where it weighs nothing."""
    for row in TABLE:
        if (row.rank, row.says) == (claim.rank, claim.says) and row.ingredient in (None, claim.depth > 0):
            return row
    return None


def weigh(item: Evidence) -> list[Weighed]:
    """What the statements in one piece of evidence lend to each question, in a fixed order.

    Statements of one file may be written by one hand and are never added up: for each question the strongest one that
    speaks for AI counts, and one that speaks against it only where it outranks that one. Where no statement weighs
    anything, one entry of zero for `generated` says why.
    """
    found: list[Weighed] = []
    rows = [(row, claim) for claim in item.claims if (row := judged(claim)) is not None]
    questions: tuple[Question, ...] = ("generated", "edited")
    for question in questions:
        logs = sorted(
            ((math.log(getattr(row, question)), claim.model_dump_json(), row) for row, claim in rows),
            key=lambda entry: entry[:2],
        )
        speaking = [logs[-1]] if logs and logs[-1][0] > 0 else []
        if logs and logs[0][0] < 0 and (not speaking or _ORDER[logs[0][2].rank] > _ORDER[speaking[0][2].rank]):
            speaking.append(logs[0])
        found += [
            Weighed(item.id, question, llr, row.rank, f"{_RANK_WORDS[row.rank]}: {row.because}")
            for llr, _, row in speaking
        ]
    if not found and item.claims:
        ranks: tuple[ClaimRank, ...] = ("invalid", "trusted", "valid_unknown_signer", "unsigned")
        rank = next(rank for rank in ranks if any(claim.rank == rank for claim in item.claims))
        found.append(Weighed(item.id, "generated", 0.0, rank, f"{_RANK_WORDS[rank]}: {_NOTHING[rank]}: weight zero"))
    return found


def markdown() -> str:
    """The table as it stands in docs/VERDICTS.md."""
    head = (
        "| statement of origin | it says | about | for `generated` | for `edited` | why |\n|---|---|---|---|---|---|\n"
    )
    return head + "".join(
        f"| {_RANK_WORDS[row.rank]} | {row.says} | {_WHERE[row.ingredient]} "
        f"| {_ratio(row.generated)} | {_ratio(row.edited)} | {row.because} |\n"
        for row in TABLE
    )


def _ratio(value: float) -> str:
    if value == 1:
        return "nothing"
    return f"times {value:g}" if value > 1 else f"divided by {1 / value:g}"

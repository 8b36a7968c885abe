"""Conflicts between pieces of evidence: named, with who says what, held against what calibration expects. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from agent import disagreement
from agent.calibration import Array, conditions
from agent.claims import Question, Statements
from agent.verdict import Conflict
from tools.contract import Evidence

QUESTIONS: tuple[Question, ...] = ("generated", "edited")
DECIBANS = 10 / math.log(10)
CONFLICT = math.log(2)
"""Contributions of opposite sign, both at least this large, are a conflict."""
HEAVY = 75
"""JPEG quality below which compression is named as what could explain a conflict."""


@dataclass(slots=True)
class Voice:
    """One contribution in the making: `llr` is the point value followed by the draws, (1 + draws,)."""

    evidence_id: str
    question: Question
    llr: Array
    bucket: str
    because: str
    pixel: bool
    weighted: bool

    @property
    def point(self) -> float:
        return float(self.llr[0])


def find_conflicts(voices: Sequence[Voice], origin: Statements, evidence: Sequence[Evidence]) -> tuple[Conflict, ...]:
    """The conflicts of a case: who speaks against whom, whether calibration expects it, and what could reconcile it."""
    versions = {item.id: (item.detector, item.version) for item in evidence}
    found = []
    for question in QUESTIONS:
        speaking = [voice for voice in voices if voice.question == question and voice.point != 0]
        pairs = [
            pair
            for pro in speaking
            for con in speaking
            if pro.point > 0 > con.point and (pair := _pair(pro, con, versions)) is not None
        ]
        if not pairs:
            continue
        pro = tuple(dict.fromkeys(pair.pro for pair in pairs))
        con = tuple(dict.fromkeys(pair.con for pair in pairs))
        text = f"On whether the picture was {question}, {', '.join(pro)} speaks for it and {', '.join(con)} against it."
        beyond = " ".join(dict.fromkeys(pair.beyond for pair in pairs))
        pixel = all(voice.pixel for voice in speaking if voice.evidence_id in (*pro, *con))
        reconcile = _reconcile(pixel, evidence)
        found.append(
            Conflict(
                evidence_ids=(*pro, *(name for name in con if name not in pro)), text=f"{text} {reconcile}",
                speaks_for=pro, against=con, beyond=beyond, reconcile=reconcile,
            )
        )  # fmt: skip
    if origin.any("camera", ingredient=False) and origin.admit_ai:
        ids = tuple(dict.fromkeys(voice.evidence_id for voice in voices if not voice.pixel))
        reconcile = "The signer's record of edits could reconcile them."
        found.append(
            Conflict(
                evidence_ids=ids,
                text="A trusted signature says camera capture, while another statement of origin says that AI was at "
                f"work. {reconcile}",
                reconcile=reconcile,
            )
        )
    return tuple(found)


class _Opposed(NamedTuple):
    pro: str
    con: str
    beyond: str


def _pair(pro: Voice, con: Voice, versions: Mapping[str, tuple[str, str]]) -> _Opposed | None:
    """Two voices against each other, where they are too far apart for what calibration expects.

    Both at least 2 : 1 is always told. Where held-out pictures were judged by both tools, so is a difference that 99 of
    100 of those pictures stay below.
    """
    apart = pro.point - con.point
    strong = min(pro.point, -con.point) >= CONFLICT
    names = f"{pro.evidence_id} and {con.evidence_id}"
    known = None
    if pro.pixel and con.pixel:
        known = disagreement.expected(versions[pro.evidence_id], versions[con.evidence_id])
    if known is None:
        if not strong:
            return None
        return _Opposed(
            pro.evidence_id, con.evidence_id, f"How often {names} disagree so far is not known: no held-out "
            "picture was judged by both."
        )  # fmt: skip
    usual = (
        f"Of {known.pictures} held-out pictures that {names} both judged, 99 in 100 had them at most "
        f"{known.apart * DECIBANS:.1f} decibans apart; here it is {apart * DECIBANS:.1f}."
    )
    if apart > known.apart and apart >= CONFLICT:
        return _Opposed(pro.evidence_id, con.evidence_id, usual)
    return _Opposed(pro.evidence_id, con.evidence_id, usual) if strong else None


def _reconcile(pixel: bool, evidence: Sequence[Evidence]) -> str:
    if not pixel:
        return (
            "A camera can photograph a screen that shows a generated picture, metadata can be carried over from "
            "another file, and pixel tools err: the original file and its signer could reconcile them."
        )
    known = next((found for item in evidence if (found := conditions(item.measurements)) is not None), None)
    why = "a composite of which only parts are generated, a picture passed through a generator, or a screenshot"
    if known is not None and known[0] < HEAVY:
        why = f"heavy compression (JPEG quality {known[0]:.0f}), {why}"
    return f"Pixel tools err in different ways; {why} could explain it, and a larger or less compressed copy settle it."

"""Examined pictures that never were: random but coherent cases, to train the narrator on.

    python -m finetune.cases --count 100 --held-out --out CASES.jsonl

What the tools say is drawn by `finetune.sayings`; a good part of the evidence comes from tools that do not exist. The
verdict follows from the contributions as `agent.fusion` makes it follow. Held-out cases have other seeds, other
numbers, and other tools that do not exist.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agent.fusion import NEVER_EXAMINED
from agent.verdict import Conflict, Contribution, Verdict
from finetune.sayings import TOOLS, Rng, compression, provenance, score_of, stability, stranger
from tools.contract import Evidence

HELD_OUT = 9_000_000
"""Seeds from here on make held-out cases."""


@dataclass(frozen=True, slots=True)
class Case:
    """One examined picture, as fusion leaves it."""

    verdict: Verdict
    evidence: tuple[Evidence, ...]
    contributions: tuple[Contribution, ...]


_WHY_NOT = (
    "The picture is {w}x{h} px; texture is compared from 256 px on the shorter side.",
    "The picture is too small: its shorter side has {h} px, a spectrum needs 128 px.",
    "All {n} tiles that were looked at are nearly flat: they show nothing to judge.",
    "The tool did not answer within {n} s.",
)


def case(seed: int) -> Case:
    """A random case; the same seed gives the same case, held out from HELD_OUT on."""
    rng = np.random.default_rng(seed)
    trusted = str(rng.choice(["camera", "generated", "edited"])) if rng.random() < 0.1 else None
    evidence: list[Evidence] = []
    weights: list[tuple[str, str, float, str]] = []
    names = [name for name in TOOLS if rng.random() < {"inversion_sd": 0.25, "vision": 0.6}.get(name, 0.8)]
    tilt = float(rng.normal(0, 0.7))
    for name in names:
        target, make = TOOLS[name]
        fields = {"id": name, "detector": name, "version": "1", "target": target}
        if rng.random() < 0.1:
            why = str(rng.choice(_WHY_NOT)).format(
                w=rng.integers(90, 400), h=rng.integers(40, 250), n=rng.integers(2, 40)
            )
            evidence.append(Evidence.model_validate(fields | {"abstained_because": why}))
            continue
        lean = int(np.clip(round(rng.normal(tilt, 0.9)), -1, 1))
        findings = make(lean, rng)
        evidence.append(Evidence.model_validate(fields | {"score": score_of(lean, rng), "findings": tuple(findings)}))
        size = float(rng.gamma(1.5, 2.2)) * (lean if lean else float(rng.normal(0, 0.15)))
        weights.append((name, target, 0.0 if rng.random() < 0.25 else size, "calibrated on held-out pictures"))
    while rng.random() < 0.45 or not evidence:
        other, lean = stranger(rng, seed >= HELD_OUT)
        if any(item.id == other.id for item in evidence):
            continue
        evidence.append(other)
        size = float(rng.gamma(1.5, 2.2)) * lean
        weights.append((other.id, other.target, size if rng.random() < 0.7 else 0.0, "calibrated on held-out pictures"))
    if rng.random() < 0.85:
        evidence.append(compression(rng))
    if rng.random() < 0.6:
        evidence.append(stability(rng))
    if trusted is not None or rng.random() < 0.8:
        said, size = provenance(rng, trusted)
        evidence.append(said)
        sign = -1 if trusted == "camera" else 1
        if size:
            weights.append(("provenance", "edited" if trusted == "edited" else "generated", sign * size, "judgement"))
    order = rng.permutation(len(evidence))
    return _fused(tuple(evidence[int(index)] for index in order), weights, trusted, rng)


def _fused(
    evidence: tuple[Evidence, ...], weights: list[tuple[str, str, float, str]], trusted: str | None, rng: Rng
) -> Case:
    prior = 0.5 if rng.random() < 0.75 else round(float(rng.choice([0.05, 0.1, 0.2, 0.3, 0.7])), 2)
    entries = []
    for name, target, size, because in weights:
        llr = size * math.log(10) / 10
        if trusted is not None and name != "provenance":
            llr, because = 0.0, "not counted, because a trusted signature decides"
        entries.append(
            Contribution.model_validate(
                {"evidence_id": name, "target": target, "llr": llr, "decibans": llr * 10 / math.log(10)}
                | {"bucket": "all", "because": because}
            )
        )
    sides: dict[str, tuple[float, float, tuple[float, float]]] = {}
    for target in ("generated", "edited"):
        total = sum(entry.llr for entry in entries if entry.target == target)
        spoke = any(entry.target == target and abs(entry.llr) > 0 for entry in entries)
        odds = total + math.log(prior / (1 - prior))
        spread = 0.25 + 0.35 * abs(total)
        low, p, high = (1 / (1 + math.exp(-value)) for value in (odds - spread, odds, odds + spread))
        sides[target] = (total, p, (round(low, 4), round(high, 4)) if spoke else (0.0, 1.0))
    edited = any(entry.target == "edited" for entry in entries)
    label, withheld = _label(sides, edited, trusted, rng)
    conflicts = _conflicts(entries)
    away = max(sides["edited" if label == "edited" else "generated"][2][0], 1 - sides["generated"][2][1])
    confidence = "none" if away <= 0.5 else "low" if label == "inconclusive" or away < 0.7 else "moderate"
    if trusted is not None:
        confidence = "high"
    missing = list(NEVER_EXAMINED)
    missing += [f"{item.id} gave no score: {item.abstained_because}" for item in evidence if item.score is None][:2]
    rng.shuffle(missing)
    verdict = Verdict.model_validate(
        {
            "label": label, "p_generated": sides["generated"][1], "p_edited": sides["edited"][1] if edited else None,
            "likelihood_ratio": {name: math.exp(sides[name][0]) for name in sides if name != "edited" or edited},
            "prior": prior, "interval": sides["generated"][2],
            "interval_edited": sides["edited"][2] if edited else None,
            "confidence": confidence, "decided_by": "fusion" if trusted is None else "provenance",
            "abstained_because": withheld, "conflicts": conflicts, "not_examined": tuple(missing),
            "calibration": "made",
        }
    )  # fmt: skip
    return Case(verdict, evidence, tuple(entries))


def _label(
    sides: dict[str, tuple[float, float, tuple[float, float]]], edited: bool, trusted: str | None, rng: Rng
) -> tuple[str, str | None]:
    if trusted is not None:
        return {"camera": "authentic"}.get(trusted, trusted), None
    names = ["generated", "edited"] if edited else ["generated"]
    passed = [name for name in names if sides[name][0] > 1.1 and sides[name][2][0] > 0.5]
    if passed:
        best = max(passed, key=lambda name: sides[name][1])
        return ("laundered" if best == "generated" and rng.random() < 0.06 else best), None
    if sides["generated"][0] < -0.7 and sides["generated"][2][1] < 0.5 and (not edited or sides["edited"][0] <= 0):
        return "no_evidence", None
    ratio, (low, high) = math.exp(sides["generated"][0]), sides["generated"][2]
    return "inconclusive", (
        f"The evidence is too weak: its likelihood ratio for 'generated' is {ratio:.2f} (90 % interval of the "
        f"probability {low:.2f} to {high:.2f}). What would help: the file as it was first published or taken, with "
        "its metadata."
    )


def _conflicts(entries: list[Contribution]) -> tuple[Conflict, ...]:
    found = []
    for target in ("generated", "edited"):
        strong = [entry for entry in entries if entry.target == target and abs(entry.decibans) >= 3]
        lifts = [entry.evidence_id for entry in strong if entry.llr > 0]
        falls = [entry.evidence_id for entry in strong if entry.llr < 0]
        if lifts and falls:
            text = (
                f"On whether the picture was {target}, {', '.join(lifts)} speaks for it and {', '.join(falls)} against "
                "it. Pixel tools err in different ways: a larger or less compressed copy could reconcile them."
            )
            found.append(Conflict(evidence_ids=(*lifts, *falls), text=text))
    return tuple(found)


def main(argv: Sequence[str] | None = None) -> None:
    """Writes cases as JSON Lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--held-out", action="store_true")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    first = HELD_OUT if args.held_out else 10_000
    lines = []
    for seed in range(first, first + args.count):
        made = case(seed)
        told = {
            "verdict": made.verdict.model_dump(mode="json"),
            "evidence": [item.model_dump(mode="json") for item in made.evidence],
            "contributions": [entry.model_dump(mode="json") for entry in made.contributions],
        }
        lines.append(json.dumps(told))
    args.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(lines)} cases in {args.out}")


if __name__ == "__main__":
    main()

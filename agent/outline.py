"""What an explanation or an answer tells, point by point: chosen and ordered here, put into words by a model.

A point is told in one sentence, and its request (`agent.prompt.sentence_messages`) holds the line of that point and
nothing else: a sentence cannot take its number or its finding from another tool, it cites what its line is of, and a
piece of evidence that is taken away takes its sentence with it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from agent.basis import HOUSE_RULES, VERDICT
from agent.intents import understand
from agent.prompt import brief, quoted, shown
from agent.verdict import Contribution, Verdict
from agent.wording import likelihood_words
from tools.contract import Evidence, Finding

Kind = Literal[
    "answer", "weighed", "states", "sign", "silent", "conflict", "unweighed", "missing", "place", "no place", "grade",
    "reported", "mute", "rule",
]  # fmt: skip
Role = Literal["answer", "reason", "against", "context", "limits"]
LEAST_DECIBANS: Final = 0.5
"""Decibans below which evidence is told to have no weight."""
MOST_TOLD: Final = 5
"""Pieces of evidence whose finding is told; the others are named."""
MOST_WEIGHED, MOST_ON_A_SIDE, _MOST_NAMED = 4, 3, 4
"""Reasons that an explanation gives; those of them on one side; tools that one sentence names."""
MANNERS: Final[dict[Kind, tuple[str, ...]]] = {
    "answer": ("the probability", "how likely it is", "the question"),
    "weighed": ("the tool", "the weight", "the odds", "the side", "the finding"),
    "states": ("the tool", "the source"),
    "sign": ("the tool", "the weight"),
    "silent": ("the tool", "the judgement"),
    "conflict": ("the disagreement", "the evidence"),
    "unweighed": ("the tools", "the weight"),
    "missing": ("what is missing", "the examination"),
    "place": ("the tool", "the place"),
}
"""What a sentence may begin with. Which of them it is follows from the evidence, so that the same case is told in the
same words and other cases in others."""


@dataclass(frozen=True, slots=True)
class Point:
    """What one sentence is to tell.

    Attributes:
        cites: Ids that the sentence rests on: those of the line.
        line: The evidence as the request shows it, ids first.
        fact: The words of the line that are quoted; empty where it quotes none.
        names: Detectors that it speaks of, in words.
        weight: Of the evidence, where the point is about that.
    """

    kind: Kind
    role: Role
    cites: tuple[str, ...]
    line: str
    fact: str = ""
    names: tuple[str, ...] = ()
    weight: Contribution | None = None
    plain: bool = False
    """Whether the finding speaks for no side, so that it cannot stand by itself in front."""

    @property
    def manner(self) -> str:
        """What the sentence begins with; empty where there is one way only."""
        ways = MANNERS.get(self.kind, ("",))
        ways = ways[:-1] if self.plain else ways
        return ways[zlib.crc32(self.line.encode()) % len(ways)]


def explanation(
    verdict: Verdict, evidence: Sequence[Evidence], contributions: Sequence[Contribution] = ()
) -> tuple[Point, ...]:
    """The points of an explanation: the answer, reasons for it, reasons against it, conflicts, context, limits."""
    told = told_first(evidence, contributions)
    asked, p, _ = asked_of(verdict)
    sides: dict[Role, list[Point]] = {"reason": [], "against": [], "context": []}
    signs: list[Point] = []
    for item, weight, finding in told:
        if finding is None:
            continue
        if weight is not None:
            role: Role = "reason" if (weight.llr > 0) == (p >= 0.5) else "against"
            role = role if weight.target == asked else "context"
            if sum(map(len, sides.values())) < MOST_WEIGHED and len(sides[role]) < MOST_ON_A_SIDE:
                sides[role].append(_weighed(item, weight, finding, role))
        elif item.claims or item.detector == "stability":
            signs.insert(0, _quoting("states", "context", item, "states", finding.text))
        elif finding.polarity != "neutral":
            signs.append(_quoting("sign", "limits", item, "no weight", finding.text))
    return (
        answer(verdict, evidence), *sides["reason"], *sides["against"], *_conflicts(verdict, evidence),
        *sides["context"], *signs[:2], *_limits(verdict, told),
    )  # fmt: skip


def reply(
    verdict: Verdict, evidence: Sequence[Evidence], contributions: Sequence[Contribution], question: str
) -> tuple[Point, ...]:
    """The points that a question asks for. What it wrote reaches no further than the choice of them."""
    match understand(question, tools=()).intent:
        case "why":
            return tuple(each for each in explanation(verdict, evidence, contributions) if each.role != "limits")
        case "where":
            return _places(told_first(evidence, contributions)) or (
                Point("no place", "limits", (VERDICT,), f"[{VERDICT}] no tool marked a place"),
            )
        case "sure":
            graded = Point(
                "grade", "limits", (VERDICT,), f"[{VERDICT}] confidence {verdict.confidence}", verdict.confidence
            )
            return (answer(verdict, evidence), graded)
        case "limits":
            points = _limits(verdict, told_first(evidence, contributions))
            return points or (_rule(0),)
        case "tools":
            return _tools(evidence)
        case "change":
            return (_rule(3), _rule(2))
        case "verdict" | "pressure" | "earlier":
            return (answer(verdict, evidence),)
        case _:
            return (_rule(5), _rule(6))


def turns(points: Sequence[Point]) -> Iterator[tuple[int, Sequence[Point]]]:
    """The points as they are asked for, with the number of the first: one alone, so that it soon stands; the rest."""
    for begin, end in ((0, 1), (1, len(points))):
        if points[begin:end]:
            yield begin, points[begin:end]


def asked_of(verdict: Verdict) -> tuple[str, float, tuple[float, float]]:
    """The question that a verdict answers, `generated` or `edited`, with its probability and interval."""
    if verdict.label == "edited" and verdict.p_edited is not None:
        return "edited", verdict.p_edited, verdict.interval_edited or (0.0, 1.0)
    return "edited" if verdict.label == "edited" else "generated", verdict.p_generated, verdict.interval


def telling(item: Evidence, wanted: str | None = None) -> Finding | None:
    """The finding that shows best why a tool speaks as it does: of the polarity `wanted`, then the most severe."""
    grades = ("info", "weak", "moderate", "strong")
    return max(
        item.findings,
        key=lambda each: (each.polarity == wanted, each.polarity != "neutral", grades.index(each.severity)),
        default=None,
    )


def told_first(
    evidence: Sequence[Evidence], contributions: Sequence[Contribution]
) -> list[tuple[Evidence, Contribution | None, Finding | None]]:
    """The evidence in the order in which it is told: by weight, then what shows signs, then the rest.

    With each piece its contribution, where that weighs at least LEAST_DECIBANS, and the finding that is told of it:
    MOST_TOLD pieces have one, if they weigh, show a sign, or state where the picture comes from.
    """
    weights: dict[str, Contribution] = {}
    for entry in contributions:
        known = weights.get(entry.evidence_id)
        if abs(entry.decibans) >= LEAST_DECIBANS and (known is None or abs(known.decibans) < abs(entry.decibans)):
            weights[entry.evidence_id] = entry
    rows = []
    for item in evidence:
        weight = weights.get(item.id)
        wanted = None if weight is None else weight.target if weight.llr > 0 else "camera"
        finding = telling(item, wanted)
        shows = finding is not None and (finding.polarity != "neutral" or finding.severity != "info")
        shows = shows or item.detector == "stability"
        rank = (weight is None, -abs(weight.decibans) if weight else 0.0, not (shows or item.claims))
        rows.append((rank, item, weight, finding))
    rows.sort(key=lambda row: row[0])
    return [
        (item, weight, finding if (weight or not rank[2]) and index < MOST_TOLD else None)
        for index, (rank, item, weight, finding) in enumerate(rows)
    ]


def verdict_line(verdict: Verdict) -> str:
    """The verdict in a line, without its id."""
    sides = [("generated", verdict.p_generated, verdict.interval)]
    if verdict.p_edited is not None:
        sides.append(("edited", verdict.p_edited, verdict.interval_edited or (0.0, 1.0)))
    if verdict.label == "edited":
        sides.reverse()
    parts = [f"label {verdict.label}"]
    for name, p, (low, high) in sides:
        parts.append(f"p {name} {shown(p)} ({shown(low)} to {shown(high)}), {likelihood_words(p)}")
    parts.append(f"prior {verdict.prior:g}")
    if verdict.decided_by == "provenance":
        parts.append("decided by provenance")
    return "; ".join(parts)


def answer(verdict: Verdict, evidence: Sequence[Evidence]) -> Point:
    """The verdict, as the point that comes first."""
    cites = [VERDICT]
    if verdict.decided_by == "provenance":
        cites += [item.id for item in evidence if any(claim.rank == "trusted" for claim in item.claims)]
    return Point("answer", "answer", tuple(cites), f"[{', '.join(cites)}] {verdict_line(verdict)}")


def spoken(item: Evidence) -> str:
    """The name of a tool, in words."""
    return item.detector.replace("_", " ")


def _weighed(item: Evidence, weight: Contribution, finding: Finding, role: Role) -> Point:
    fact = brief(finding.text)
    side = "for" if weight.decibans > 0 else "against"
    line = f"[{item.id}] {side} {weight.target} {abs(weight.decibans):.1f} decibans: {quoted(fact)}"
    return Point(
        "weighed", role, (item.id,), line, fact, (spoken(item),), weight, plain=finding.polarity == "neutral"
    )  # fmt: skip


def _quoting(kind: Kind, role: Role, item: Evidence, said: str, text: str) -> Point:
    """A point that quotes what a tool said, under the words `said`."""
    fact = brief(text)
    return Point(kind, role, (item.id,), f"[{item.id}] {said}: {quoted(fact)}", fact, (spoken(item),))


def _naming(kind: Kind, items: Sequence[Evidence], said: str) -> Point:
    """A point about several tools, of which the same is said."""
    names = tuple(dict.fromkeys(spoken(item) for item in items))
    ids = tuple(item.id for item in items)
    return Point(kind, "limits", ids, f"[{', '.join(ids)}] {said}", names=names)


def _rule(number: int) -> Point:
    fact = HOUSE_RULES[number]
    return Point("rule", "limits", (VERDICT,), f"[{VERDICT}] rule: {quoted(fact)}", fact)


def _conflicts(verdict: Verdict, evidence: Sequence[Evidence]) -> Iterator[Point]:
    there = {item.id for item in evidence}
    for conflict in verdict.conflicts[:1]:
        ids = [name for name in conflict.evidence_ids if name in there]
        fact = brief(conflict.text)
        line = f"[{VERDICT}] conflict: {quoted(fact)}"
        yield Point("conflict", "against", (*ids[:_MOST_NAMED], VERDICT), line, fact)


def _limits(
    verdict: Verdict, told: Sequence[tuple[Evidence, Contribution | None, Finding | None]]
) -> tuple[Point, ...]:
    out = []
    plain = [item for item, weight, _ in told if weight is None and item.score is not None and item.target != "context"]
    quiet = [item for item in plain if all(each.polarity == "neutral" for each in item.findings)][:_MOST_NAMED]
    if quiet:
        out.append(_naming("unweighed", quiet, "no weight"))
    silent = [item for item, _, _ in told if item.abstained_because is not None and item.target != "context"]
    out += [
        _quoting("silent", "limits", item, "no judgement", item.abstained_because or "")
        for item in sorted(silent, key=lambda item: item.id)[:1]
    ]
    for text in verdict.not_examined[:1]:
        fact = brief(text)
        out.append(Point("missing", "limits", (VERDICT,), f"[{VERDICT}] not examined: {quoted(fact)}", fact))
    return tuple(out)


def _places(told: Sequence[tuple[Evidence, Contribution | None, Finding | None]]) -> tuple[Point, ...]:
    out = []
    for item, _, _ in told:
        marked = [
            (each.region, each)
            for each in item.findings
            if each.region is not None and not each.region.covers_most and each.polarity != "neutral"
        ]
        for region, finding in marked[:1]:
            out.append(_quoting("place", "reason", item, f"at the {region.place}", finding.text))
    return tuple(out[:_MOST_NAMED])


def _tools(evidence: Sequence[Evidence]) -> tuple[Point, ...]:
    judged = [item for item in evidence if item.abstained_because is None][:8]
    silent = [item for item in evidence if item.abstained_because is not None and item.detector != "stability"][:8]
    points = []
    if judged:
        points.append(_naming("reported", judged, "reported"))
    if silent:
        points.append(_naming("mute", silent, "no judgement"))
    return tuple(points) or (_rule(5),)

# ruff: noqa: E501 - wordings are read best on one line
"""The sentence in which a point of a case is well told: the replies that the narrator is trained on.

The wording follows what the request shows (`agent.outline.Point`): what it begins with, the side and the size of a
weight, the label of a verdict. So a model can learn when to say what, the same point is told in the same words, and
other points in others. Every sentence goes through `agent.grounding`; where no wording of a point passes, it is not
taught.
"""

from __future__ import annotations

from agent.grounding import objection
from agent.outline import Point, asked_of, explanation, reply
from agent.prompt import shown
from agent.verdict import Sentence
from agent.wording import likelihood_words
from finetune.cases import Case

_ANSWERS: dict[str, dict[str, tuple[str, ...]]] = {
    "lean": {
        "the probability": (
            "The probability that the picture was {asked} is {p} ({low} to {high}), which is {words}.",
            "With a probability of {p} it is {words} that the picture was {asked}; the 90 % interval is {low} to {high}.",
        ),
        "how likely it is": (
            "It is {words} that the picture was {asked}: the probability is {p} ({low} to {high}), from a prior of {prior}.",
            "It is {words} that the picture was {asked}, with a probability of {p} and a 90 % interval of {low} to {high}.",
        ),
        "the question": (
            "That the picture was {asked} is {words}: the probability is {p}, with a 90 % interval of {low} to {high}.",
            "That the picture was {asked} has a probability of {p} ({low} to {high}), from a prior of {prior}: it is {words}.",
        ),
    },
    "inconclusive": {
        "the probability": (
            "With a probability of {p} ({low} to {high}) it remains open whether the picture was {asked}.",
            "The probability of {p} does not settle whether the picture was {asked}; the 90 % interval is {low} to {high}.",
        ),
        "how likely it is": (
            "It cannot be told whether the picture was {asked}: the probability is {p}, with a 90 % interval of {low} to {high}.",
            "It remains open whether the picture was {asked}; the probability is {p}, {words}.",
        ),
        "the question": (
            "Whether the picture was {asked} remains open: the probability is {p} ({low} to {high}).",
            "Whether the picture was {asked} cannot be told from the evidence; the probability is {p}, {words}.",
        ),
    },
    "prior": {
        "": ("Whether the picture was {asked} remains open: nothing here has weight, and the probability is the prior, {p}.",
             "The evidence does not settle whether the picture was {asked}: nothing here has weight, and the probability is the prior, {p}."),
    },
    "no_evidence": {
        "the probability": (
            "The probability that the picture was generated is {p} ({low} to {high}), and no evidence of weight for it was found.",
        ),
        "how likely it is": (
            "No evidence of weight was found that the picture was generated: the probability is {p} ({low} to {high}).",
        ),
        "the question": (
            "No evidence of weight was found that the picture was generated, and its probability is {p}, {words}.",
        ),
    },
    "laundered": {
        "": ("The evidence fits a picture that passed through a generative model after it was taken: the probability that it was generated is {p}.",),
    },
    "authentic": {
        "": ("A signer on the trust list states that a camera captured the picture, and this signature decides the verdict.",),
    },
    "signed": {
        "": ("A signer on the trust list states that the picture was {asked}, and this signature decides the verdict.",),
    },
}  # fmt: skip
_FOR: dict[str, tuple[str, ...]] = {
    "the tool": (
        "{Tool} speaks slightly for {asked}, by {db} decibans: {fact}.",
        "{Tool} adds {db} decibans for {asked}: {fact}.",
        "{Tool} raises the odds that the picture was {was} by {db} decibans: {fact}.",
        "{Tool} speaks for {asked} with {db} decibans: {fact}.",
    ),
    "the weight": (
        "By only {db} decibans {tool} speaks for {asked}: {fact}.",
        "By {db} decibans {tool} speaks for {asked}: {fact}.",
        "With {db} decibans {tool} supports {asked}: {fact}.",
        "With as much as {db} decibans {tool} speaks for {asked}: {fact}.",
    ),
    "the odds": (
        "The odds of {asked} rise a little, by {db} decibans, through {tool}: {fact}.",
        "The odds that the picture was {was} rise by {db} decibans through {tool}: {fact}.",
        "The odds that the picture was {was} are raised by {db} decibans by what {tool} reports: {fact}.",
        "The odds of {asked} rise by {db} decibans because of {tool}: {fact}.",
    ),
    "the side": (
        "Slightly in favour of {asked}, by {db} decibans, {tool} reports: {fact}.",
        "In favour of {asked}, by {db} decibans, {tool} reports: {fact}.",
        "For {asked} speaks {tool}, with {db} decibans: {fact}.",
        "Towards {asked} points {tool}, with {db} decibans: {fact}.",
    ),
    "the finding": (
        "{Fact}, and {tool} adds only {db} decibans for {asked}.",
        "{Fact}, and {tool} adds {db} decibans for {asked}.",
        "{Fact}, and by this {tool} raises the odds of {asked} by {db} decibans.",
        "{Fact}, and this gives {db} decibans for {asked} by {tool}.",
    ),
}  # fmt: skip
"""By what the sentence begins with, and by the band of decibans."""
_AGAINST: dict[str, tuple[str, ...]] = {
    "the tool": (
        "{Tool} speaks slightly against {asked}, by {db} decibans: {fact}.",
        "{Tool} lowers the odds of {asked} by {db} decibans: {fact}.",
        "{Tool} lowers the odds that the picture was {was} by {db} decibans: {fact}.",
        "{Tool} speaks against {asked} with {db} decibans: {fact}.",
    ),
    "the weight": (
        "By only {db} decibans {tool} speaks against {asked}: {fact}.",
        "By {db} decibans {tool} speaks against {asked}: {fact}.",
        "With {db} decibans {tool} weighs against {asked}: {fact}.",
        "With as much as {db} decibans {tool} speaks against {asked}: {fact}.",
    ),
    "the odds": (
        "The odds of {asked} are slightly lowered by {db} decibans through {tool}: {fact}.",
        "The odds that the picture was {was} are lowered by {db} decibans through {tool}: {fact}.",
        "The odds that the picture was {was} are reduced by {db} decibans by what {tool} reports: {fact}.",
        "The odds of {asked} are lowered by {db} decibans because of {tool}: {fact}.",
    ),
    "the side": (
        "Slightly against {asked}, by {db} decibans, {tool} reports: {fact}.",
        "Against {asked}, by {db} decibans, {tool} reports: {fact}.",
        "Against {asked} speaks {tool}, with {db} decibans: {fact}.",
        "Away from {asked} points {tool}, with {db} decibans: {fact}.",
    ),
    "the finding": (
        "{Fact}, and {tool} lowers the odds of {asked} by only {db} decibans.",
        "{Fact}, and {tool} speaks against {asked} with {db} decibans.",
        "{Fact}, and by this {tool} lowers the odds of {asked} by {db} decibans.",
        "{Fact}, and this gives {db} decibans against {asked} by {tool}.",
    ),
}  # fmt: skip
_BANDS = (1.5, 4.0, 8.0)
_REST: dict[str, dict[str, tuple[str, ...]]] = {
    "states": {
        "the tool": ("{Tool} reports: {fact}.",),
        "the source": ("By {tool}: {fact}.",),
    },
    "sign": {
        "the tool": ("{Tool} carries no weight in the verdict, and reports: {fact}.",),
        "the weight": ("Without weight in the verdict, {tool} reports: {fact}.",),
    },
    "silent": {
        "the tool": ("{Tool} gave no judgement: {fact}.",),
        "the judgement": ("No judgement came from {tool}, which gave no score: {fact}.",),
    },
    "conflict": {
        "the disagreement": ("Tools disagree: {fact}.",),
        "the evidence": ("The evidence disagrees: {fact}.",),
    },
    "unweighed": {
        "the tools": ("{Tools} no weight in the verdict.",),
        "the weight": ("No weight in the verdict is carried by {tools}.",),
    },
    "missing": {
        "what is missing": ("Not examined: {fact}.",),
        "the examination": ("The examination did not include: {fact}.",),
    },
    "place": {
        "the tool": ("{Tool} marks a place at the {place}: {fact}.",),
        "the place": ("At the {place} {tool} marks a place: {fact}.",),
    },
    "no place": {"": ("No tool marked a place in this picture.",)},
    "grade": {"": ("Confidence in this verdict is graded “{raw}”.",)},
    "reported": {"": ("These tools reported on the picture: {names}.",)},
    "mute": {"": ("These tools gave no judgement: {names}.",)},
    "rule": {"": ("{Raw}.",)},
}  # fmt: skip
_SMALL = frozenset({"A", "An", "The", "No", "Of", "In", "To", "On", "Parts", "Detail", "All", "What", "Nothing"})


def told(case: Case, point: Point) -> str | None:
    """The sentence for a point; None where no wording of it is grounded."""
    for wording in _wordings(case, point):
        text = wording.format(**_slots(case, point))
        if objection(sentence(point, text), case.verdict, case.contributions, case.evidence) is None:
            return text
    return None


def sentence(point: Point, text: str) -> Sentence:
    """`text` as the sentence of a point."""
    return Sentence(text=text, cites=point.cites, role=point.role)


def explained(case: Case) -> list[tuple[Point, str]]:
    """The points of an explanation with their sentences, as far as they can be taught."""
    points = explanation(case.verdict, case.evidence, case.contributions)
    return [(point, text) for point in points if (text := told(case, point)) is not None]


def replied(case: Case, question: str) -> list[tuple[Point, str]]:
    """The points of the answer to a question with their sentences, as far as they can be taught."""
    points = reply(case.verdict, case.evidence, case.contributions, question)
    return [(point, text) for point in points if (text := told(case, point)) is not None]


def _wordings(case: Case, point: Point) -> tuple[str, ...]:
    """Those that the point allows, the one that is meant for it first."""
    if point.kind == "answer":
        kind = _kind_of_answer(case)
        ways = _ANSWERS[kind].get(point.manner) or _ANSWERS[kind][""]
        turn = len(likelihood_words(asked_of(case.verdict)[1])) % len(ways)  # what a model can read off the line
        return (*ways[turn:], *ways[:turn])
    if point.weight is not None:
        ways = (_FOR if point.weight.llr > 0 else _AGAINST)[point.manner]
        band = sum(abs(point.weight.decibans) >= limit for limit in _BANDS)
        return (ways[band], ways[1])
    return _REST[point.kind].get(point.manner) or _REST[point.kind][""]


def _kind_of_answer(case: Case) -> str:
    verdict = case.verdict
    if verdict.decided_by == "provenance":
        return "authentic" if verdict.label == "authentic" else "signed"
    if verdict.label == "inconclusive":
        return "prior" if asked_of(verdict)[2] == (0.0, 1.0) else "inconclusive"
    return verdict.label if verdict.label in _ANSWERS else "lean"


def _slots(case: Case, point: Point) -> dict[str, str]:
    asked, p, (low, high) = asked_of(case.verdict)
    slots = {
        "p": shown(p), "low": shown(low), "high": shown(high), "prior": f"{case.verdict.prior:g}", "asked": asked,
        "words": likelihood_words(p), "raw": point.fact, "names": _listed(point.names), "was": asked,
        "Raw": point.fact[:1].upper() + point.fact[1:], "fact": _low(point.fact),
        "Fact": point.fact[:1].upper() + point.fact[1:],
    }  # fmt: skip
    if point.names:
        tool = f"the {point.names[0]} tool"
        slots |= {"tool": tool, "Tool": _high(tool)}
        many = len(point.names) > 1
        tools = f"the {_listed(point.names)} tool{'s' if many else ''}"
        slots |= {"tools": tools, "Tools": f"{_high(tools)} {'carry' if many else 'carries'}"}
    if point.weight is not None:
        target = point.weight.target
        slots |= {
            "db": f"{abs(point.weight.decibans):.1f}", "was": target,
            "asked": "a generated picture" if target == "generated" else "an edit",
        }  # fmt: skip
    if point.kind == "place":
        slots["place"] = point.line.partition("] at the ")[2].partition(":")[0]
    return slots


def _listed(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)


def _high(text: str) -> str:
    return text[0].upper() + text[1:]


def _low(text: str) -> str:
    """`text` as it goes on after a colon: its first letter small where it is capital for opening a sentence alone."""
    return text[0].lower() + text[1:] if text[:1] and (text.split()[0] in _SMALL or text[1:2] == " ") else text

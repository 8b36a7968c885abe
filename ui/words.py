"""The plain words in which every face says the same thing: verdict, probability, weight of evidence."""

from __future__ import annotations

from typing import Final, Literal

from agent.verdict import Confidence, Contribution, Interval, Label, Report, Verdict, Writer
from tools.contract import Evidence, Region

LABELS: Final[dict[Label, str]] = {
    "generated": "Generated",
    "edited": "Altered in part",
    "laundered": "Passed through a generative model",
    "no_evidence": "No evidence found",
    "authentic": "Signed by a camera",
    "inconclusive": "Inconclusive",
}
"""Labels as a person reads them. None of them says that a picture is real: absence of signs is no proof."""

REVIEWS: Final[dict[Literal["asked", "confirm", "override"] | None, str]] = {
    None: "", "asked": "asked for", "confirm": "confirmed", "override": "overridden",
}  # fmt: skip
"""Whether a person has looked, for the history."""

EXIT_CODES: Final[dict[Label, int]] = {
    "generated": 10,
    "edited": 11,
    "laundered": 12,
    "no_evidence": 13,
    "authentic": 14,
    "inconclusive": 15,
}
"""Exit codes by verdict. None is 0, so that no script takes a verdict for a clean bill."""

_SURE: Final[dict[Confidence, str]] = {
    "none": "Some signs suggest that this picture was",
    "low": "Some signs suggest that this picture was",
    "moderate": "This picture was probably",
    "high": "This picture was very probably",
}
_MADE: Final[dict[Label, str]] = {
    "generated": "made by a generative model",
    "edited": "altered in part",
    "laundered": "passed through a generative model, starting from another picture",
}
_CONFIDENCE: Final[dict[Confidence, str]] = {
    "none": "none (do not lean on this answer)",
    "low": "low (treat this answer as a hint)",
    "moderate": "moderate (check it against other sources)",
    "high": "high",
}


def headline(verdict: Verdict) -> str:
    """The verdict in one sentence (two where the first could be misread)."""
    if verdict.label in _MADE:
        made = _MADE[verdict.label]
        if verdict.decided_by == "provenance":
            return f"A signature that is on the trust list says that this picture was {made}."
        return f"{_SURE[verdict.confidence]} {made}."
    if verdict.label == "authentic":
        return (
            "A signature that is on the trust list says that a camera took this picture. "
            "This is the signer's claim, and Exposit repeats it."
        )
    if verdict.label == "no_evidence":
        return (
            "No evidence was found that this picture was generated or altered. "
            "That is not proof that it is an untouched photograph."
        )
    return "The evidence does not settle whether this picture was generated or altered."


def in_hundred(p: float) -> str:
    """A probability as a count out of 100, never 0 and never 100: `83`, `less than 1`, `more than 99`."""
    if p < 0.01:
        return "less than 1"
    if p > 0.99:
        return "more than 99"
    return str(round(p * 100))


def chance(p: float) -> str:
    """A probability in words: `about 83 in 100`."""
    words = in_hundred(p)
    return f"{words} in 100" if " " in words else f"about {words} in 100"


def interval(bounds: Interval) -> str:
    """A 90 % interval in words: `90 % interval: 70 to 91 in 100`."""
    low, high = (in_hundred(bound) for bound in bounds)
    return f"90 % interval: {low} in 100" if low == high else f"90 % interval: {low} to {high} in 100"


def probabilities(verdict: Verdict) -> list[str]:
    """The probabilities, each with its interval, and the prior that they start from."""
    lines = [f"Made by a generative model: {chance(verdict.p_generated)} ({interval(verdict.interval)})."]
    if verdict.p_edited is None:
        lines.append("Altered in part: not examined.")
    else:
        bounds = f" ({interval(verdict.interval_edited)})" if verdict.interval_edited else ""
        lines.append(f"Altered in part: {chance(verdict.p_edited)}{bounds}.")
    return [*lines, prior(verdict)]


def prior(verdict: Verdict) -> str:
    """What was assumed before the picture was looked at."""
    return f"Before the picture was looked at, {chance(verdict.prior)} was assumed (the prior)."


def confidence(verdict: Verdict) -> str:
    """How far a reader may lean on the verdict."""
    return f"Confidence: {_CONFIDENCE[verdict.confidence]}."


def beside(report: Report) -> list[str]:
    """What second looks made of the verdict, and earlier cases of the same picture; nothing that was weighed."""
    steady = report.stability
    lines = [steady.because if steady.judged else f"Second looks: {steady.because}"] if steady is not None else []
    for one in report.similar:
        how = "the very same file" if one.same_file else f"nearly the same picture ({one.distance} of 256 bits differ)"
        called = f"called {LABELS[one.label].lower()}" if one.label else "without a verdict"
        lines.append(f"Seen before: {how}, in case {one.case_id} of {one.created_at:%Y-%m-%d}, {called}.")
    if report.unrecorded:
        lines.append(report.unrecorded)
    if report.similar_because:
        lines.append(f"Earlier cases were not looked through: {report.similar_because}")
    return lines


def title(name: str) -> str:
    """A detector's name as a person reads it: `error_level` becomes `Error level`."""
    return name.replace("_", " ").strip().capitalize()


def place(region: Region) -> str:
    """Where a region lies: `top left`, `centre`, `most of the picture`."""
    return "most of the picture" if region.covers_most else region.place


def weight(contribution: Contribution) -> str:
    """What one piece of evidence adds, in words: `+6.2 dB for generated: multiplies the odds by 4.2`."""
    decibans = contribution.decibans
    about = {"generated": "generated", "edited": "altered"}[contribution.target]
    if abs(decibans) < 0.05:
        because = f": {contribution.because}" if contribution.because else ""
        return f"{'next to no' if decibans else 'no'} weight for {about}{because}"
    ratio = 10 ** (abs(decibans) / 10)
    times = f"{ratio:.1f}" if ratio < 10 else f"{ratio:,.0f}"
    if decibans > 0:
        return f"{decibans:+.1f} dB for {about}: multiplies the odds by {times}"
    return f"{decibans:+.1f} dB against {about}: divides the odds by {times}"


def weights(report: Report, evidence: Evidence) -> list[str]:
    """What `evidence` adds to each question, or why it adds nothing."""
    if evidence.target == "context":
        return ["no weight: describes the file"]
    if evidence.abstained_because is not None:
        return ["no weight: abstained"]
    return [weight(entry) for entry in report.contributions if entry.evidence_id == evidence.id] or ["no weight"]


def saw(evidence: Evidence) -> list[str]:
    """What a tool says, sentence by sentence: its findings, or why it abstained."""
    lines = [finding.text for finding in evidence.findings]
    if evidence.abstained_because is not None and evidence.target != "context":
        lines.insert(0, f"Abstained: {evidence.abstained_because}")
    return lines or [evidence.abstained_because or "Nothing to report."]


def wrote(writer: Writer) -> str:
    """Who wrote the explanation."""
    if writer.kind == "template":
        who = "The explanation was put together by a fixed template, without a language model"
    else:
        who = f"The explanation was written by the language model {writer.model or 'without a name'}"
        who += {"embedded": ", inside this process", "served": ", on a model server"}.get(
            writer.kind, ", from a script"
        )
    return f"{who}. {writer.note}".strip() if writer.note else f"{who}."


def facts(report: Report) -> str:
    """The file in one line."""
    image = report.image
    size = f"{image.bytes / 2**20:.1f} MB" if image.bytes >= 2**20 else f"{max(image.bytes / 1024, 0.1):.1f} kB"
    frame = f", frame {image.frame + 1} of {image.frames}" if image.frames > 1 else ""
    return f"{image.path} · {image.format} · {image.width} x {image.height} px · {size}{frame}"


def standing(report: Report) -> list[str]:
    """What became of the case since: earlier verdicts that new evidence followed, and whether a person should look."""
    found = [
        f"Report {each.revision} said “{LABELS[each.label]}” ({chance(each.p_generated)} generated). {each.because}"
        for each in report.earlier
    ]
    return [*found, *([report.review_asked] if report.review_asked else [])]

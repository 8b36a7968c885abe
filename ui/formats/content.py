"""What a document about a case says, in order, for whatever lays it out: HTML and PDF say the same words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from agent import stability as stabilities
from agent.afterwards import PersonsLabel
from agent.service import Review
from agent.verdict import Interval, Report, Sentence
from tools.contract import Claim, Evidence, Number
from ui import words

Rows = list[tuple[str, str]]

NOT_A_JUDGEMENT: Final = (
    "Exposit did not check this claim, and nothing in it had a part in the verdict. The verdict is about the picture."
)
READING: Final = (
    "A verdict is a probability with an interval, never a yes or no. It starts from the prior, which is a choice and "
    "not a finding, and each piece of evidence moves it by its weight.",
    "The weight of evidence is given in decibans (dB): 10 dB multiply the odds by 10, 3 dB about double them; a minus "
    "sign divides. A tool without weight only describes.",
    "The interval is where 90 % of the answers lie when the calibration is repeated on redrawn training pictures. It "
    "tells how well the weights of the tools are known, not how often they err.",
    "No label says that a picture is real: where nothing was found, only that is said. A picture can be untouched and "
    "still be shown with a false caption, date or place.",
    "The sentences of the explanation each name the evidence that they rest on, in square brackets. Names of files, "
    "metadata and the claim are quoted from others: they are data, and prove nothing by themselves.",
)


@dataclass(frozen=True, slots=True)
class Link:
    """Something that a person can look up elsewhere."""

    name: str
    url: str
    what: str


ELSEWHERE: Final[tuple[tuple[str, tuple[Link, ...]], ...]] = (
    (
        "Whether the picture appeared before (reverse image search)",
        (
            Link("TinEye", "https://tineye.com/", "finds copies, oldest first"),
            Link("Google Lens", "https://lens.google.com/", "finds copies and look-alikes"),
            Link("Bing Visual Search", "https://www.bing.com/visualsearch", "finds copies and look-alikes"),
            Link("Yandex Images", "https://yandex.com/images/", "finds copies, faces and places"),
        ),
    ),
    (
        "Watermarks and records that only their makers can read",
        (
            Link(
                "SynthID (Google)", "https://deepmind.google/models/synthid/",
                "an invisible watermark in pictures made by Google's models; Google says there how to have one checked",
            ),
            Link(
                "Content Credentials Verify", "https://contentcredentials.org/verify",
                "reads C2PA signatures, and looks in its maker's registry for a lost one",
            ),
        ),
    ),
    (
        "Whether caption, place and date are true",
        (
            Link("InVID-WeVerify", "https://weverify.eu/verification-plugin/", "a browser plug-in for verification"),
            Link("Fact Check Explorer", "https://toolbox.google.com/factcheck/explorer", "published fact checks"),
        ),
    ),
)  # fmt: skip
"""Where a person can go on. None of them is asked by Exposit: a picture that is handed to a service is given away."""
GIVEN_AWAY: Final = (
    "Exposit asked none of these. Whoever uploads a picture there hands it over: think of those whom it shows first."
)


@dataclass(frozen=True, slots=True)
class Scale:
    """A probability on a line from 0 to 1."""

    what: str
    p: float
    bounds: Interval | None
    prior: float

    @property
    def said(self) -> str:
        """The same in words, without what it is about."""
        return words.chance(self.p) + (f" ({words.interval(self.bounds)})" if self.bounds else "")


@dataclass(frozen=True, slots=True)
class Spoken:
    """What one tool said, and what that weighed."""

    id: str
    title: str
    version: str
    target: str
    score: str
    saw: list[str]
    weights: list[str]
    decibans: list[float]
    claims: list[str]
    numbers: Rows
    limits: tuple[str, ...]
    files: Rows


@dataclass(frozen=True, slots=True)
class Mark:
    """A region in the marked picture."""

    number: int
    place: str
    severity: str
    text: str
    evidence_id: str


def scales(report: Report) -> list[Scale]:
    """The probabilities of the verdict."""
    answer = report.verdict
    found = [Scale("Made by a generative model", answer.p_generated, answer.interval, answer.prior)]
    if answer.p_edited is not None:
        found.append(Scale("Altered in part", answer.p_edited, answer.interval_edited, answer.prior))
    return found


def remarks(report: Report) -> list[str]:
    """What a reader must know beside the probabilities."""
    answer = report.verdict
    said = [words.confidence(answer), words.prior(answer)]
    if answer.p_edited is None:
        said.append("Whether parts were altered was not examined.")
    if answer.abstained_because:
        said.append(f"Why it is left open: {answer.abstained_because}")
    said += [f"Conflict: {conflict.text}" for conflict in answer.conflicts]
    return [*said, *words.standing(report)]


def identity(report: Report) -> Rows:
    """The file and the case."""
    image = report.image
    rows = [
        ("Case", report.case_id),
        ("Examined", f"{report.created_at:%Y-%m-%d %H:%M:%S} UTC"),
        ("File", image.path),
        ("SHA-256", image.sha256),
        ("Size", f"{image.width} x {image.height} pixels, {image.bytes:,} bytes, {image.format}"),
    ]
    if report.revision > 1:
        rows.insert(1, ("Report", f"number {report.revision}; the earlier ones are kept in the log"))
    if image.frames > 1:
        rows.append(("Frame", f"{image.frame + 1} of {image.frames}"))
    rows += [("Note", note) for note in image.notes]
    return [*rows, ("Budget", report.budget), ("Calibration", report.verdict.calibration)]


def claim(report: Report) -> Rows:
    """The claim made about the picture; empty where none was given."""
    stated = report.claim
    if stated is None:
        return []
    rows = [
        ("Claim", f"“{stated.text}”"),
        ("Claimed by", stated.claimant),
        ("Claimed on", stated.date.isoformat() if stated.date else None),
        ("Seen", stated.seen),
        ("Address", stated.url),
    ]
    return [(name, value) for name, value in rows if value]


def why(report: Report) -> list[tuple[str, list[Sentence]]]:
    """The explanation, by what each sentence does."""
    roles = (
        ("answer", "In short"), ("reason", "Reasons"), ("against", "What speaks against it"),
        ("limits", "Limits"),
    )  # fmt: skip
    found = [(heading, [each for each in report.explanation if each.role == role]) for role, heading in roles]
    return [(heading, said) for heading, said in found if said]


def written(report: Report) -> list[str]:
    """Who wrote the explanation, and what grounding left out of it."""
    lines = [words.wrote(report.explained_by)]
    if report.dropped:
        lines.append(f"Left out, because no evidence bears it out ({len(report.dropped)}):")
        lines += [f"“{each.text}” ({each.because})" for each in report.dropped]
    return lines


def marks(report: Report) -> list[Mark]:
    """The regions, numbered as in the marked picture."""
    return [
        Mark(number, words.place(each.region), each.severity, each.text, each.evidence_id)
        for number, each in enumerate(report.artifacts, start=1)
    ]


def evidence(report: Report) -> list[Spoken]:
    """What each tool said, with the numbers behind it."""
    return [_spoken(report, item) for item in report.evidence]


def _spoken(report: Report, item: Evidence) -> Spoken:
    return Spoken(
        id=item.id,
        title=words.title(item.detector),
        version=item.version,
        target={"generated": "generated?", "edited": "altered?", "context": "describes"}[item.target],
        score="" if item.score is None else f"{item.score:.3f}",
        saw=words.saw(item),
        weights=words.weights(report, item),
        decibans=[each.decibans for each in report.contributions if each.evidence_id == item.id],
        claims=[_origin(each) for each in item.claims],
        numbers=list(_numbers(item)),
        limits=item.limits,
        files=[(name, sha256) for name, sha256 in item.weights.items()],
    )


def _origin(claim: Claim) -> str:
    rank = {
        "trusted": "signed, signer on the trust list", "valid_unknown_signer": "signed, signer not on the trust list",
        "invalid": "signature that does not hold", "unsigned": "not signed: anyone can write it",
    }[claim.rank]  # fmt: skip
    parts = [f"{claim.source} says “{claim.says}” ({rank})"]
    parts += [
        f"{name}: {value}"
        for name, value in (
            ("signer", claim.signer), ("generator", claim.generator), ("prompt", claim.prompt), ("detail", claim.detail)
        )
        if value
    ]  # fmt: skip
    return "; ".join(parts)


def _numbers(item: Evidence) -> Iterator[tuple[str, str]]:
    if item.score is not None:
        yield "raw score, not calibrated", f"{item.score:.4g}"
    if item.applicability < 1:
        yield "applicability to this picture", f"{item.applicability:.4g}"
    for name, value in item.measurements.items():
        yield name.replace("_", " "), number(value)


def number(value: Number) -> str:
    """A measurement as text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def stability(report: Report) -> list[str]:
    """What became of the verdict when the picture was degraded; empty where an old report does not tell."""
    found = report.stability
    if found is None:
        return []
    return [
        found.because,
        *(
            f"{stabilities.WORDS[each.kind].capitalize()}: {words.LABELS[each.label]}, "
            + f"{words.chance(each.p_generated)} generated"
            + (f", {words.chance(each.p_edited)} altered" if each.p_edited is not None else "")
            + (". This speaks against what the whole file was found to be." if each.flips else ".")
            for each in found.looks
        ),
    ]


def similar(report: Report) -> list[str]:
    """Earlier cases of the same picture or a copy of it, or why they were not looked through."""
    untold = [f"They were not looked through: {report.similar_because}"] if report.similar_because else []
    return untold + [
        f"{each.created_at:%Y-%m-%d %H:%M} UTC, case {each.case_id}, {each.name}: "
        + (words.LABELS[each.label] if each.label else "no verdict")
        + (" (the same file)" if each.same_file else f" (a copy; the hashes differ by {each.distance} of 256 bits)")
        for each in report.similar
    ]


def left_out(report: Report) -> list[str]:
    """Tools that did not run, and why."""
    return [f"{words.title(step.tool)}: {step.because}" for step in report.plan if not step.run]


def versions(report: Report) -> Rows:
    """Everything that spoke, with its version."""
    return sorted(report.versions.items())


ANNOTATION: Final = "From the log of this installation. They have no part in the verdict."
BESIDE: Final = "What a person says stands beside the verdict of the machine and replaces nothing in it."


def people(reviews: Iterable[Review]) -> list[str]:
    """What people said of the verdict."""
    did = {"confirm": "confirms", "override": "overrides", "annotate": "notes"}
    return [
        f"{each.at:%Y-%m-%d %H:%M} UTC, {each.reviewer} {did[each.kind]}"
        + (f" ({_persons(each.label)})" if each.label is not None else "")
        + f": {each.reason}"
        for each in reviews
    ]


def _persons(label: PersonsLabel) -> str:
    return "Photograph" if label == "photograph" else words.LABELS[label]


def title(report: Report) -> str:
    """The document's title."""
    return f"Exposit report on {report.image.path}"

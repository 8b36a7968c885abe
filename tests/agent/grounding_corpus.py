# ruff: noqa: E501 - a wording is read best on one line
"""Wordings, true and false, for the test of grounding, written by hand and apart from `agent.template`.

A `World` is one examined picture: evidence, contributions and verdict, made from a seed, with `Fact`s that are true of
it. `TRUE` holds wordings of each kind of fact; the wordings at odd places are held out: the rules of `agent.grounding`
were tuned on the even ones only. False sentences are true wordings with one thing changed, and overclaims.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from agent.verdict import Contribution, Sentence, Verdict
from tools.contract import Claim, Evidence, Finding, Region

CELLS = {
    "top left": (0.05, 0.05), "top": (0.4, 0.05), "top right": (0.75, 0.05),
    "left": (0.05, 0.4), "centre": (0.4, 0.4), "right": (0.75, 0.4),
    "bottom left": (0.05, 0.75), "bottom": (0.4, 0.75), "bottom right": (0.75, 0.75),
}  # fmt: skip
OPPOSITE = {
    "top left": ["bottom right", "bottom", "right", "centre"], "top": ["bottom", "bottom left", "bottom right"],
    "top right": ["bottom left", "left", "bottom", "centre"], "left": ["right", "top right", "bottom right"],
    "centre": ["top left", "bottom right", "top right", "bottom left"], "right": ["left", "bottom left", "top left"],
    "bottom left": ["top right", "top", "right", "centre"], "bottom": ["top", "top left", "top right"],
    "bottom right": ["top left", "left", "top", "centre"],
}  # fmt: skip
PLACES = {
    "top left": ["top left", "upper-left corner", "upper left", "top-left part of the frame", "upper left-hand corner"],
    "top": ["top", "top edge", "upper middle", "top centre", "upper part"],
    "top right": ["top right", "upper right", "upper right-hand corner", "top-right area", "upper-right part"],
    "left": ["left", "left-hand side", "left side", "middle left", "left edge"],
    "centre": ["centre", "middle", "center of the frame", "middle of the picture", "central part"],
    "right": ["right", "right-hand side", "right side", "middle right", "right edge"],
    "bottom left": ["bottom left", "lower left", "lower-left corner", "bottom-left part", "lower left-hand corner"],
    "bottom": ["bottom", "lower edge", "bottom centre", "lower middle", "lower part"],
    "bottom right": ["bottom right", "lower right corner", "lower right", "bottom-right area", "lower-right part"],
}  # fmt: skip
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]


@dataclass
class Fact:
    """Something true of a world: its kind (key of `TRUE`), the ids it rests on, what fills the wording's slots."""

    kind: str
    cites: tuple[str, ...]
    numbers: dict[str, float] = field(default_factory=dict)
    place: str | None = None
    names: dict[str, str] = field(default_factory=dict)


@dataclass
class World:
    evidence: tuple[Evidence, ...]
    contributions: tuple[Contribution, ...]
    verdict: Verdict
    facts: list[Fact]


# Slots: {x} the number as the tool gives it or rounded; {x:%} a fraction as decimal or percent; {x:n} a whole number
# in digits or words; {place}; {name}.
TRUE: dict[str, list[str]] = {
    "peaks": [
        "The spectrum of the residual shows peaks that repeat every {period:n} pixels.",
        "A repeating pattern with a period of {period:n} px is visible in the spectrum, which points to a generative model.",
        "Periodic peaks were found {period:n} pixels apart, {ratio} times stronger than what surrounds them.",
        "In the frequency domain, peaks rise to {ratio} times their neighbourhood, a trace that upsampling in generative models leaves.",
        "Every {period:n} pixels the noise residual repeats itself, and that speaks for a synthetic origin.",
        "What the frequency tool sees is a lattice of peaks spaced {period:n} px, and such lattices suggest that a model made the picture.",
        "Peaks at a spacing of {period:n} pixels stand {ratio}-fold above the background of the spectrum.",
        "The frequency check is in favour of generation: it sees spectral peaks {ratio} times as high as their surroundings.",
    ],
    "smooth": [
        "No periodic peaks stand out in the spectrum.",
        "The spectrum declines smoothly, without any peak that would hint at upsampling.",
        "The frequency tool did not find periodic peaks.",
        "Nothing periodic was seen in the residual spectrum, which falls off evenly.",
    ],
    "texture": [
        "Flat and textured tiles differ by {contrast}, most of all in the {place}.",
        "The contrast between poor and rich texture is {contrast}, and the {place} stands out.",
        "{tiles:n} of {total:n} tiles look generated, chiefly at the {place}.",
        "Tiles at the {place} carry residuals that suggest a generative model.",
        "In the {place} of the picture, the residual of the tiles is unlike that of a camera.",
        "Of the {total:n} tiles that were scored, {tiles:n} carry residuals typical of generated pictures.",
        "The patch tool finds the strongest signs of generation in the {place}.",
        "By the patch check, the texture contrast comes to {contrast}, which is more common in AI-generated pictures.",
    ],
    "reconstruction": [
        "A small diffusion model rebuilds the picture with an error of {error}.",
        "The picture is reconstructed with an error of {error}, lower than for {share:%} of photographs.",
        "Reconstruction by the diffusion model leaves an error of only {error}, which speaks for a generated picture.",
        "The error of reconstruction is smaller than that of {share:%} of the photographs, and that makes a synthetic origin more plausible.",
        "{share:%} of photographs are reconstructed worse than this picture.",
        "When inverted, the picture comes back with an error of {error}; generated pictures tend to come back this well.",
    ],
    "jpeg": [
        "The file was saved as a JPEG of quality {quality:i}.",
        "JPEG compression at quality {quality:i} was applied to the file.",
        "With a JPEG quality of {quality:i}, fine traces may have been lost.",
        "This is a JPEG, last saved at quality {quality:i}.",
        "The compression check estimates the quality of the last JPEG save at {quality:i}.",
        "At quality {quality:i}, the JPEG compression says nothing about who made the picture.",
    ],
    "splice": [
        "A patch of {share:%} of the picture, at the {place}, has noise that differs from the rest.",
        "The noise in the {place} does not match the remainder of the image, which suggests that this part was altered.",
        "About {share:%} of the area, located in the {place}, may have been edited: its noise differs.",
        "At the {place} the noise level changes, as it does where something was pasted in.",
        "The splice tool marks the {place}, {share:%} of the picture, as possibly manipulated.",
        "Noise unlike that of its surroundings was found in the {place}, a sign of editing.",
    ],
    "workflow": [
        "The file carries a {name} workflow, which is what generated pictures made with that software contain.",
        "A workflow of {name} is stored in the metadata and indicates a generated picture, though metadata can be forged.",
        "Metadata in the PNG names {name}.",
        "According to its unsigned metadata, the picture was generated with {name}.",
        "Inside the PNG text lies a {name} workflow, and this points towards generation.",
        "The metadata say that {name} made the picture; they are not signed.",
    ],
    "camera_claim": [
        "A manifest signed by {name} states that the picture was captured by a camera.",
        "{name}, a signer on the trust list, vouches for a camera capture.",
        "The signature of {name} claims camera capture and is trusted.",
        "According to the C2PA manifest of {name}, the picture was taken with a camera.",
    ],
    "abstained": [
        "The {tool} tool gave no answer, because the picture is smaller than {least:i} pixels.",
        "{tool} abstained: it needs at least {least:i} px.",
        "Nothing can be said from {tool}, since the picture has fewer than {least:i} pixels on a side.",
        "The picture was too small for {tool}, which did not judge it.",
    ],
    "contribution_for": [
        "The {tool} evidence adds {decibans} decibans towards generated.",
        "By itself, {tool} makes generation about {ratio} times as likely as before.",
        "{tool} contributes {decibans} decibans in favour of a generative origin.",
        "The odds that the picture was generated rise {ratio}-fold through {tool}.",
    ],
    "contribution_against": [
        "The {tool} evidence speaks against generation, by {decibans} decibans.",
        "{tool} lowers the odds that the picture was generated.",
        "{decibans} decibans from {tool} count against a generated picture.",
        "What {tool} reports makes generation less likely.",
    ],
    "probability": [
        "From even odds, the evidence leads to a probability of {p:%} that the picture was generated.",
        "The probability that a generative model made the picture is {p:%}, with a 90 % interval from {low:%} to {high:%}.",
        "Given a 50:50 prior, there is a {p:%} chance that the picture was generated.",
        "Generation is given a probability of {p:%} (interval {low:%} to {high:%}).",
        "All evidence together puts the probability of a generated picture at {p:%}.",
        "Between {low:%} and {high:%} lies the 90 % interval of the probability of generation.",
    ],
    "leaning": [
        "It is somewhat more likely than not that the picture was generated.",
        "On balance the evidence leans towards a generated picture, though not far.",
        "The evidence tips slightly in favour of a generative model.",
        "Taken together, the findings make generation somewhat more likely than not.",
    ],
    "likely": [
        "The picture was very likely generated.",
        "Taken together, the evidence makes it likely that a generative model made the picture.",
        "Very likely the picture comes from a generative model.",
        "In all likelihood a generative model produced this picture.",
    ],
    "nothing": [
        "No sign of generation was found, which does not prove that the picture is a photograph.",
        "The tools found nothing that speaks for a generative model, but absence of signs is not proof.",
        "None of the tools saw evidence of generation; that does not make the picture authentic.",
        "No evidence of a generative model turned up, and this is no guarantee that the picture is real.",
    ],
    "open": [
        "The evidence does not settle whether the picture was generated.",
        "Whether a model made this picture cannot be told from what was found.",
        "It remains open whether the picture was generated.",
        "No verdict can be given on whether the picture was generated.",
    ],
    "unexamined": [
        "{name} was not examined.",
        "Nobody looked at {name} in this examination.",
        "What remains unexamined is {name}.",
        "The examination did not cover {name}.",
    ],
}

OVERCLAIMS = [
    "This proves that the picture was generated.",
    "The picture is definitely the work of an AI.",
    "There is no doubt that a generative model made it.",
    "The picture is a real photograph.",
    "The picture is authentic.",
    "It is certainly fake.",
    "The findings are conclusive: the image is synthetic.",
    "This is a genuine, unaltered photograph.",
    "The evidence is overwhelming that AI made the picture.",
    "Beyond question, the picture was made by a model.",
    "The picture was generated.",
    "We can be sure that this photo is real.",
    "This confirms that the image is AI-generated.",
    "It is one hundred percent generated.",
]

POLARITY_SWAPS: dict[str, list[str]] = {
    "peaks": [
        "The peaks {period:n} pixels apart speak for a camera.",
        "Spectral peaks every {period:n} px speak against a generative model.",
        "The spectrum, with peaks {ratio} times above their surroundings, makes generation less likely.",
        "Peaks spaced {period:n} pixels are a sign of a genuine photograph.",
        "The spectral peaks are no sign of generation.",
        "No periodic peaks were found in the spectrum.",
    ],
    "texture": [
        "The residuals of the tiles are those of a camera.",
        "Tiles at the {place} speak against generation.",
        "The texture contrast of {contrast} points to a real photograph.",
        "The patch tool found no signs of generation.",
    ],
    "splice": [
        "The noise in the {place} shows that nothing was edited.",
        "The splice tool found no sign of editing.",
        "Noise at the {place} points to a fully generated picture.",
        "The noise in the {place} speaks against any manipulation.",
    ],
    "workflow": [
        "The {name} workflow speaks against a generated picture.",
        "According to its metadata, the picture was taken with a camera.",
        "The metadata rule out that {name} made the picture.",
        "The {name} workflow makes generation unlikely.",
    ],
    "camera_claim": [
        "The manifest signed by {name} states that the picture was generated by AI.",
        "{name} vouches that a generative model made the picture.",
        "The signature of {name} denies a camera capture.",
        "The C2PA manifest of {name} speaks for a synthetic picture.",
    ],
    "contribution_for": [
        "The {tool} evidence speaks against generation, by {decibans} decibans.",
        "{tool} lowers the odds that the picture was generated.",
        "{tool} contributes {decibans} decibans in favour of a camera.",
        "{tool} makes it less likely that a model made the picture.",
    ],
    "contribution_against": [
        "The {tool} evidence adds {decibans} decibans towards generated.",
        "{tool} raises the odds that the picture was generated.",
        "{tool} supports the view that AI made the picture.",
        "What {tool} reports points to a generative model.",
    ],
    "probability": [
        "There is a {p:%} chance that the picture was not generated.",
        "With a probability of {p:%}, the picture comes from a camera.",
        "The probability that the picture is a photograph is {p:%}.",
        "The probability that the picture was edited is {p:%}.",
    ],
    "abstained": [
        "{tool} found no sign of generation.",
        "{tool} speaks for a generated picture.",
        "The {tool} tool examined the picture and cleared it.",
        "According to {tool} the picture comes from a camera.",
    ],
    "jpeg": [
        "A JPEG quality of {quality:i} speaks for a generated picture.",
        "That the JPEG was saved at quality {quality:i} suggests editing.",
        "The JPEG quality of {quality:i} points to a camera.",
        "Compression at quality {quality:i} makes a generative origin likely.",
    ],
    "nothing": [
        "The evidence points to a generative model.",
        "It is somewhat more likely than not that the picture was generated.",
        "The tools found signs of generation.",
        "The picture was probably made by AI.",
    ],
}


def world(seed: int) -> World:
    """One examined picture, made from `seed`."""
    rng = random.Random(seed)
    evidence: list[Evidence] = []
    contributions: list[Contribution] = []
    facts: list[Fact] = []

    def region(place: str) -> Region:
        x, y = CELLS[place]
        return Region(x0=x, y0=y, x1=round(x + 0.2, 3), y1=round(y + 0.2, 3))

    def add(name: str, target: str, score: float | None, findings: list[Finding], llr: float, **more: object) -> None:
        evidence.append(
            Evidence.model_validate(
                {"id": name, "detector": name, "version": "1", "target": target, "score": score, "findings": findings}
                | more
            )
        )
        if target == "context" or score is None:
            return
        decibans = round(llr * 10 / math.log(10), 2)
        contributions.append(
            Contribution(evidence_id=name, target=target, llr=llr, decibans=decibans, bucket="q75-90")  # type: ignore[arg-type]
        )
        if target == "generated" and llr:
            kind = "contribution_for" if llr > 0 else "contribution_against"
            ratio = round(math.exp(abs(llr)), 1)
            facts.append(Fact(kind, (name,), {"decibans": abs(decibans), "ratio": ratio}, names={"tool": name}))

    lean = rng.choice([-1, 0, 1, 1, 2])
    if rng.random() < 0.8:
        if lean > 0:
            period, ratio = float(rng.choice([2, 4, 8])), round(rng.uniform(3.1, 9.9), 1)
            text = f"The residual spectrum has periodic peaks {period:.0f} pixels apart, {ratio} times above their surroundings."
            found = Finding(
                text=text, polarity="generated", severity="moderate", numbers={"period_px": int(period), "ratio": ratio}
            )
            add("frequency", "generated", round(rng.uniform(0.6, 0.95), 3), [found], round(rng.uniform(0.4, 1.6), 3))
            facts.append(Fact("peaks", ("frequency",), {"period": period, "ratio": ratio}))
        else:
            found = Finding(text="The spectrum falls off smoothly; no periodic peak stands out.")
            add("frequency", "generated", round(rng.uniform(0.1, 0.4), 3), [found], -round(rng.uniform(0.3, 0.9), 3))
            facts.append(Fact("smooth", ("frequency",)))
    if rng.random() < 0.8:
        if lean >= 0:
            place = rng.choice(list(CELLS))
            total = rng.randint(15, 60)
            tiles = rng.randint(3, 12)
            contrast = round(rng.uniform(0.2, 0.9), 2)
            text = (
                f"{tiles} of {total} tiles have residuals typical of generated pictures, most at the {place}; "
                f"contrast between flat and textured tiles {contrast}."
            )
            found = Finding(
                text=text,
                polarity="generated",
                severity="weak",
                region=region(place),
                numbers={"tiles": tiles, "tiles_total": total, "contrast": contrast},
            )
            add("patch", "generated", round(rng.uniform(0.5, 0.9), 3), [found], round(rng.uniform(0.2, 1.2), 3))
            facts.append(Fact("texture", ("patch",), {"tiles": tiles, "total": total, "contrast": contrast}, place))
        else:
            found = Finding(text="Flat and textured tiles carry the same kind of residual.", polarity="camera")
            add("patch", "generated", 0.2, [found], -round(rng.uniform(0.3, 1.2), 3))
    if lean > 0 and rng.random() < 0.7:
        error, share = round(rng.uniform(0.011, 0.09), 3), round(rng.uniform(0.6, 0.94), 2)
        text = f"A small diffusion model reconstructs the picture with an error of {error}, lower than for {share:.0%} of photographs."
        found = Finding(text=text, polarity="generated", severity="weak", numbers={"error": error, "share": share})
        add("inversion", "generated", round(rng.uniform(0.5, 0.9), 3), [found], round(rng.uniform(0.1, 1.0), 3))
        facts.append(Fact("reconstruction", ("inversion",), {"error": error, "share": share}))
    if rng.random() < 0.7:
        quality = rng.randint(40, 98)
        found = Finding(
            text=f"The file was last saved as JPEG at quality {quality}.", numbers={"jpeg_quality": quality}
        )
        add("compression", "context", 0.5, [found], 0.0)
        facts.append(Fact("jpeg", ("compression",), {"quality": quality}))
    if rng.random() < 0.5:
        place, share = rng.choice(list(CELLS)), round(rng.uniform(0.03, 0.3), 2)
        text = f"The noise at the {place}, on {share:.0%} of the picture, differs from the rest."
        found = Finding(text=text, polarity="edited", severity="weak", region=region(place), numbers={"share": share})
        add("splice", "edited", round(rng.uniform(0.5, 0.9), 3), [found], round(rng.uniform(0.2, 1.5), 3))
        facts.append(Fact("splice", ("splice",), {"share": share}, place))
    label, decided = "inconclusive", "fusion"
    kind = rng.random()
    if kind < 0.35 and lean > 0:
        name = rng.choice(["ComfyUI", "InvokeAI", "NovelAI"])
        found = Finding(
            text=f"The PNG text holds a {name} workflow (unsigned).", polarity="generated", severity="strong"
        )
        claim = Claim(source="png_text", says="generated", rank="unsigned", generator=name)
        add("provenance", "generated", 0.95, [found], 2.9, claims=[claim])
        facts.append(Fact("workflow", ("provenance",), names={"name": name}))
    elif kind < 0.7 and lean <= 0:
        name = rng.choice(["Leica", "Nikon", "Truepic"])
        found = Finding(
            text=f"A C2PA manifest signed by {name}, who is on the trust list, says that a camera captured the picture.",
            polarity="camera",
            severity="strong",
        )
        claim = Claim(source="c2pa", says="camera", rank="trusted", signer=name)
        add("provenance", "context", 0.0, [found], 0.0, claims=[claim])
        facts.append(Fact("camera_claim", ("provenance",), names={"name": name}))
        label, decided = "authentic", "provenance"
    if rng.random() < 0.5:
        tool, least = rng.choice(["semantic", "illumination"]), rng.choice([64, 128, 256, 512])
        add(
            tool, "generated", None, [], 0.0, abstained_because=f"The picture is smaller than {least} pixels on a side."
        )
        facts.append(Fact("abstained", (tool,), {"least": least}, names={"tool": tool}))
    llr = sum(item.llr for item in contributions if item.target == "generated")
    p = round(1 / (1 + math.exp(-llr)), 3)
    if decided == "provenance":
        p = 0.02
    elif p >= 0.9:
        label = "generated"
        facts.append(Fact("likely", ("verdict",)))
    elif p <= 0.35:
        label = "no_evidence"
    low, high = round(max(p - 0.13, 0.01), 2), round(min(p + 0.08, 0.99), 2)
    if 0.6 <= p < 0.8:
        facts.append(Fact("leaning", ("verdict",)))
    if label == "inconclusive":
        facts.append(Fact("open", ("verdict",)))
    if label == "no_evidence":
        facts.append(Fact("nothing", ("verdict",)))
    unexamined = rng.choice(["The lighting", "The file's signature", "The meaning of the scene"])
    facts.append(Fact("unexamined", ("verdict",), names={"name": unexamined}))
    facts.append(Fact("probability", ("verdict",), {"p": p, "low": low, "high": high}))
    verdict = Verdict(
        label=label,  # type: ignore[arg-type]
        p_generated=p,
        p_edited=0.31,
        likelihood_ratio={"generated": round(math.exp(llr), 3)},
        prior=0.5,
        interval=(low, high),
        interval_edited=(0.2, 0.44),
        confidence="low" if label == "inconclusive" else "moderate",
        decided_by=decided,  # type: ignore[arg-type]
        abstained_because="The evidence is thin." if label == "inconclusive" else None,
        not_examined=(unexamined,),
        calibration="test",
    )
    return World(tuple(evidence), tuple(contributions), verdict, facts)


def render(wording: str, fact: Fact, rng: random.Random, *, place: str | None = None) -> str:
    """Fills the slots of `wording` from `fact`, each number and place in one of several ways of saying it."""
    out = wording
    for slot, value in fact.numbers.items():
        hedge = rng.choice(["", "", "about ", "roughly "])
        whole = f"{value:g}"
        out = out.replace(f"{{{slot}:i}}", whole)
        spelled = WORDS[int(value)] if value <= 12 and value == int(value) else whole
        out = out.replace(f"{{{slot}:n}}", rng.choice([whole, spelled]))
        percent = f"{value * 100:.0f}" if 0.01 <= value <= 0.99 else f"{value * 100:.1f}"
        ways = [
            f"{value:g}",
            f"{value:.2f}",
            f"{percent} %",
            f"{percent}%",
            f"{percent} percent",
            f"{hedge}{percent} per cent",
        ]
        out = out.replace(f"{{{slot}:%}}", rng.choice(ways))
        rounded = f"{value:.0f}" if value >= 2 else f"{value:.2f}"
        plain = whole if value < 0.1 else rng.choice([whole, whole, f"about {rounded}"])
        if f"{{{slot}}}-fold" in out:
            plain = whole
        out = out.replace(f"{{{slot}}}", plain)
    spot = place or fact.place
    if spot:
        out = out.replace("{place}", rng.choice(PLACES[spot]))
    for slot, name in fact.names.items():
        out = out.replace(f"{{{slot}}}", name)
    return (out[0].upper() + out[1:]).replace("bout about", "bout").replace("bout roughly", "bout")


def _half(items: list[str], held_out: bool) -> list[str]:
    return items[1::2] if held_out else items[0::2]


def true_sentences(worlds: list[World], *, held_out: bool, seed: int) -> Iterator[tuple[World, Sentence]]:
    """Every fact of every world, in one wording of the half that was asked for."""
    rng = random.Random(seed)
    for each in worlds:
        for fact in each.facts:
            wording = rng.choice(_half(TRUE[fact.kind], held_out))
            yield each, Sentence(text=render(wording, fact, rng), cites=fact.cites)


def false_sentences(worlds: list[World], *, held_out: bool, seed: int) -> Iterator[tuple[World, str, Sentence]]:
    """Planted false sentences: (world, what is wrong, sentence)."""
    rng = random.Random(seed)
    for each in worlds:
        for fact in each.facts:
            pool = _half(TRUE[fact.kind], held_out)
            numbered = [w for w in pool if any(f"{{{slot}" in w for slot in fact.numbers)]
            if numbered:
                wording = rng.choice(numbered)
                slots = [slot for slot in fact.numbers if f"{{{slot}" in wording]
                wrong = Fact(fact.kind, fact.cites, {**fact.numbers}, fact.place, fact.names)
                slot = rng.choice(slots)
                wrong.numbers[slot] = _other(fact, each, slot, rng)
                yield each, "number", Sentence(text=render(wording, wrong, rng), cites=fact.cites)
            placed = [w for w in pool if "{place}" in w]
            if fact.place and placed:
                text = render(rng.choice(placed), fact, rng, place=rng.choice(OPPOSITE[fact.place]))
                yield each, "region", Sentence(text=text, cites=fact.cites)
            swaps = _half(POLARITY_SWAPS.get(fact.kind, []), held_out)
            if swaps:
                yield each, "polarity", Sentence(text=render(rng.choice(swaps), fact, rng), cites=fact.cites)
            others = [item.id for item in each.evidence if item.id not in fact.cites]
            own = ("peaks", "texture", "reconstruction", "jpeg", "splice", "workflow", "camera_claim", "abstained")
            if others and fact.kind in own:
                yield each, "tool", Sentence(text=render(rng.choice(pool), fact, rng), cites=(rng.choice(others),))
            if rng.random() < 0.3:
                ghost = rng.choice(["frequency-9", "noise", "expert", "evidence", "ghost"])
                yield each, "id", Sentence(text=render(rng.choice(pool), fact, rng), cites=(ghost,))
        if each.verdict.label not in ("authentic", "generated"):
            known = [item.evidence_id for item in each.contributions]
            cite = rng.choice(["verdict", *known])
            yield each, "overclaim", Sentence(text=rng.choice(_half(OVERCLAIMS, held_out)), cites=(cite,))


def _other(fact: Fact, each: World, slot: str, rng: random.Random) -> float:
    """A value for `slot` that no rounding, nor any other number of the cited evidence, could excuse."""
    value = fact.numbers[slot]
    known = [*fact.numbers.values(), 0.5, 0.9]
    for item in each.evidence:
        if item.id in fact.cites:
            known += [float(v) for f in item.findings for v in f.numbers.values() if isinstance(v, int | float)]
            known += [item.score or 0.0]
    for item in each.contributions:
        if item.evidence_id in fact.cites:
            known += [abs(item.llr), abs(item.decibans), math.exp(abs(item.llr))]
    if "verdict" in fact.cites:
        v = each.verdict
        known += [v.p_generated, 1 - v.p_generated, *v.interval, v.likelihood_ratio["generated"], 0.31, 0.2, 0.44]
    for _ in range(500):
        factor = rng.choice([0.2, 0.3, 0.5, 0.7, 1.4, 1.8, 2.5, 3.0, 4.0, 7.0])
        other = value * factor
        other = float(round(other)) if value == int(value) else round(other, 3 if value < 0.1 else 2)
        if value < 1 and other > 0.99:
            other = round(rng.uniform(0.1, 0.98), 2)
        near = any(
            abs(other - k) <= 0.12 * max(abs(k), abs(other)) + 0.011 * (value < 1)
            or (other >= 1.5 and round(other) == round(k))
            for k in known
        )
        if other > 0 and not near:
            return other
    raise AssertionError(f"no wrong value was found for {slot} = {value}")

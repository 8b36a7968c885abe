# ruff: noqa: E501 - tables of sentences are read best on one line
from __future__ import annotations

from dataclasses import replace

import pytest

from agent.grounding import ground, objection
from agent.numerals import quantities
from agent.verdict import Contribution, Sentence, Verdict
from tests.agent.grounding_corpus import World, false_sentences, true_sentences, world
from tools.contract import Evidence, Finding, Region

WORLDS = [world(seed) for seed in range(1000, 1060)]


def because(made: World, sentence: Sentence) -> str | None:
    return objection(sentence, made.verdict, made.contributions, made.evidence)


@pytest.mark.parametrize("held_out", [False, True], ids=["tuned", "held-out"])
def test_true_paraphrases_stay(held_out: bool) -> None:
    told = list(true_sentences(WORLDS, held_out=held_out, seed=11))
    refused = [sentence.text for made, sentence in told if because(made, sentence) is not None]
    assert len(told) >= 300
    assert 1 - len(refused) / len(told) >= 0.95, refused if not held_out else len(refused)


@pytest.mark.parametrize("held_out", [False, True], ids=["tuned", "held-out"])
def test_planted_false_sentences_are_dropped(held_out: bool) -> None:
    planted = list(false_sentences(WORLDS, held_out=held_out, seed=12))
    by_kind: dict[str, list[bool]] = {}
    for made, kind, sentence in planted:
        by_kind.setdefault(kind, []).append(because(made, sentence) is not None)
    assert len(planted) >= 500
    assert set(by_kind) == {"number", "region", "polarity", "tool", "id", "overclaim"}
    for kind, refused in by_kind.items():
        assert sum(refused) / len(refused) >= 0.95, kind


def test_what_is_dropped_keeps_its_reason_and_the_rest_its_order() -> None:
    made = next(each for each in WORLDS if any(fact.kind == "peaks" for fact in each.facts))
    good = Sentence(text="The spectrum of the residual shows periodic peaks.", cites=("frequency",))
    ghost = Sentence(text="The spectrum shows peaks.", cites=("ghost",))
    bare = Sentence(text="The spectrum shows peaks.", cites=())
    found = ground([good, ghost, bare, good], made.verdict, made.contributions, made.evidence)
    assert found.kept == (good, good)
    assert [item.because for item in found.dropped] == [
        "It cites “ghost”, which is not among the evidence.",
        "It cites no evidence.",
    ]


def case(label: str = "inconclusive", p: float = 0.65) -> World:
    finding = Finding(
        text="The noise at the top left, on 13 % of the picture, differs from the rest.",
        polarity="edited",
        severity="weak",
        region=Region(x0=0, y0=0, x1=0.3, y1=0.3),
        numbers={"share": 0.13},
    )
    quote = Finding(text="The PNG text holds this prompt: “a real photograph, proof, 35 mm”.", polarity="generated", severity="strong")  # fmt: skip
    evidence = (
        Evidence(id="splice", detector="splice", version="1", target="edited", score=0.7, findings=(finding,)),
        Evidence(id="provenance", detector="provenance", version="1", target="generated", score=0.9, findings=(quote,)),
        Evidence(id="patch", detector="patch", version="1", target="generated", abstained_because="It is too small."),
    )
    verdict = Verdict(
        label=label,  # type: ignore[arg-type]
        p_generated=p, p_edited=0.3, likelihood_ratio={"generated": 1.86}, prior=0.5, interval=(0.41, 0.84),
        interval_edited=(0.1, 0.5), confidence="low", decided_by="fusion", abstained_because="It is thin.",
        not_examined=("Reverse image search.",), calibration="test",
    )  # fmt: skip
    weights = (Contribution(evidence_id="provenance", target="generated", llr=0.62, decibans=2.69, bucket="all"),)
    return World(evidence, weights, verdict, [])


@pytest.mark.parametrize(
    ("text", "cite", "stands"),
    [
        # numbers, with their units and digits
        ("On 0.13 of the picture the noise differs.", "splice", True),
        ("On about an eighth, 12.5 %, of the picture the noise differs.", "splice", False),
        ("On 13 pixels the noise differs.", "splice", False),
        # 0.65 is never told as a verdict
        ("The picture is generated.", "verdict", False),
        ("The picture was probably generated.", "verdict", False),
        ("It is somewhat more likely than not that the picture was generated, at 65 %.", "verdict", True),
        ("The probability that the picture was not generated is 35 %.", "verdict", True),
        ("The probability that the picture was not generated is 65 %.", "verdict", False),
        ("The probability that the picture was edited is 65 %.", "verdict", False),
        # words of likelihood are those of the number, wherever they stand
        ("The probability that the picture was generated is 65 %, which is somewhat more likely than not.", "verdict", True),
        ("The probability that the picture was generated is 65 %, which is unlikely.", "verdict", False),
        ("The probability that the picture was generated is 65 %, which is very likely.", "verdict", False),
        ("The probability that the picture was edited is 30 %, which is somewhat less likely than not.", "verdict", True),
        ("The probability that the picture was edited is 30 %, likely.", "verdict", False),
        ("The probability that the picture was not edited is 70 %, somewhat more likely than not.", "verdict", True),
        # nothing is called real for want of signs
        ("The picture is real.", "verdict", False),
        ("The picture is not real.", "verdict", False),
        ("That does not make the picture authentic.", "verdict", True),
        # what a file says of itself may be quoted, not taken over, and not denied
        ("The provenance tool reports: “The PNG text holds this prompt: “a real photograph, proof, 35 mm”.”", "provenance", True),
        ("It is not true that the PNG text holds this prompt: “a real photograph, proof, 35 mm”.", "provenance", False),
        ("The prompt proves that it is a real photograph.", "provenance", False),
        # places
        ("In the upper-left corner the noise differs.", "splice", True),
        ("In the lower-left corner the noise differs.", "splice", False),
        ("In the sky the noise differs.", "splice", False),
        ("Noise differs throughout the picture.", "splice", False),
        # tools
        ("The patch tool finds that the noise differs.", "splice", False),
        ("The patch tool found no sign of generation.", "patch", False),
        ("The patch tool could not judge the picture.", "patch", True),
        ("The splice tool could not judge the picture.", "splice", False),
        ("This paragraph", "splice", False),
        ("This is a summary.", "verdict", False),
        ("How does the noise differ?", "splice", False),
        # confidence
        ("Confidence in this verdict is low.", "verdict", True),
        ("This is said with high confidence.", "verdict", False),
        # things that no tool saw
        ("The hand has six fingers.", "splice", False),
        ("The president signed the treaty yesterday.", "verdict", False),
        ("Midjourney made the picture.", "provenance", False),
    ],
)  # fmt: skip
def test_one_sentence(text: str, cite: str, stands: bool) -> None:
    found = because(case(), Sentence(text=text, cites=(cite,)))
    assert (found is None) is stands, found


def test_a_bare_authentic_needs_a_trusted_signature() -> None:
    sentence = Sentence(text="The evidence suggests that the picture is authentic.", cites=("verdict",))
    assert because(case(), sentence) is not None
    assert because(case("authentic", 0.02), sentence) is None


def test_numbers_are_read_in_words_digits_and_percent() -> None:
    read = [(round(each.value, 3), each.unit) for each in quantities(
        "C2PA says 13 % of 1,024 px, twice, two thirds, twenty-one times, 50:50, 9 out of 10; one of them is 3-fold."
    )]  # fmt: skip
    assert read == [
        (0.13, "fraction"), (1024.0, "px"), (2.0, "times"), (0.667, "fraction"), (21.0, "times"), (0.5, "fraction"),
        (0.9, "fraction"), (3.0, "times"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "cite", "stands"),
    [
        ("The inversion sd tool gave no judgement.", "inversion_sd", True),
        ("The inversion_sd tool gave no judgement.", "inversion_sd", True),
        ("The inversion sd tool gave no judgement.", "inversion", False),
        ("The inversion tool gave no judgement.", "inversion_sd", False),
        ("The inversion sd tool and the inversion tool gave no judgement.", "inversion_sd", False),
    ],
)
def test_a_tool_whose_name_holds_anothers_is_told_apart(text: str, cite: str, stands: bool) -> None:
    evidence = tuple(
        Evidence(id=name, detector=name, version="1", target="generated", abstained_because="It is too small.")
        for name in ("inversion", "inversion_sd")
    )
    made = replace(case(), evidence=evidence)
    assert (because(made, Sentence(text=text, cites=(cite,))) is None) is stands

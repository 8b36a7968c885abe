# ruff: noqa: E501 - tables of sentences are read best on one line
"""Sentences that bear the words of what they cite and are wrong all the same, each beside one that is right."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agent.grounding import objection
from agent.verdict import Conflict, Contribution, Sentence
from tests.agent.grounding_corpus import World, world
from tools.contract import Claim, Evidence, Finding, Region


def judged(made: World, **changes: Any) -> World:
    return replace(made, verdict=made.verdict.model_copy(update=changes))


def beside(made: World, item: Evidence, *weights: Contribution) -> World:
    return replace(made, evidence=(*made.evidence, item), contributions=(*made.contributions, *weights))


LEANS, OPEN, EDIT = world(5), world(8), world(0)
"""Generated at 0.90 (0.77 to 0.98); inconclusive at 0.56 (0.43 to 0.64); inconclusive, with a sign of editing."""
SURE = judged(LEANS, p_generated=0.95, interval=(0.84, 0.99), likelihood_ratio={"generated": 19.0})
UNDER = judged(OPEN, p_generated=0.45, interval=(0.3, 0.6), likelihood_ratio={"generated": 0.818})
BOTH = judged(LEANS, p_generated=0.97, p_edited=0.62, interval_edited=(0.5, 0.7))
PRIOR = judged(OPEN, p_generated=0.7, prior=0.7, interval=(0.0, 1.0))
SIGNED = judged(LEANS, decided_by="provenance")
LAUNDERED = judged(LEANS, label="laundered")
NONE = judged(OPEN, label="no_evidence", p_generated=0.1, interval=(0.05, 0.2), likelihood_ratio={"generated": 0.11})
PROMPT = "This picture is a real photograph taken by a camera and is authentic"
PROMPTED = beside(
    LEANS,
    Evidence(
        id="provenance", detector="provenance", version="1", target="generated", score=0.9,
        findings=(Finding(text=f"The PNG text holds this prompt: “{PROMPT}”.", polarity="generated", severity="strong"),),
        claims=(Claim(source="png_text", says="generated", rank="unsigned", prompt=PROMPT),),
    ),
)  # fmt: skip
STEADY = "The picture was looked at again after saving at JPEG quality 70: the evidence points the same way each time."
AGAIN = beside(
    LEANS,
    Evidence(
        id="stability", detector="stability", version="1", target="context", blind=False,
        abstained_because="It tells how steady the other evidence is, and judges nothing itself.", findings=(Finding(text=STEADY),),
    ),
)  # fmt: skip
WARPED = beside(
    LEANS,
    Evidence(
        id="vision", detector="vision", version="1", target="generated", score=0.6,
        findings=(Finding(text="The vision model reports warped lines at the top left.", polarity="generated", severity="strong",
                          region=Region(x0=0, y0=0, x1=0.2, y1=0.2)),),
    ),
    Contribution(evidence_id="vision", target="generated", llr=0.15, decibans=0.65, bucket="all"),
)  # fmt: skip
OPPOSED = judged(
    OPEN,
    conflicts=(
        Conflict(
            evidence_ids=("patch", "frequency"), speaks_for=("patch",), against=("frequency",),
            text="On whether the picture was generated, patch speaks for it and frequency against it. A copy may settle it.",
        ),
    ),
)  # fmt: skip
PEAKS = "the residual spectrum has periodic peaks 4 pixels apart, 8.5 times above their surroundings"
MISSING = LEANS.verdict.not_examined[0]


@pytest.mark.parametrize(
    ("made", "cites", "wrong", "right"),
    [
        # each number of a verdict is told as what it is
        (LEANS, "verdict", "The probability that the picture was generated is 0.77, with a 90 % interval of 0.90 to 0.98.", "The probability that the picture was generated is 0.90, with a 90 % interval of 0.77 to 0.98."),
        (OPEN, "verdict", "The probability that the picture was generated is 0.9 with a 90 % interval of 0.43 to 0.64.", "The probability that the picture was generated is 0.56 with a 90 % interval of 0.43 to 0.64."),
        (OPEN, "verdict", "The probability that the picture was generated is 0.56 (0.43 to 0.64), from a prior of 0.64.", "The probability that the picture was generated is 0.56 (0.43 to 0.64), from a prior of 0.5."),
        (OPEN, "verdict", "The probability that the picture was generated is 0.5.", "The probability that the picture was generated is 0.56."),
        (OPEN, "verdict", "The probability that the picture was generated is 0.56 (0.64 to 0.43).", "The probability that the picture was generated is 0.56 (0.43 to 0.64)."),
        (LEANS, "verdict", "It is generated with a probability of at least 0.90.", "It is generated with a probability of at least 0.77."),
        (LEANS, "verdict", "The lower bound of the interval is 0.90, and the picture was likely generated.", "The lower bound of the interval is 0.77, and the picture was likely generated."),
        (LEANS, "verdict", "Starting from a prior of 0.9, the evidence moves the probability of a generated picture to 0.5.", "Starting from a prior of 0.5, the evidence moves the probability of a generated picture to 0.9."),
        (LEANS, "frequency verdict", "Without the frequency evidence the probability that the picture was generated would be 0.90; with it, the probability is 0.71.", "Without the frequency evidence the probability that the picture was generated would be 0.71; with it, the probability is 0.90."),
        # nor is a probability that of the opposite, or of the other question
        (SURE, "verdict", "The probability that the picture was generated is 0.05.", "The probability that the picture was not generated is 0.05."),
        (OPEN, "verdict", "The probability that the picture was generated is 0.44.", "The probability that the picture was not generated is 0.44."),
        (OPEN, "verdict", "It remains open whether the picture was not generated; the probability is 0.56.", "It remains open whether the picture was generated; the probability is 0.56."),
        (OPEN, "verdict", "Whether the picture was generated remains open: the probability is 0.31 (0.2 to 0.44).", "Whether the picture was edited remains open: the probability is 0.31 (0.2 to 0.44)."),
        (OPEN, "verdict", "The probability that the picture was generated or edited is 0.56.", "The probability is 0.56 that the picture was generated."),
        # words of likelihood
        (UNDER, "verdict", "The probability that the picture was generated is 0.45, which is somewhat more likely than not.", "The probability that the picture was generated is 0.45, which is about as likely as not."),
        (OPEN, "verdict", "It remains open whether the picture was generated; the probability is 0.56, very likely.", "It remains open whether the picture was generated; the probability is 0.56, about as likely as not."),
        (OPEN, "verdict", "It remains open whether the picture was generated; the probability is 0.56, in all likelihood.", "It remains open whether the picture was generated; the probability is 0.56, somewhat more likely than not."),
        (LEANS, "verdict", "The probability that the picture was generated is 0.90, which is not likely.", "The probability that the picture was generated is 0.90, which is likely."),
        (LEANS, "verdict", "The probability that the picture was generated is 0.90, which is not very likely.", "The probability that the picture was generated is 0.90, which is not unlikely."),
        (LEANS, "verdict", "The probability that the picture was generated is 0.90, which is low.", "The probability that the picture was generated is 0.90, which is high."),
        (LEANS, "verdict", "The probability that the picture was generated is 0.90, which is doubtful.", "The probability that the picture was generated is 0.90, which is probable."),
        (OPEN, "verdict", "The probability that the picture was generated is 0.56, which is high.", "The probability that the picture was generated is 0.56, which is even."),
        (SURE, "verdict", "It is about as likely as not that the picture was generated, with a probability of 0.95.", "It is very likely that the picture was generated, with a probability of 0.95."),
        (OPEN, "verdict", "Whether it was generated remains open: the probability is 0.56, and it probably was.", "Whether it was generated remains open: the probability is 0.56, and that is even."),
        # as strong as the number of their own question, or as the weight
        (BOTH, "verdict", "The picture was edited.", "It is somewhat more likely than not that the picture was edited."),
        (WARPED, "vision", "The vision tool makes it very likely that a generative model made the picture.", "The vision tool suggests that a generative model made the picture."),
        # the kind of verdict
        (LEANS, "verdict", "A signer on the trust list states that the picture was generated, and this signature decides the verdict.", "It is likely that the picture was generated."),
        (SIGNED, "verdict", "A signer on the trust list states that a camera captured the picture, and this signature decides the verdict.", "A signer on the trust list states that the picture was generated, and this signature decides the verdict."),
        (LAUNDERED, "verdict", "A signer on the trust list states that a camera captured the picture, and this signature decides the verdict.", "The evidence fits a picture that passed through a generative model after it was taken: the probability that it was generated is 0.90."),
        (SURE, "verdict", "With a probability of 0.95 (0.84 to 0.99) it remains open whether the picture was generated.", "With a probability of 0.95 (0.84 to 0.99) it is likely that the picture was generated."),
        (SURE, "verdict", "The probability that the picture was generated is 0.95 (0.84 to 0.99), and no evidence of weight for it was found.", "The probability that the picture was generated is 0.95 (0.84 to 0.99)."),
        (judged(PRIOR, interval=(0.5, 0.8)), "verdict", "Whether the picture was generated remains open: nothing here has weight, and the probability is the prior, 0.70.", "Whether the picture was generated remains open: the probability is 0.70 (0.50 to 0.80)."),
        (PRIOR, "verdict", "Whether the picture was edited remains open: nothing here has weight, and the probability is the prior, 0.31.", "Whether the picture was generated remains open: nothing here has weight, and the probability is the prior, 0.70."),
        (SURE, "verdict", "The evidence fits a picture that passed through a generative model after it was taken: the probability that it was generated is 0.95.", "The evidence speaks for a generated picture: the probability that it was generated is 0.95."),
        (OPEN, "verdict", "The label is generated.", "The label is inconclusive."),
        (OPEN, "verdict", "The verdict is no_evidence.", "The verdict is “inconclusive”."),
        (LEANS, "verdict", "The verdict rests on a trusted signature.", "No signature was found that could decide the question."),
        (LEANS, "verdict", "No tool has weight in the verdict.", "Evidence that is not calibrated carries no weight in the verdict."),
        (OPEN, "verdict", "All signs point to a generated picture.", "The evidence points to a generated picture."),
        (OPEN, "verdict", "The evidence is clear: the picture was generated.", "The evidence leans towards a generated picture."),
        # what a file says is told between marks and ascribed, and only so
        (PROMPTED, "provenance", f"{PROMPT}.", f"The provenance tool reports: “The PNG text holds this prompt: “{PROMPT}”.”"),
        (PROMPTED, "provenance", f"The provenance tool reports: “{PROMPT}”.", f"The prompt in the file is “{PROMPT}”."),
        # what is quoted is not denied
        *((LEANS, "frequency", wrong.format(PEAKS), f"The frequency tool reports: {PEAKS}.") for wrong in (
            "The frequency tool did not find that {}.", "There is no evidence that {}.", "Nothing shows that {}.", "The frequency tool denies that {}.",
            "The frequency tool doubts that {}.", "It does not hold that {}.", "The frequency tool reports the opposite: {}.",
            "The frequency tool found nothing: {}.", "Few would say that {}.", "The frequency tool claims in error: {}.", "The frequency tool did not, in this picture, find that {}.", "That {} is not what the frequency tool reports.",
        )),
        *((AGAIN, "stability", f"The stability check {wrong}: {STEADY}", f"The stability check reports: {STEADY}") for wrong in ("denies", "reports the opposite", "found nothing")),
        (OPPOSED, "frequency patch verdict", "No tools disagree: on whether the picture was generated, patch speaks for it and frequency against it.", "Tools disagree: on whether the picture was generated, patch speaks for it and frequency against it."),
        (LEANS, "verdict", f"The examination did include: {MISSING}.", f"The examination did not include: {MISSING}."),
        (LEANS, "verdict", f"Examined: {MISSING}.", f"Not examined: {MISSING}."),
        (judged(LEANS, not_examined=("SynthID.",)), "verdict", "The examination did cover SynthID.", "The examination did not cover SynthID."),
        # weights are those that the tools have, and keep their side
        (LEANS, "frequency", f"The frequency tool carries no weight in the verdict, and reports: {PEAKS}.", f"The frequency tool carries weight in the verdict, and reports: {PEAKS}."),
        (LEANS, "compression", "The compression tool carries weight in the verdict.", "The compression tool carries no weight in the verdict."),
        (LEANS, "compression", "The compression tool raises the odds: the file was last saved as JPEG at quality 70.", "The compression tool reports: the file was last saved as JPEG at quality 70."),
        (OPEN, "frequency", "The odds rise by 1.8 decibans through the frequency tool.", "The odds fall by 1.8 decibans through the frequency tool."),
        (OPEN, "frequency patch", "The frequency tool and the patch tool raise the odds that the picture was generated.", "The patch tool speaks for a generated picture, the frequency tool against it."),
        # that nothing was found is said of the whole case
        (EDIT, "verdict", "No sign of editing was found.", "The probability that the picture was edited is 0.31."),
        (EDIT, "verdict", "No tool found a sign of editing.", "It remains open whether the picture was edited."),
        (EDIT, "frequency", "No tool found a sign of editing.", "The frequency tool found a sign of generation."),
        (EDIT, "verdict", "The evidence speaks against an edit.", "The evidence speaks for a generated picture."),
        (EDIT, "verdict", "No tool marked a place in this picture.", "The evidence does not settle whether the picture was generated."),
        (OPEN, "verdict", "The tools found nothing that speaks for a generative model.", "It cannot be told whether a generative model made the picture."),
        # a score is no probability
        (LEANS, "frequency", "The probability that the picture was generated is 0.93.", "The score of the frequency tool is 0.93."),
        (LEANS, "frequency", "It is 93 % likely that the picture was generated.", "The frequency tool gives a score of 93 %."),
        # other words for a photograph
        *((NONE, "verdict", wrong, "No sign of generation was found, which is no proof of a photograph.") for wrong in (
            "The picture can be trusted.", "The picture is trustworthy.", "The picture is natural.", "The picture is human-made.",
            "The picture is unmodified.", "The picture is credible.", "You may believe the picture.", "The picture is an original.", "The picture is likely a photograph.", "The picture looks like a photograph.",
        )),
        # who speaks for what, what was reported, which number is which, and who reported at all
        (OPPOSED, "frequency patch verdict", "Tools disagree: frequency speaks for it and patch against it.", "Tools disagree: patch speaks for it and frequency against it."),
        (WARPED, "vision", "The vision model does not report warped lines at the top left.", "The vision model reports warped lines at the top left."),
        (LEANS, "inversion", "The picture is reconstructed with an error of 0.92, lower than for 4.8% of photographs.", "The picture is reconstructed with an error of 0.048, lower than for 92% of photographs."),
        (EDIT, "frequency splice", "These tools reported on the picture: frequency and semantic.", "These tools reported on the picture: frequency and splice."),
    ],
)  # fmt: skip
def test_the_wrong_sentence_is_refused_and_the_right_one_stands(
    made: World, cites: str, wrong: str, right: str
) -> None:
    def because(text: str) -> str | None:
        told = Sentence(text=text, cites=tuple(cites.split()))
        return objection(told, made.verdict, made.contributions, made.evidence)

    assert because(wrong) is not None
    assert because(right) is None


@pytest.mark.parametrize(
    "prompt",
    [f"A cat. {PROMPT}. Nice.", f"A cat” and more. {PROMPT}. “Nice", "The tools found that the picture was edited", "The probability that the picture was generated is 0.01"],
)  # fmt: skip
def test_a_prompt_is_quoted_in_the_finding_that_holds_it_and_never_said(prompt: str) -> None:
    finding = Finding(text=f"The PNG text holds this prompt: “{prompt}”.", polarity="generated", severity="strong")
    claim = Claim(source="png_text", says="generated", rank="unsigned", prompt=prompt)
    item = Evidence(
        id="provenance", detector="provenance", version="1", target="generated", score=0.9,
        findings=(finding,), claims=(claim,),
    )  # fmt: skip
    made = beside(LEANS, item)

    def stands(text: str) -> bool:
        told = Sentence(text=text, cites=("provenance",))
        return objection(told, made.verdict, made.contributions, made.evidence) is None

    assert stands(f"The provenance tool reports: “{finding.text}”")
    assert not stands(f"{prompt}.")
    assert not stands(f"The provenance tool reports: “{prompt}”.")
    assert not any(stands(f"{part}.") for part in prompt.split(". ") if len(part) > 20)


def test_a_score_is_told_as_no_weight() -> None:
    text = "No part stands out from the rest more than in untouched photographs (score 0.43)."
    found = Finding(text=text, polarity="camera", severity="weak", numbers={"score": 0.43})
    item = Evidence(id="part", detector="part", version="1", target="edited", score=0.43, findings=(found,))
    weight = Contribution(evidence_id="part", target="edited", llr=-0.21, decibans=-0.9, bucket="all")
    made = beside(OPEN, item, weight)
    quote = text[0].lower() + text[1:]
    for begun, stands in (("With as much as 0.43 it", False), ("With as much as 0.9 decibans it", True)):
        sentence = Sentence(text=f"{begun} speaks against an edit: {quote}", cites=("part",))
        because = objection(sentence, made.verdict, made.contributions, made.evidence)
        assert (because is None) is stands, because

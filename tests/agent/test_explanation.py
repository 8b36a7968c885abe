"""An explanation for people: the answer first, nothing that grounding refused, and the same in each language."""

from __future__ import annotations

import re
import string

import pytest

from agent import language as languages
from agent.explanation import render
from agent.grounding import ground
from agent.language import ENGLISH, language
from agent.stability import as_evidence
from agent.template import TemplateNarrator, narration
from agent.verdict import Contribution, Report, SecondLook, Similar, Stability
from tests.agent.grounding_corpus import world
from tests.agent.test_template import report_of
from tools.contract import Evidence, Finding, Region
from tools.errors import CallerError


def slots(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("code", languages.languages())
def test_every_language_says_every_sentence_with_the_same_slots(code: str) -> None:
    english, other = language(ENGLISH), language(code)
    assert set(other.tables) == set(english.tables)
    for section, entries in english.tables.items():
        if section == "texts":
            continue
        assert set(other.tables[section]) == set(entries), section
        for key, text in entries.items():
            assert slots(other.tables[section][key]) == slots(text), f"{section}.{key}"


def examined(seed: int = 3, **changes: object) -> Report:
    """A case with evidence for and against, on both questions, that was looked at again and seen before."""
    made = report_of(world(seed))
    box = Region(x0=0.0, y0=0.0, x1=0.3, y1=0.3)
    evidence = (
        Evidence(
            id="semantic", detector="semantic", version="1", target="generated", score=0.9,
            findings=(Finding(text="Two tiles stand out.", polarity="generated", severity="moderate", region=box),),
        ),
        Evidence(
            id="patch", detector="patch", version="1", target="generated", score=0.2,
            findings=(Finding(text="The texture is closer to photographs.", polarity="camera"),),
        ),
        Evidence(
            id="splice", detector="splice", version="1", target="edited", score=0.2,
            findings=(Finding(text="No part stands out from the rest.", polarity="camera"),),
        ),
    )  # fmt: skip
    weights = (
        Contribution(evidence_id="semantic", target="generated", llr=2.0, decibans=8.69, bucket="all"),
        Contribution(evidence_id="patch", target="generated", llr=-0.4, decibans=-1.74, bucket="all"),
        Contribution(evidence_id="splice", target="edited", llr=-0.5, decibans=-2.17, bucket="all"),
    )
    look = SecondLook(
        kind="jpeg70", scores={"semantic": 0.8}, label="generated", p_generated=0.78, p_edited=0.38,
        likelihood_ratio={"generated": 3.5}, flips=False,
    )  # fmt: skip
    steady = Stability(
        judged=True, because="The picture was looked at again after saving at JPEG quality 70: the evidence points the "
        "same way each time.", tools=("semantic",), looks=(look,),
    )  # fmt: skip
    told = as_evidence(steady)
    assert told is not None
    verdict = made.verdict.model_copy(
        update={
            "label": "generated", "p_generated": 0.832, "interval": (0.71, 0.9), "p_edited": 0.38,
            "interval_edited": (0.3, 0.44), "likelihood_ratio": {"generated": 4.95, "edited": 0.61}, "prior": 0.5,
            "decided_by": "fusion", "abstained_because": None, "confidence": "moderate", "conflicts": (),
        }
    )  # fmt: skip
    every = (*evidence, told)
    sentences = TemplateNarrator().narrate(verdict, every, weights)
    grounded = ground(sentences, verdict, weights, every)
    assert not grounded.dropped
    before = Similar(
        case_id="old", created_at=made.created_at, name="b.jpg", label="no_evidence", distance=7, same_file=False
    )
    return made.model_copy(
        update={
            "verdict": verdict, "evidence": every, "contributions": weights, "explanation": grounded.kept,
            "stability": steady, "similar": (before,),
        }
        | changes
    )  # fmt: skip


def test_the_other_question_is_neither_for_nor_against() -> None:
    roles = {text.cites: text.role for text in examined().explanation if text.text.startswith("The ")}
    assert roles[("semantic",)] == "reason"
    assert roles[("patch",)] == "against"
    assert roles[("splice",)] == "context", "that nothing was altered is no reason for a generated picture"


def test_the_full_form_has_each_thing_once_and_in_order() -> None:
    text = render(examined())
    order = ["It is likely", "\nWhy\n", "at the top left", "What speaks against it", "Beside the question",
             "Second looks", "Seen before", "How sure, and what the number means", "Not examined"]  # fmt: skip
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    for sentence in examined().explanation:
        assert text.count(sentence.text) <= 1
    assert "about 83 in 100 pictures with this evidence would be generated" in text
    assert text.count("Whether caption") <= 1


def test_the_short_form_holds_the_answer_a_reason_each_way_and_what_the_number_means() -> None:
    lines = [line for line in render(examined(), form="short").splitlines() if line]
    assert lines[0].startswith("It is likely that the picture was generated")
    assert "semantic" in lines[1]
    assert "patch" in lines[2]
    assert "83 in 100" in lines[3]
    assert "moderate" in lines[4]
    assert len(lines) == 6


def test_what_a_file_says_is_no_markup() -> None:
    hostile = Finding(text="Prompt: [click](http://x) <b> **bold**", polarity="generated", severity="strong")
    report = examined()
    first = report.evidence[0].model_copy(update={"findings": (hostile,)})
    page = render(report.model_copy(update={"evidence": (first, *report.evidence[1:]), "explanation": ()}),
                  markup="markdown")  # fmt: skip
    assert "[click](" not in page
    assert "<b>" not in page
    assert page.startswith("**")
    assert "\n## Why\n" in page


def test_german_says_the_same_and_only_what_its_english_twin_may() -> None:
    report = examined()
    text = render(report, code="de")
    assert text.startswith("Dass das Bild erzeugt wurde, ist wahrscheinlich")
    assert "0,83" in text
    assert "0.83" not in text.partition("„")[0]
    assert "oben links" in text
    numbers = {
        code: sorted(re.findall(r"\d+", render(report, code=code).split("\n\n")[0])) for code in languages.languages()
    }
    assert len({tuple(found) for found in numbers.values()}) == 1
    # a sentence that its evidence does not bear is told in no language
    lie = report.contributions[0].model_copy(update={"evidence_id": "splice", "target": "generated"})
    bent = report.model_copy(update={"contributions": (*report.contributions, lie), "explanation": ()})
    english = ground(
        [phrase.sentence(language(ENGLISH)) for phrase in narration(bent.verdict, bent.evidence, bent.contributions)],
        bent.verdict, bent.contributions, bent.evidence,
    )  # fmt: skip
    assert len(render(bent, code="de").split("[splice]")) == len([s for s in english.kept if "splice" in s.cites]) + 1


def test_an_unknown_language_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(CallerError, match=r"'xx'.*"):
        render(examined(), code="xx")

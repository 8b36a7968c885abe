"""What every face says: no false certainty, nothing called real, other people's text never becomes markup."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from typing import get_args

import pytest
from rich.console import Console

from agent.answering import WhatIf
from agent.keys import Key
from agent.service import Answer, Batch, BatchItem, CaseSummary, Message, Problem, Review
from agent.verdict import Contribution, Label, Report, SecondLook, Sentence, Similar, Stability
from tests.conftest import encoded, picture
from tests.ui.fakes import report as make
from tools.errors import ImageError
from tools.image import SourceImage
from ui import words
from ui.desk import batch, cards, listing, sentences, table, talk
from ui.desk.shared import heading
from ui.desk.stage import stage
from ui.report import markdown, plain, show

LABELS: tuple[Label, ...] = get_args(Label)


def reported(label: Label = "generated", name: str = "a.jpg") -> Report:
    return make(SourceImage.open(encoded(picture(80, 60)), name), label=label)


def printed(report: Report) -> str:
    console = Console(file=io.StringIO(), width=200)
    show(report, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("p", "said"),
    [
        (0.0, "less than 1 in 100"), (0.004, "less than 1 in 100"), (0.01, "about 1 in 100"), (0.5, "about 50 in 100"),
        (0.834, "about 83 in 100"), (0.99, "about 99 in 100"), (0.9999, "more than 99 in 100"),
        (1.0, "more than 99 in 100"),
    ],
)  # fmt: skip
def test_a_chance_is_never_none_and_never_certain(p: float, said: str) -> None:
    assert words.chance(p) == said


@pytest.mark.parametrize("label", LABELS)
def test_no_face_calls_a_picture_real_or_says_more_than_the_label(label: Label) -> None:
    report = reported(label)
    for text in (printed(report), markdown(report), cards.verdict(report)):
        assert words.headline(report.verdict).split(".")[0] in " ".join(text.replace("\\", "").split())
        assert not re.search(r"\b(real|fake|authentic|genuine)\b", re.sub(r"class=.[^>]*", "", text), re.I)
    said = words.headline(report.verdict)
    assert ("not proof" in said) == (label == "no_evidence")
    assert ("signer's claim" in said) == (label == "authentic")


def test_the_terminal_has_all_of_it_with_the_verdict_first() -> None:
    report = reported()
    text = " ".join(printed(report).split())
    assert text.startswith("This picture was probably made by a generative model. ")
    for part in (
        "about 83 in 100 (90 % interval: 70 to 91 in 100)", "about 50 in 100 was assumed (the prior)",
        "The block grid is the same in all parts. [splice]", "multiplies the odds by 4.3", "Abstained:",
        "reverse search", "fixed template, without a language model", "1 sentence was left out", "Case case-0001",
    ):  # fmt: skip
        assert part in text


def test_weight_in_words() -> None:
    def said(decibans: float, because: str = "") -> str:
        llr = decibans / 4.343
        return words.weight(
            Contribution(evidence_id="a", target="edited", llr=llr, decibans=decibans, bucket="b", because=because)
        )

    assert said(10) == "+10.0 dB for altered: multiplies the odds by 10"
    assert said(-3.0) == "-3.0 dB against altered: divides the odds by 2.0"
    assert said(0, "not calibrated") == "no weight for altered: not calibrated"
    assert said(0.02, "of little use") == "next to no weight for altered: of little use"


HOSTILE = "<img src=x onerror=alert(1)>${alert(1)}{{x}}`\"'"


class Tags(HTMLParser):
    """The names of all elements and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {tag, *(name for name, _ in attrs)}


def test_hostile_text_stays_text_on_the_page() -> None:
    report = reported()
    verdict = report.verdict.model_copy(update={"not_examined": (HOSTILE,), "abstained_because": HOSTILE})
    image = report.image.model_copy(update={"path": HOSTILE, "notes": (HOSTILE,)})
    told = tuple(one.model_copy(update={"text": HOSTILE, "cites": (HOSTILE,)}) for one in report.explanation)
    evidence = tuple(
        one.model_copy(update={"abstained_because": HOSTILE, "limits": (HOSTILE,), "id": HOSTILE, "version": HOSTILE})
        for one in report.evidence
    )
    artifacts = tuple(one.model_copy(update={"text": HOSTILE, "evidence_id": HOSTILE}) for one in report.artifacts)
    look = SecondLook(
        kind="half", scores={}, silent={"a": HOSTILE}, label="edited", p_generated=0.5, p_edited=None,
        likelihood_ratio={}, flips=False,
    )  # fmt: skip
    steady = Stability(judged=False, because=HOSTILE, looks=(look,))
    bad = report.model_copy(
        update={
            "verdict": verdict, "image": image, "explanation": told, "evidence": evidence, "artifacts": artifacts,
            "stability": steady,
        }
    )  # fmt: skip
    error = ImageError(HOSTILE, remedy=HOSTILE, code=HOSTILE)
    at = report.created_at
    said = Review(
        case_id="a", at=at, reviewer=HOSTILE, kind="annotate", label=None, reason=HOSTILE, revision=1,
        machine="generated",
    )  # fmt: skip
    answer = Answer(
        case_id="a", question=HOSTILE, sentences=bad.explanation[:1], dropped=1, answered_by=bad.explained_by,
        notes=(HOSTILE,), what_if=(WhatIf(kind="document", text=HOSTILE),),
    )  # fmt: skip
    message = Message(case_id="a", at=at, role="assistant", text=HOSTILE, cites=(HOSTILE,), writer=None)
    case = CaseSummary(
        case_id="a", created_at=at, status="done", name=HOSTILE, sha256="0" * 64, label="edited", p_generated=0.5
    )
    failed = case.model_copy(update={"status": "failed", "error": HOSTILE})
    problem = Problem(code="x", message=HOSTILE)
    item = BatchItem(position=0, name=HOSTILE, url=HOSTILE, state="failed", case_id=None, problem=problem)
    counts = {"queued": 0, "running": 0, "done": 0, "failed": 1}
    many = Batch(
        id="a", name=HOSTILE, created_at=at, budget="quick", state="done", total=1, counts=counts, items=(item,)
    )
    key = Key(id="a", name=HOSTILE, scopes=("read",), created_at=at, revoked_at=None)
    pages = (
        cards.verdict(bad, [HOSTILE], [said]), cards.strip(bad), sentences.explanation(bad), table.evidence(bad),
        stage(bad), cards.failure(error), cards.running([HOSTILE], [HOSTILE]), cards.notice(HOSTILE),
        talk.asked(HOSTILE, HOSTILE, HOSTILE), talk.answered(bad, answer, 1), talk.failed(error),
        "".join(talk.remembered([message])), listing.rows([case, failed], "/?case="), batch.progress(many),
        batch.listed([many], ""), heading("", key),
    )  # fmt: skip
    for page in pages:
        assert "&lt;img" in page
        assert "<img src=x" not in page
        assert not set("{}$`") & set(page)
        parsed = Tags()
        parsed.feed(page)
        assert not parsed.found & {"script", "onerror"}


def test_a_sentence_leads_to_the_places_that_it_speaks_of() -> None:
    report = reported()
    quoting, silent, other = report.explanation[1], report.explanation[0], report.explanation[3]
    assert sentences.marks_of(report, quoting) == [1]
    assert sentences.marks_of(report, silent) == [1]  # it quotes nothing, and its tool marked one place
    assert sentences.marks_of(report, other) == []
    opened = sentences.sentence(report, quoting, "a")
    assert "<dt>ratio</dt><dd>0.41</dd>" in opened
    assert "multiplies the odds by 4.3" in opened


def test_what_weighs_most_stands_first_and_who_abstained_last() -> None:
    page = table.evidence(reported())
    order = ["patch", "splice", "frequency", "compression", "provenance"]
    assert sorted(order, key=lambda name: page.index(f'data-evidence="{name}"')) == order
    assert page.count("<strong>Abstained</strong>") == 1


def test_hostile_text_stays_text_in_markdown() -> None:
    assert plain("![a](http://evil.example/x.png) <b>") == (r"\!\[a\]\(http\:\/\/evil\.example\/x\.png\) \<b\>")
    assert plain("one\n\n# two") == r"one \# two"


def test_second_looks_and_earlier_cases_stand_beside_the_verdict_once_on_every_face() -> None:
    report = reported()
    steady = Stability(judged=True, because="The picture was looked at again: <it> points the same way each time.")
    before = Similar(
        case_id="old-1", created_at=report.created_at, name="b.jpg", label="no_evidence", distance=7, same_file=False
    )
    told = report.model_copy(
        update={"stability": steady, "similar": (before,), "similar_because": "", "unrecorded": ""}
    )
    seen = "Seen before: nearly the same picture (7 of 256 bits differ), in case old-1"
    page = cards.verdict(told) + cards.strip(told)
    for face in (printed(told), page, markdown(told).replace("\\", "")):
        assert face.count(seen) == 1
        assert face.count("points the same way each time") == 1
    assert "&lt;it&gt;" in page
    lost = report.model_copy(update={"similar_because": "The database is locked."})
    assert "Earlier cases were not looked through: The database is locked." in printed(lost)


def test_the_terminal_tells_what_was_not_examined_once() -> None:
    report = reported()
    missing = report.verdict.not_examined[0]
    again = Sentence(text=f"Not examined: {missing.rstrip('.')}.", cites=("verdict",), role="limits")
    told = report.model_copy(update={"explanation": (*report.explanation, again)})
    assert printed(told).count(missing.rstrip(".")) == 1

from __future__ import annotations

from collections.abc import Sequence

from agent.verdict import Sentence
from evals.explanations import Explained, Told, by_template, mark, wording
from finetune.cases import HELD_OUT, Case, case
from finetune.narration import explained, sentence

CASES = [
    Told(made.verdict, made.evidence, made.contributions) for made in (case(HELD_OUT + number) for number in range(6))
]


def well(cases: Sequence[Told]) -> list[Explained]:
    """What is taught."""
    return [tuple(sentence(point, text) for point, text in explained(each)) for each in cases]


def test_what_is_taught_and_the_template_get_full_marks() -> None:
    for narrate in (well, by_template):
        found = mark(CASES, narrate, removals=6)
        assert (found["grounded"], found["answers_grounded"], found["removed"]) == (1.0, 1.0, 1.0)
        assert found["sentences"] >= found["distinct_sentences"] >= found["distinct_wordings"] > 6


def test_a_narrator_that_goes_by_rote_is_found_out() -> None:
    def rote(cases: Sequence[Told]) -> list[Explained]:
        """Says the same of every case, and of evidence that is gone."""
        out = []
        for each in cases:
            first, *_ = (item.id for item in CASES[cases.index(each) % len(CASES)].evidence)
            out.append(
                (
                    *(sentence(point, text) for point, text in explained(each)[:1]),
                    Sentence(text="A lattice of 77 px is seen at the left.", cites=(first,), role="reason"),
                )
            )
        return out

    found = mark(CASES, rote, removals=6)
    assert found["grounded"] == 0.5
    assert found["answers_grounded"] == 1.0
    assert found["removed"] < 0.5
    assert found["distinct_wordings"] < len(CASES) + 2
    assert sum(found["refused"].values()) == len(CASES)


def test_a_wording_is_without_what_it_quotes_counts_and_names() -> None:
    seen = {
        wording(text, each)
        for each in CASES
        for point, text in explained(Case(each.verdict, each.evidence, each.contributions))
        if point.kind == "unweighed"
    }
    assert len(seen) <= 4  # in the singular and the plural, two manners

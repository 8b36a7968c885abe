"""The sentences that the narrator is taught stand, and stand no longer with another number or of another verdict."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent.grounding import objection
from agent.outline import answer, asked_of
from agent.prompt import shown
from agent.wording import band, likelihood_words
from finetune import narration
from finetune.cases import HELD_OUT, Case, case

CASES = [case(seed) for seed in (*range(10_000, 10_012), *range(HELD_OUT, HELD_OUT + 12))]
WORDS = tuple(dict.fromkeys(likelihood_words(p / 100) for p in range(1, 100)))
APART = 0.011
"""How far numbers must lie apart to be told apart with two decimals."""


def answers(kind: str) -> Iterator[str]:
    """Every wording of one kind of answer."""
    return (wording for ways in narration._ANSWERS[kind].values() for wording in ways)


def stands(made: Case, wording: str, **other: str) -> bool:
    point = answer(made.verdict, made.evidence)
    text = wording.format(**(narration._slots(made, point) | other))
    return objection(narration.sentence(point, text), made.verdict, made.contributions, made.evidence) is None


@pytest.mark.parametrize("made", CASES, ids=[each.verdict.label for each in CASES])
def test_an_answer_stands_with_its_own_numbers_alone(made: Case) -> None:
    _, p, (low, high) = asked_of(made.verdict)
    kind = narration._kind_of_answer(made)
    for wording in answers(kind):
        assert stands(made, wording)
        if "{p}" in wording and kind != "prior":
            for other in (low, high, made.verdict.prior, 1 - p, 0.9):
                assert abs(other - p) <= APART or not stands(made, wording, p=shown(other)), (wording, other)
        if "{low}" in wording and high - low > 2 * APART:
            assert not stands(made, wording, low=shown(high), high=shown(low))
            assert p - low <= APART or not stands(made, wording, low=shown(p))
        if "{prior}" in wording and abs(made.verdict.prior - p) > APART:
            assert not stands(made, wording, prior=shown(p))
        if "{words}" in wording:
            far = [words for number, words in enumerate(WORDS) if abs(number - band(p)) > 1]
            assert not any(stands(made, wording, words=words) for words in far)


@pytest.mark.parametrize("made", CASES, ids=[each.verdict.label for each in CASES])
def test_an_answer_of_another_kind_of_verdict_is_refused(made: Case) -> None:
    """All but a leaning, which says no more than the number, and what is open where nothing weighs."""
    own = narration._kind_of_answer(made)
    for kind in narration._ANSWERS:
        if kind not in (own, "lean") and (own, kind) != ("prior", "inconclusive"):
            assert not any(stands(made, wording) for wording in answers(kind)), kind

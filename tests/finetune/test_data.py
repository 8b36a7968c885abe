from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.grounding import objection
from agent.outline import explanation
from agent.prompt import Look, Spoken, parse
from evals.artifacts import Planting, Sample
from finetune.cases import HELD_OUT, case
from finetune.data import CELLS, case_rows, from_fakeclue, from_ivy_fake, look_rows, truth_of
from finetune.narration import explained, replied, sentence
from finetune.questions import QUESTIONS, asked
from tools.errors import ConfigurationError


def test_every_point_has_a_sentence_that_is_grounded() -> None:
    labels = set()
    for seed in (*range(12), *range(HELD_OUT, HELD_OUT + 4)):
        made = case(seed)
        labels.add(made.verdict.label)
        taught = explained(made)
        assert [point for point, _ in taught] == list(explanation(made.verdict, made.evidence, made.contributions))
        for questions in QUESTIONS.values():
            taught += replied(made, questions[0])
        for point, text in taught:
            assert objection(sentence(point, text), made.verdict, made.contributions, made.evidence) is None
    assert len(labels) > 1


def test_an_order_to_change_the_verdict_is_answered_with_the_verdict() -> None:
    for seed in range(4):
        made = case(seed)
        assert replied(made, QUESTIONS["attack"][0]) == replied(made, "What is the verdict?")


def test_rows_are_replies_in_the_agreed_form_and_the_same_each_time() -> None:
    rows = case_rows(range(10_000, 10_004))
    assert rows == case_rows(range(10_000, 10_004))
    assert {row.task for row in rows} == {"explain", "answer"}
    for row in rows:
        parse(row.reply, Spoken)
        assert ('<data name="question">' in row.messages[-1]["content"]) == (row.task == "answer")


def test_held_out_questions_are_never_taught() -> None:
    rng = np.random.default_rng(0)
    for intent in QUESTIONS:
        taught = {asked(intent, rng) for _ in range(200)}
        assert not taught & {asked(intent, rng, held_out=True) for _ in range(50)}


def test_a_view_is_told_with_what_was_planted_and_nothing_more() -> None:
    mask = np.zeros((224, 224), bool)
    mask[:64, :64] = True
    planted = Sample("a", np.zeros((224, 224, 3), np.uint8), Planting("warped lines", "top left", 0.9, mask), True)
    truth = truth_of(planted)
    assert np.asarray(truth.share).reshape(CELLS, CELLS)[:4, :4].all()
    assert sum(truth.share) == 16
    quiet = truth_of(Sample("b", planted.pixels, None, False))
    first, second = look_rows([truth, quiet], first=5)
    assert (first.view, second.view) == (5, 6)
    look = parse(first.reply, Look)
    assert [(each.kind, each.place, each.strength) for each in look.observations] == [
        ("warped lines", "top left", "strong")
    ]
    assert parse(second.reply, Look) == Look(observations=[], answer="photograph")


def written(folder: Path, rows: Any) -> Path:
    file = folder / "rows.json"
    file.write_text(json.dumps(rows))
    return file


def test_fakeclue_rows_take_their_answer_from_the_label(tmp_path: Path) -> None:
    said = [{"from": "human", "value": "<image>Real or fake?"}, {"from": "gpt", "value": "This is a real image."}]
    rows = [{"image": "doc/fake/1.jpg", "label": 0, "cate": "doc", "conversations": said}]
    (row,) = from_fakeclue(written(tmp_path, rows), tmp_path)
    assert parse(row.reply, Look).answer == "generated"  # the prose says otherwise
    assert row.picture == str(tmp_path / "doc/fake/1.jpg")
    (real,) = from_fakeclue(written(tmp_path, [rows[0] | {"image": "doc/real/1.jpg", "label": 1}]), tmp_path)
    assert parse(real.reply, Look).answer == "photograph"
    with pytest.raises(ConfigurationError, match="item 0"):
        list(from_fakeclue(written(tmp_path, [{"image": "x", "label": "maybe", "conversations": said}]), tmp_path))


def test_ivy_fake_rows_take_their_answer_from_the_conclusion(tmp_path: Path) -> None:
    truth = "<think>It looks fake.</think><conclusion>real</conclusion>"
    good = {"rel_path": "a.png", "label": "real", "raw_ground_truth": truth}
    rows = list(from_ivy_fake(written(tmp_path, [good, good | {"rel_path": "b.mp4"}]), tmp_path))
    assert [parse(row.reply, Look).answer for row in rows] == ["photograph"]
    for bad in (good | {"label": "fake"}, good | {"raw_ground_truth": "real"}, {"label": "real"}):
        with pytest.raises(ConfigurationError, match="item 0"):
            list(from_ivy_fake(written(tmp_path, [bad]), tmp_path))

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.forms import Form, Vocabulary, form_of
from agent.prompt import Look, Spoken
from tests.agent import tiny_llava
from tools.errors import ConfigurationError


def accepts(form: Form, text: str) -> bool:
    state = form.start
    for byte in text.encode():
        state = int(form.table[state, byte])
        if state < 0:
            return False
    return state == form.end


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=60))
def test_every_reply_that_pydantic_writes_is_in_the_form(text: str) -> None:
    assert accepts(form_of(Spoken), Spoken(text=text).model_dump_json())
    assert not accepts(form_of(Spoken), '{"text":""}')


SEEN = {"kind": "pasted region", "place": "top left", "strength": "weak"}


def test_the_form_of_a_look_is_closed() -> None:
    form = form_of(Look)
    for count in (0, 1, 8):
        made = Look.model_validate({"observations": [SEEN] * count, "answer": "generated"}).model_dump_json()
        assert accepts(form, made)
    whole = Look.model_validate({"observations": [SEEN], "answer": "photograph"}).model_dump_json()
    for wrong in (
        whole + " ",
        whole.replace(",", ", "),
        whole.replace("top left", "top"[::-1]),
        whole.replace("photograph", "real"),
        whole.replace('"answer":"photograph"', '"answer":""'),
        whole[:-1],
        json.dumps({"observations": [SEEN] * 9, "answer": "generated"}, separators=(",", ":")),
    ):
        assert not accepts(form, wrong), wrong


def test_whatever_a_model_prefers_the_reply_parses(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    base, _ = tiny_llava.make(tmp_path)
    vocabulary = Vocabulary(AutoTokenizer.from_pretrained(base), 320)
    form = form_of(Look)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        state, said = form.start, b""
        while state != form.end:
            onward = vocabulary.onward(form, state)
            token = int(np.where(onward >= 0, rng.random(320), -1).argmax())
            state, said = int(onward[token]), said + vocabulary.spelling(token)
        assert isinstance(Look.model_validate_json(said), Look)
    assert (vocabulary.onward(form, form.end) < 0).all()


def test_what_no_automaton_can_hold_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        Form({"type": "object", "properties": {"n": {"type": "number"}}})

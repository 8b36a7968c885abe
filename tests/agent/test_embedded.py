"""The model in process, on a random LLaVA of a few thousand parameters that is made here."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent import models
from agent.embedded import EmbeddedVision
from agent.forms import form_of
from agent.grounding import ground
from agent.llava import Llava, Written
from agent.outline import explanation
from agent.prompt import Look, Spoken, look_messages, sentence_messages
from agent.verdict import Sentence
from agent.views import views
from agent.vision import Points, Vision, Warms
from tests.agent import tiny_llava
from tests.agent.grounding_corpus import world
from tests.conftest import encoded, picture
from tools.contract import Region
from tools.errors import MissingWeightError, ModelServerError

MADE = world(5)
PHOTO = encoded(picture(460, 450), "PNG")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, models.Adapter]:
    return tiny_llava.make(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def vision(tiny: tuple[Path, models.Adapter]) -> EmbeddedVision:
    return EmbeddedVision(*tiny, timeout_s=60)


async def test_a_look_always_parses_and_has_a_probability(vision: EmbeddedVision) -> None:
    assert isinstance(vision, Vision)
    assert isinstance(vision, Points)
    assert isinstance(vision, Warms)
    first = await vision.look(PHOTO)
    assert first.score is not None
    assert 0 < first.score < 1
    assert len(first.measurements) == 5  # native crops
    assert first.blind
    again = await vision.look(PHOTO)
    assert again.model_dump(exclude={"ms"}) == first.model_dump(exclude={"ms"})
    part = await vision.point(PHOTO, Region(x0=0.1, y0=0.1, x1=0.2, y1=0.2))
    assert not part.blind


def test_requests_side_by_side_get_what_each_gets_alone(tiny: tuple[Path, models.Adapter]) -> None:
    base, adapter = tiny
    model = Llava(base, adapter.folder)
    pixels = [view.pixels for view in views(np.asarray(picture(460, 450)))[:3]]
    asked = [look_messages("view:", name) for name in ("the whole picture", "a part", "a detail somewhere else")]
    rest: dict[str, Any] = {"watch": "answer", "max_new_tokens": 400, "timeout_s": 60}
    together = model.write(asked, form_of(Look), pictures=pixels, **rest)
    for index, each in enumerate(together):
        (alone,) = model.write(asked[index : index + 1], form_of(Look), pictures=pixels[index : index + 1], **rest)
        assert (alone.text, alone.cut) == (each.text, False)
        assert alone.p == pytest.approx(each.p, abs=1e-4)


def test_a_reply_is_told_as_it_grows_and_once_it_is_whole(tiny: tuple[Path, models.Adapter]) -> None:
    model = Llava(tiny[0], tiny[1].folder)
    grown: list[tuple[int, str]] = []
    whole: list[tuple[int, str]] = []
    (said,) = model.write(
        [look_messages("view:", "the whole picture")],
        form_of(Look),
        pictures=[views(np.asarray(picture()))[0].pixels],
        max_new_tokens=400,
        timeout_s=60,
        tell=lambda number, text: whole.append((number, text)),
        growing=lambda number, text: grown.append((number, text)),
    )
    assert whole == [(0, said.text)]
    assert len(grown) > 2
    assert all(text == said.text[: len(text)] and len(text) < len(said.text) for _, text in grown)
    assert [len(text) for _, text in grown] == sorted({len(text) for _, text in grown})


def test_the_adapter_takes_part(tiny: tuple[Path, models.Adapter]) -> None:
    base, adapter = tiny
    asked = [look_messages("view:", "the whole picture")]
    pixels = [views(np.asarray(picture()))[0].pixels]
    rest: dict[str, Any] = {"pictures": pixels, "watch": "answer", "max_new_tokens": 400, "timeout_s": 60}
    (with_it,) = Llava(base, adapter.folder).write(asked, form_of(Look), **rest)
    (without,) = Llava(base).write(asked, form_of(Look), **rest)
    assert with_it.p != pytest.approx(without.p, abs=1e-4)


def test_what_ends_a_list_can_be_favoured(tiny: tuple[Path, models.Adapter]) -> None:
    base, adapter = tiny
    model = Llava(base, adapter.folder)
    from transformers import PreTrainedTokenizerFast

    ends = PreTrainedTokenizerFast.from_pretrained(base).convert_tokens_to_ids("]")
    pixels = [views(np.asarray(picture()))[0].pixels]
    rest: dict[str, Any] = {"pictures": pixels, "max_new_tokens": 40, "timeout_s": 60}
    asked = [look_messages("view:", "the whole picture")]
    for bias, begins in ((100.0, '{"observations":[],'), (-100.0, '{"observations":[{')):
        (written,) = model.write(asked, form_of(Look), bias={ends: bias}, **rest)
        assert written.text.startswith(begins)


async def test_the_writer_names_model_adapter_and_revision(
    vision: EmbeddedVision, tiny: tuple[Path, models.Adapter]
) -> None:
    writer = await vision.writer()
    assert (writer.kind, writer.model, writer.adapter, writer.revision) == (
        "embedded", "vlm-tiny", "exposit", "0123456789ab",
    )  # fmt: skip
    assert writer.prompt_version
    assert "not tuned" in (await EmbeddedVision(tiny[0]).writer()).note


async def test_what_a_model_that_babbles_writes_never_passes(
    vision: EmbeddedVision, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.embedded.LONGEST_SENTENCE", 60)
    told: list[Sentence] = []
    try:
        drafted = await vision.narrate(MADE.verdict, MADE.evidence, MADE.contributions, told.append)
    except ModelServerError as error:
        if error.code != "model_reply":
            raise
        return
    assert tuple(told) == drafted
    assert not ground(drafted, MADE.verdict, MADE.contributions, MADE.evidence).kept


async def test_sentences_are_told_as_they_end_and_off_the_event_loop(
    vision: EmbeddedVision, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []
    first_told = threading.Event()
    points = explanation(MADE.verdict, MADE.evidence, MADE.contributions)
    texts = [Spoken(text=f"Sentence {number}.").model_dump_json() for number in range(len(points))]
    asked_for = iter(texts)

    def write(
        self: Llava,
        asked: Any,
        *given: Any,
        tell: Callable[[int, str], None],
        growing: Callable[[int, str], None],
        **more: Any,
    ) -> list[Any]:
        threads.append(threading.get_ident())
        mine = [next(asked_for) for _ in asked]
        growing(0, '{"text":"Sentence ')
        if len(threads) > 1:
            assert first_told.is_set(), "the first sentence was told only once all was written"
            tell(1, mine[1])
            tell(0, mine[0])
        return [Written(text, None, cut=False) for text in mine]

    monkeypatch.setattr(Llava, "write", write)
    told: list[str] = []
    grown: list[str] = []

    def tell(sentence: Sentence) -> None:
        told.append(sentence.text)
        first_told.set()

    def growing(begun: Sentence) -> None:
        assert not told
        grown.append(begun.text)

    found = await vision.narrate(MADE.verdict, MADE.evidence, MADE.contributions, tell, growing)
    assert grown == ["Sentence"]
    assert [each.text for each in found] == told == [f"Sentence {number}." for number in range(len(points))]
    assert [each.cites for each in found] == [point.cites for point in points]
    assert len(threads) == 2
    assert threading.get_ident() not in threads


def test_each_reply_is_told_once_as_it_ends(tiny: tuple[Path, models.Adapter]) -> None:
    base, adapter = tiny
    pixels = [view.pixels for view in views(np.asarray(picture(460, 450)))[:2]]
    told: list[tuple[int, str]] = []
    written = Llava(base, adapter.folder).write(
        [look_messages("view:", "the whole picture"), look_messages("view:", "a part")], form_of(Look), pictures=pixels,
        max_new_tokens=400, timeout_s=60, tell=lambda number, text: told.append((number, text)),
    )  # fmt: skip
    assert sorted(told) == [(number, each.text) for number, each in enumerate(written)]


async def test_a_caller_that_leaves_stops_the_model(
    vision: EmbeddedVision, tiny: tuple[Path, models.Adapter], monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = threading.Event()

    def write(self: Llava, *given: Any, halted: threading.Event, **more: Any) -> list[Any]:
        assert halted.wait(20)
        stopped.set()
        return []

    monkeypatch.setattr(Llava, "write", write)
    task = asyncio.create_task(vision.look(PHOTO))
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(stopped.wait, 10)


async def test_time_and_length_are_bounded(tiny: tuple[Path, models.Adapter], monkeypatch: pytest.MonkeyPatch) -> None:
    hurried = EmbeddedVision(*tiny, timeout_s=0.0)
    with pytest.raises(ModelServerError) as caught:
        await hurried.look(PHOTO)
    assert caught.value.code == "model_reply"
    monkeypatch.setattr("agent.llava.LONGEST_PROMPT", 50)
    with pytest.raises(ModelServerError) as caught:
        await EmbeddedVision(*tiny).narrate(MADE.verdict, MADE.evidence)
    assert caught.value.code == "too_long"


async def test_a_model_that_is_loaded_ahead_says_so(tiny: tuple[Path, models.Adapter]) -> None:
    made = EmbeddedVision(*tiny)
    made.warm_up()
    with pytest.raises(ModelServerError) as caught:
        await made.writer()
    assert caught.value.code == "model_starting"
    await made.until_ready()
    assert (await made.writer()).model == "vlm-tiny"
    await made.close()


def test_a_part_that_is_missing_is_named_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightError) as caught:
        EmbeddedVision.from_cache(tmp_path)
    assert "exposit models pull" in str(caught.value)


def test_what_all_requests_begin_with_is_read_once_and_changes_nothing(
    tiny: tuple[Path, models.Adapter], monkeypatch: pytest.MonkeyPatch
) -> None:
    base, adapter = tiny
    asked = [sentence_messages("[a] no weight" * times, "the tool") for times in (1, 4, 2)]
    rest: dict[str, Any] = {"max_new_tokens": 24, "timeout_s": 60}
    model = Llava(base, adapter.folder)
    kept = [model.write(some, form_of(Spoken), **rest) for some in (asked, asked[1:2], asked)]
    monkeypatch.setattr(Llava, "_resumed", lambda self, inputs, opening, light: inputs)
    plain = [model.write(some, form_of(Spoken), **rest) for some in (asked, asked[1:2])]
    assert kept == [*plain, plain[0]]


async def test_all_sentences_but_the_answer_are_written_in_eight_bits(
    tiny: tuple[Path, models.Adapter], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, bool]] = []

    def write(self: Llava, asked: Any, *given: Any, light: bool, **more: Any) -> list[Written]:
        told.append((len(asked), light))
        return [Written(Spoken(text="A sentence.").model_dump_json(), None, cut=False) for _ in asked]

    monkeypatch.setattr(Llava, "write", write)
    count = len(explanation(MADE.verdict, MADE.evidence, MADE.contributions))
    for light in (True, False):
        await EmbeddedVision(*tiny, light=light).narrate(MADE.verdict, MADE.evidence, MADE.contributions)
    assert told == [(1, False), (count - 1, True), (1, False), (count - 1, False)]


def test_eight_bits_keep_to_the_form_and_leave_the_look_as_it_is(tiny: tuple[Path, models.Adapter]) -> None:
    base, adapter = tiny
    model = Llava(base, adapter.folder)
    rest: dict[str, Any] = {"watch": "answer", "max_new_tokens": 400, "timeout_s": 60}
    look: dict[str, Any] = rest | {"pictures": [views(np.asarray(picture()))[0].pixels]}
    asked = [look_messages("view:", "the whole picture")]
    before = model.write(asked, form_of(Look), **look)
    spoken = [sentence_messages("[a] no weight", "")]
    (light,) = model.write(spoken, form_of(Look), light=True, **rest)
    (exact,) = model.write(spoken, form_of(Look), **rest)
    assert light.p is not None
    assert exact.p is not None
    assert light.p == pytest.approx(exact.p, abs=0.05)
    assert light.p != exact.p
    assert model.write(asked, form_of(Look), **look) == before

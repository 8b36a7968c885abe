from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from agent.forms import form_of
from agent.llava import Llava
from agent.prompt import Look, look_messages
from evals.artifacts import (
    KINDS,
    LEAST_CHANGE,
    PLACES,
    STRENGTHS,
    Planted,
    Planting,
    Sample,
    photographs,
    plant,
    samples,
)
from evals.planted import KINDS as NAMED
from evals.planted import Claim, LinearProbe, at_one_silence, constant, kept_claims, marks, said, threshold_of
from tests.agent import tiny_llava

SIDE = 224


def textured(seed: int) -> Any:
    """A view with edges and detail everywhere."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(40, 215, (28, 28, 3)).repeat(8, axis=0).repeat(8, axis=1)
    return np.clip(coarse + rng.normal(0, 18, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)


def blurred(rgb: Any) -> Any:
    """In place of an autoencoder: what is fine is lost."""
    return np.asarray(Image.fromarray(rgb).resize((56, 56)).resize((SIDE, SIDE)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cell", [0, 4, 7])
def test_an_artifact_lies_in_its_cell_and_changes_nothing_elsewhere(kind: Planted, cell: int) -> None:
    view = textured(1)
    done = plant(view, kind, cell, 0.8, textured(2), np.random.default_rng(cell), blurred)
    assert done is not None
    pixels, mask = done
    rows, columns = np.nonzero(mask)
    assert int(rows.mean() * 3 / SIDE) * 3 + int(columns.mean() * 3 / SIDE) == cell
    changed = np.abs(pixels.astype(float) - view).max(axis=2)
    assert changed[mask].mean() >= LEAST_CHANGE
    far = np.ones((SIDE, SIDE), bool)
    far[max(0, rows.min() - 12) : rows.max() + 12, max(0, columns.min() - 12) : columns.max() + 12] = False
    assert not changed[far].any()


def test_a_regenerated_region_needs_an_autoencoder(shared: Path) -> None:
    view = textured(1)
    with pytest.raises(ValueError, match="autoencoder"):
        plant(view, "regenerated region", 4, 0.8, view, np.random.default_rng(0))
    items = photographs(shared, "test")[:6]
    for passage, there in ((None, False), (blurred, True)):
        made = samples(items, "test", 2 * len(KINDS), untouched=0.0, passage=passage)
        assert ("regenerated region" in {each.planting.kind for each in made if each.planting}) is there


def test_what_cannot_be_seen_is_not_planted() -> None:
    flat = np.full((SIDE, SIDE, 3), 128, np.uint8)
    assert plant(flat, "over-smooth texture", 4, 1.0, flat, np.random.default_rng(0)) is None


def test_training_and_testing_share_no_strength_and_no_photograph(shared: Path) -> None:
    for low, high in STRENGTHS["train"]:
        assert all(high <= other_low or other_high <= low for other_low, other_high in STRENGTHS["test"])
    mine, theirs = ({item.path.read_bytes() for item in photographs(shared, split)} for split in ("train", "test"))
    assert not mine & theirs


def test_the_same_seed_makes_the_same_views(shared: Path) -> None:
    items = photographs(shared, "test")[:6]
    first, second = (list(samples(items, "test", 6, untouched=0.3, seed=3)) for _ in range(2))
    assert [each.id for each in first] == [each.id for each in second]
    assert all((a.pixels == b.pixels).all() for a, b in zip(first, second, strict=True))
    for each in first:
        if each.planting is not None:
            bands = STRENGTHS["test"]
            assert any(low <= each.planting.strength <= high for low, high in bands)


def seen(kind: Planted | None, place: str = "top") -> Sample:
    mask = np.zeros((SIDE, SIDE), bool)
    planting = None if kind is None else Planting(kind, place, 0.5, mask)
    return Sample("x", np.zeros((SIDE, SIDE, 3), np.uint8), planting, native=False)


def test_marks_count_kind_place_and_silence_apart() -> None:
    views = [seen("warped lines"), seen("warped lines", "left"), seen("colour fringes"), seen(None), seen(None)]
    told = [("warped lines", "top"), ("colour fringes", "left"), None, None, ("warped lines", "top")]
    found = marks(views, told)
    assert (found["kind"]["share"], found["place"]["share"], found["silent"]["share"]) == (0.333, 0.667, 0.5)
    assert constant(views)[0] == ("warped lines", "top")


def test_the_linear_probe_finds_what_is_linear_in_the_tokens() -> None:
    rng = np.random.default_rng(0)
    tokens, truths = [], []
    for number in range(240):
        view = rng.normal(0, 1, (196, 32)).astype(np.float16)
        share = np.zeros(196)
        kind = NAMED[number % 3] if number % 4 else None
        if kind is not None:  # patches 0 to 3 of rows 0 to 3: the top left
            patches = [14 * row + column for row in range(4) for column in range(4)]
            view[patches, number % 3] += 6
            share[patches] = 1
        tokens.append(view)
        truths.append({"made": False, "kind": kind, "share": share.tolist()})
    probe = LinearProbe(np.stack(tokens), truths)
    claims = [probe.claim(tokens[1]), probe.claim(rng.normal(0, 1, (196, 32)))]
    assert said(claims) == [(NAMED[1], PLACES[0]), None]


def test_at_one_silence_who_claims_more_readily_has_no_advantage() -> None:
    views = [seen("warped lines") for _ in range(20)] + [seen(None) for _ in range(20)]
    views = [Sample(f"{number}#0", each.pixels, each.planting, each.native) for number, each in enumerate(views)]
    shy = [Claim(number % 20 / 20 - (number >= 20), "warped lines", "top") for number in range(40)]
    bold = [Claim(each.lean + 5, each.kind, each.place) for each in shy]
    assert sum(each is not None for each in said(bold)) > sum(each is not None for each in said(shy))
    found = at_one_silence(views, shy, bold, 0.9)
    assert found["kind"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    blind = [Claim(each.lean, "colour fringes", "top") for each in shy]
    assert at_one_silence(views, shy, blind, 0.9)["kind"]["low"] > 0.9


def test_what_the_model_leans_to_is_what_it_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evals.planted._LONGEST", 120)  # this model's tokens are bytes
    base, adapter = tiny_llava.make(tmp_path)
    model = Llava(base, adapter.folder)
    planting = Planting("warped lines", "top", 0.5, np.ones((SIDE, SIDE), bool))
    view = Sample("x#0", textured(1), planting, native=False)
    end = int(model.load().processor.tokenizer.convert_tokens_to_ids("]"))
    kept = tmp_path / "claims.json"
    (claim,) = kept_claims(model, [view], "tiny", kept)
    assert kept_claims(None, [view], "tiny", kept) == [claim]  # type: ignore[arg-type] - it is not asked again
    for bias in (-20.0, 20.0):
        assert threshold_of(model, {end: bias}) == bias
        (written,) = model.write(
            [look_messages("view:", "the whole picture")], form_of(Look), pictures=[view.pixels], bias={end: bias},
            max_new_tokens=400, timeout_s=60,
        )  # fmt: skip
        spoke = not written.text.startswith('{"observations":[]')
        assert spoke == (claim.lean > bias) == (bias < 0)
        if spoke:
            assert f'"kind":"{claim.kind}","place":"{claim.place}"' in written.text

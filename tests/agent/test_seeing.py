from __future__ import annotations

import numpy as np
import pytest

from agent import seeing
from agent.prompt import Look
from agent.seeing import Looked
from agent.views import SIDE, View, views
from tests.conftest import encoded, picture
from tools.contract import Region
from tools.errors import ImageError
from tools.image import Limits

SMOOTH = {"kind": "over-smooth texture", "place": "top left", "strength": "moderate"}


def looked(p: float | None, *seen: dict[str, str]) -> Looked:
    return Looked(Look.model_validate({"observations": seen, "answer": "photograph"}), p)


def told(shown: list[View], replies: list[Looked]) -> seeing.Evidence:
    return seeing.evidence_of(shown, replies, version="1", weights={}, ms=1)


def test_the_score_is_that_of_the_whole_and_crops_are_measured() -> None:
    shown = views(np.asarray(picture(1000, 950)))
    replies = [looked(0.3, SMOOTH), *(looked(0.9, SMOOTH) for _ in shown[1:])]
    evidence = told(shown, replies)
    assert (evidence.id, evidence.score, evidence.blind) == ("vision", 0.3, True)
    assert [evidence.measurements[f"p_crop_{index}"] for index in range(5)] == [0.9] * 5
    places = [finding.region.place for finding in evidence.findings if finding.region]
    # the whole view's place is a cell of the grid; a crop's is where the crop lies, whatever the model says of it
    assert places == ["top left", "top left", "top right", "centre", "bottom left", "bottom right"]


def test_without_a_probability_of_every_whole_view_a_look_abstains() -> None:
    shown = views(np.asarray(picture(900, 300)))
    assert len(shown) > 1
    evidence = told(shown, [looked(0.7), *(looked(None, SMOOTH) for _ in shown[1:])])
    assert evidence.score is None
    assert evidence.findings  # what was seen is told all the same


def test_a_part_is_shown_natively_where_it_fits_and_is_never_blind() -> None:
    rgb = np.asarray(picture(1000, 800))
    small = seeing.part(rgb, Region(x0=0.95, y0=0.95, x1=1.0, y1=1.0))
    assert small.native
    assert np.array_equal(small.pixels, rgb[800 - SIDE :, 1000 - SIDE :])
    large = seeing.part(rgb, Region(x0=0.0, y0=0.0, x1=0.6, y1=0.4))
    assert not large.native
    assert large.pixels.shape == (SIDE, SIDE, 3)
    assert large.region is not None
    assert large.region.x1 * 1000 >= 600
    evidence = seeing.evidence_of_part(small, looked(0.9, SMOOTH), version="1", weights={}, ms=1)
    assert not evidence.blind
    assert evidence.id == "vision-bottom-right"


@pytest.mark.parametrize(
    ("masses", "p"),
    [
        ({"generated": 0.27, "gen": 0.03, "photo": 0.7}, 0.3),
        ({"generated": 0.2, "real": 0.6, "": 0.1}, 1.0),
        ({"real": 1.0}, None),
    ],
)
def test_only_the_beginnings_of_answers_count(masses: dict[str, float], p: float | None) -> None:
    found = seeing.share(masses)
    assert found == (None if p is None else pytest.approx(p))


def test_decoding_keeps_to_the_limits() -> None:
    with pytest.raises(ImageError):
        seeing.decoded(encoded(picture(400, 300)), Limits(max_pixels=1000))

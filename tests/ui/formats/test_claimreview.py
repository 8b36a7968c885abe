from __future__ import annotations

import json
from typing import Any, get_args

import jsonschema
import pytest

from agent.verdict import Label
from tests.conftest import ROOT
from tests.ui.formats.conftest import CLAIM, Make
from ui.formats.claimreview import Publisher, markup, wanting

SCHEMA = json.loads((ROOT / "schema" / "claimreview.json").read_text(encoding="utf-8"))
MAPPED = {
    "generated": "TransformedContent",
    "laundered": "TransformedContent",
    "edited": ["TransformedContent", "EditedOrCroppedContent"],
    "authentic": "OriginalMediaContent",
    "no_evidence": None,
    "inconclusive": None,
}


def check(made: dict[str, Any]) -> None:
    jsonschema.validate(made, SCHEMA, format_checker=jsonschema.FormatChecker())


@pytest.mark.parametrize("label", get_args(Label))
async def test_each_label_has_its_category_or_says_why_none(make: Make, label: Label) -> None:
    report = (await make(label)).report
    made = markup(report)
    check(made)
    media = made["associatedMediaReview"]
    assert (made["@type"], media["@type"]) == ("ClaimReview", "MediaReview")
    assert media.get("mediaAuthenticityCategory") == MAPPED[label]
    assert ("No media authenticity category is given" in media["reviewBody"]) == (MAPPED[label] is None)
    assert made["claimReviewed"] == media["itemReviewed"]["interpretedAsClaim"]["text"] == CLAIM.text
    assert "ratingValue" not in made["reviewRating"]
    assert "not the claim" in made["reviewRating"]["ratingExplanation"]
    assert media["itemReviewed"]["mediaItemAppearance"][0]["sha256"] == report.image.sha256


async def test_without_a_claim_there_is_a_media_review_only(make: Make) -> None:
    report = (await make(claim=None)).report
    made = markup(report)
    check(made)
    assert made["@type"] == "MediaReview"
    assert "claim" not in json.dumps(made).lower()
    assert "hand the picture in" in wanting(report, Publisher())[0]


async def test_what_only_a_publisher_knows_is_asked_for_and_put_in(make: Make) -> None:
    report = (await make()).report
    assert len(wanting(report, Publisher())) == 4
    known = Publisher(author="Checkers", author_url="https://checkers.example", url="https://checkers.example/1")
    assert all("missing" not in line for line in wanting(report, known))
    made = markup(report, known)
    check(made)
    assert made["author"] == {"@type": "Organization", "name": "Checkers", "url": "https://checkers.example"}
    assert made["url"] == made["associatedMediaReview"]["url"] == known.url


async def test_the_schema_refuses_what_schema_org_does_not_know(make: Make) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    made = markup((await make("edited")).report)
    media = made["associatedMediaReview"]
    alone = {"@context": "https://schema.org", **media}
    check(alone)
    wrong: list[dict[str, Any]] = [
        {**made, "claimReviewed": ""},
        {**made, "truth": True},
        {key: value for key, value in made.items() if key != "reviewRating"},
        {**made, "associatedMediaReview": {**media, "mediaAuthenticityCategory": "Fake"}},
        {**alone, "mediaAuthenticityCategory": ["OriginalMediaContent", "StagedContent"]},
        {**made, "itemReviewed": {"@type": "Claim", "text": "x", "author": {"@type": "Thing", "name": "y"}}},
        {**made, "datePublished": "yesterday"},
    ]  # fmt: skip
    for change in wrong:
        with pytest.raises(jsonschema.ValidationError):
            check(change)

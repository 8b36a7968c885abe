"""A case as schema.org markup: a MediaReview, inside a ClaimReview where a claim was given. A draft for a person.

Names and value types are those of https://schema.org/ClaimReview, https://schema.org/MediaReview and
https://schema.org/MediaManipulationRatingEnumeration (Schema.org 29, MediaReview pending); `schema/claimreview.json`
holds the shape.
"""

from __future__ import annotations

import json
from typing import Any, Final

from pydantic import Field

from agent.verdict import Label, Report
from tools.contract import Frozen
from ui import words

Markup = dict[str, Any]

CATEGORIES: Final[dict[Label, tuple[str, ...]]] = {
    "generated": ("TransformedContent",),
    "laundered": ("TransformedContent",),
    "edited": ("TransformedContent", "EditedOrCroppedContent"),
    "authentic": ("OriginalMediaContent",),
    "no_evidence": (),
    "inconclusive": (),
}
"""Members of schema.org's MediaManipulationRatingEnumeration for each label. None where the label claims nothing."""

_NO_CATEGORY: Final[dict[Label, str]] = {
    "no_evidence": "No media authenticity category is given: that no sign was found does not show that the picture is "
    "original.",
    "inconclusive": "No media authenticity category is given: the evidence does not settle the question.",
}
_NOT_THE_CLAIM: Final = (
    "This rates the picture, not the claim: whether caption, place, date or context are true was not examined. "
    "A person must rate the claim before this is published."
)


class Publisher(Frozen):
    """Who publishes the review, and where. Nobody can tell that but the publisher.

    Attributes:
        author: Name of the organisation that reviews.
        author_url: Its web address.
        url: Address of the page that the review is published on.
    """

    author: str | None = Field(default=None, min_length=1, max_length=200)
    author_url: str | None = Field(default=None, max_length=2048, pattern=r"^https?://[^\s]+$")
    url: str | None = Field(default=None, max_length=2048, pattern=r"^https?://[^\s]+$")


def markup(report: Report, publisher: Publisher | None = None) -> Markup:
    """The JSON-LD of a case. The same case gives the same markup."""
    publisher = publisher or Publisher()
    media = {"@type": "MediaReview"} | _published(report, publisher) | _media(report)
    if report.claim is None:
        return {"@context": "https://schema.org"} | media
    return (
        {"@context": "https://schema.org", "@type": "ClaimReview"}
        | _published(report, publisher)
        | {
            "claimReviewed": report.claim.text,
            "itemReviewed": _claim(report) | {"appearance": _appearance(report)},
            "reviewRating": {
                "@type": "Rating",
                "alternateName": words.LABELS[report.verdict.label],
                "ratingExplanation": f"{words.headline(report.verdict)} {_NOT_THE_CLAIM}",
            },
            "associatedMediaReview": media,
        }
    )


def text(report: Report, publisher: Publisher | None = None) -> str:
    """The same as JSON text."""
    return json.dumps(markup(report, publisher), ensure_ascii=False, indent=2) + "\n"


def wanting(report: Report, publisher: Publisher) -> list[str]:
    """What a person must add before the markup is published, in sentences."""
    missing = []
    if report.claim is None:
        missing.append(
            "No claim was given with this case, so this is a MediaReview without a ClaimReview: hand the picture in "
            "with the claim that is made about it."
        )
    else:
        missing.append("The rating is of the picture: rate the claim (reviewRating) yourself.")
        if report.claim.claimant is not None:
            missing.append("The claimant is put down as a Person: write Organization where it is one.")
    if publisher.url is None:
        missing.append("The address of your page is missing (url).")
    if publisher.author is None:
        missing.append("Who reviews is missing (author).")
    return missing


def _published(report: Report, publisher: Publisher) -> Markup:
    given: Markup = {"creativeWorkStatus": "Draft", "datePublished": report.created_at.date().isoformat()}
    if publisher.url is not None:
        given["url"] = publisher.url
    if publisher.author is not None:
        given["author"] = {"@type": "Organization", "name": publisher.author} | (
            {"url": publisher.author_url} if publisher.author_url else {}
        )
    return given


def _media(report: Report) -> Markup:
    """The review of the picture itself."""
    verdict = report.verdict
    said = [words.headline(verdict), *words.probabilities(verdict), words.confidence(verdict)]
    if verdict.abstained_because:
        said.append(f"Why it is left open: {verdict.abstained_because}")
    categories = CATEGORIES[verdict.label]
    if not categories:
        said.append(_NO_CATEGORY[verdict.label])
    item: Markup = {"@type": "MediaReviewItem", "mediaItemAppearance": [_appearance(report)]}
    if report.claim is not None:
        item["interpretedAsClaim"] = _claim(report)
    made: Markup = {"itemReviewed": item, "reviewBody": " ".join(said)}
    if categories:
        made["mediaAuthenticityCategory"] = categories[0] if len(categories) == 1 else list(categories)
    return made


def _appearance(report: Report) -> Markup:
    """The file that was examined; its address is where the claim was seen, when that is known."""
    image = report.image
    shown: Markup = {
        "@type": "ImageObject",
        "name": image.path,
        "sha256": image.sha256,
        "contentSize": f"{image.bytes} B",
        "width": {"@type": "QuantitativeValue", "value": image.width, "unitText": "px"},
        "height": {"@type": "QuantitativeValue", "value": image.height, "unitText": "px"},
    }
    if report.claim is not None and report.claim.url is not None:
        shown["url"] = report.claim.url
    return shown


def _claim(report: Report) -> Markup:
    stated = report.claim
    if stated is None:
        return {}
    made: Markup = {"@type": "Claim", "text": stated.text}
    if stated.claimant is not None:
        made["author"] = {"@type": "Person", "name": stated.claimant}
    if stated.date is not None:
        made["datePublished"] = stated.date.isoformat()
    where = {"name": stated.seen, "url": stated.url}
    if any(where.values()):
        made["firstAppearance"] = {"@type": "CreativeWork"} | {name: value for name, value in where.items() if value}
    return made

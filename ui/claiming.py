"""The claim made about a picture, as a form or a command line gives it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from agent.stated import StatedClaim
from tools.errors import CallerError

FIELDS: Final = {
    "claim": "text",
    "claimant": "claimant",
    "claim_date": "date",
    "claim_seen": "seen",
    "claim_url": "url",
}
"""Fields of a form, and what each of them is of a `StatedClaim`."""


def stated(given: Mapping[str, str | None]) -> StatedClaim | None:
    """The claim that the fields of a form tell of; None where all of them are empty.

    Raises:
        ValidationError: where one does not hold, or the text is missing beside the others.
    """
    filled = {name: value for field, name in FIELDS.items() if (value := given.get(field))}
    return StatedClaim.model_validate(filled) if filled else None


def in_form(error: ValidationError) -> list[dict[str, Any]]:
    """The errors under the names that the fields have in a form."""
    names = {name: field for field, name in FIELDS.items()}
    return [
        {**entry, "loc": (names[str(entry["loc"][0])],)} if entry["loc"] else {**entry, "loc": ("claim",)}
        for entry in error.errors()
    ]


def refusal(error: ValidationError) -> CallerError:
    """What is wrong with a claim, for a face that has no fields to point at."""
    names = {name: field for field, name in FIELDS.items()}
    first = error.errors()[0]
    field = names.get(str(first["loc"][0]) if first["loc"] else "text", "claim")
    said = "is missing" if first["type"] == "missing" else f"does not hold: {first['msg']}"
    return CallerError(
        f"The field {field} of the claim {said}.",
        remedy="A claim is a text of at most 2000 characters; beside it claimant and where it was seen (300 each), a "
        "date (2026-01-31) and an address (http or https).",
        code="claim_invalid",
    )

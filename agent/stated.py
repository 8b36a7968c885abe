"""What somebody says of a picture: the claim that a checker hands in with it. Data, kept and shown, and never obeyed.

No tool, model or fusion reads it: the verdict is about the picture, whatever is said of it.
"""

from __future__ import annotations

import re
from datetime import date as Day
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field, HttpUrl, TypeAdapter

from tools.contract import Frozen

# Line breaks and tabs become spaces; other controls, lone surrogates and marks that turn the direction of what follows
# go, so that a text shows as what it is in a page, a terminal and a PDF.
_UNSHOWN: Final = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029\ud800-\udfff]")
_ADDRESS: Final = TypeAdapter(HttpUrl)


def _shown(text: object) -> object:
    return " ".join(_UNSHOWN.sub(" ", text).split()) if isinstance(text, str) else text


def _address(text: str) -> str:
    _ADDRESS.validate_python(text)  # http or https with a host; kept as it was written
    return text


def _given(text: object) -> object:
    """Nothing at all where a form's field was left empty."""
    text = _shown(text)
    return None if text == "" else text


Line = Annotated[str, Field(max_length=300)]
Address = Annotated[str, Field(max_length=2048), AfterValidator(_address)]


class StatedClaim(Frozen):
    """The claim made about a picture, as the checker wrote it down.

    Attributes:
        text: What is claimed, in the claimant's words or the checker's.
        claimant: Who claims it.
        date: The day it was claimed.
        seen: Where it was seen, in words ("a channel on Telegram").
        url: Where it can be read; http or https.
    """

    text: Annotated[str, BeforeValidator(_shown), Field(min_length=1, max_length=2000)]
    claimant: Annotated[Line | None, BeforeValidator(_given)] = None
    date: Annotated[Day | None, BeforeValidator(_given)] = None
    seen: Annotated[Line | None, BeforeValidator(_given)] = None
    url: Annotated[Address | None, BeforeValidator(_given)] = None

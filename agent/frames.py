"""Where an error arose, without what it says: a message can hold what a caller sent (a prompt, an address, a claim)."""

from __future__ import annotations

import traceback
from pathlib import Path


def frames(error: BaseException) -> list[str]:
    """The kinds of an error and of its causes, each with the places it went through, the last raised first."""
    told: list[str] = []
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        places = traceback.extract_tb(cause.__traceback__)
        told += [type(cause).__name__, *(f"{Path(each.filename).name}:{each.lineno} {each.name}" for each in places)]
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return told

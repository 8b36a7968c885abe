"""Pictures of a case for the pages: for the screen, small, and as second looks saw it. Decoded once, kept a while."""

from __future__ import annotations

import asyncio
import io
from collections import OrderedDict
from typing import Annotated, Any, Final, Literal, get_args

from fastapi import APIRouter, Path, Response
from PIL import Image

from agent.service import Explainer
from tools.errors import ImageError, NotFoundError
from tools.image import Limits, SourceImage
from tools.views import DEGRADATIONS, View, show

Kind = Literal["shown", "small", "jpeg70", "half", "crop"]
Kept = dict[Kind, bytes]

_SIDE: Final = 1400
_SMALL: Final = 320
_AT_ONCE: Final = 2
"""Originals that are decoded at a time: each may take hundreds of megabytes."""
_KEPT: Final = 64
"""Pictures that are kept, about 200 kB each."""
_BROWSER: Final = "private, max-age=3600"


def address(case_id: str, kind: Kind = "shown") -> str:
    """Where a picture of a case is found."""
    return f"/pictures/{case_id}/{kind}.webp"


class Pictures:
    """Makes the pictures of a file and keeps those of the last few files.

    Args:
        explainer: Gives the originals.
        limits: Within which an original may be decoded.
    """

    def __init__(self, explainer: Explainer, limits: Limits) -> None:
        self._explainer, self._limits = explainer, limits
        self._made: OrderedDict[str, Kept] = OrderedDict()
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def get(self, case_id: str, kind: Kind) -> bytes:
        """One picture of a case, as WebP.

        Raises:
            NotFoundError: if there is no such case, its original is gone, or it is too small for that view.
        """
        async with self._turn:
            sha256 = (await self._explainer.report(case_id)).image.sha256
            made = self._made.get(sha256)
            if made is None:
                data, facts = await self._explainer.original(case_id)
                made = await asyncio.to_thread(render, data, facts.path, self._limits)
                self._made[sha256] = made
                if len(self._made) > _KEPT:
                    self._made.popitem(last=False)
            self._made.move_to_end(sha256)
        if kind not in made:
            raise NotFoundError("The picture is too small for that view.", code="not_found")
        return made[kind]


def render(data: bytes, name: str, limits: Limits) -> Kept:
    """Every picture of a file that a page may show, upright and without metadata; no view that it is too small for.

    Raises:
        ImageError: as `SourceImage.open`.
    """
    image = SourceImage.open(data, name, limits)
    whole = Image.fromarray(image.rgb)
    made: Kept = {"shown": _webp(whole, _SIDE, 86), "small": _webp(whole, _SMALL, 80)}
    for kind in DEGRADATIONS:
        try:
            made[kind] = _webp(Image.fromarray(show(image, View(kind=kind)).rgb), _SMALL, 80)
        except ImageError:
            continue
    return made


def _webp(picture: Image.Image, side: int, quality: int) -> bytes:
    smaller = picture.copy()
    smaller.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    smaller.save(buffer, "WEBP", quality=quality, method=3)
    return buffer.getvalue()


def router(pictures: Pictures) -> APIRouter:
    """The route that serves them, for the pages alone."""
    made = APIRouter(include_in_schema=False)

    @made.get("/pictures/{case_id}/{kind}.webp")
    async def picture(
        case_id: Annotated[str, Path(max_length=64, pattern=r"^[A-Za-z0-9_-]+$")],
        kind: Annotated[Any, Path(pattern=f"^({'|'.join(get_args(Kind))})$")],
    ) -> Response:
        data = await pictures.get(case_id, kind)
        return Response(data, media_type="image/webp", headers={"Cache-Control": _BROWSER})

    return made

"""Lists as CSV and JSON Lines, written as they are read. No cell of a CSV is taken for a formula."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Final, Literal

from fastapi.responses import StreamingResponse

Kind = Literal["csv", "jsonl"]
_MEDIA: Final[dict[Kind, str]] = {"csv": "text/csv; charset=utf-8", "jsonl": "application/jsonl"}
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a spreadsheet takes for the beginning of a formula, the wide forms of East Asia too."""


def cell(value: object) -> str:
    """A value as the text of a cell; an apostrophe goes before what a spreadsheet would reckon with."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text


def row(values: Iterable[object]) -> str:
    """A line of CSV (RFC 4180)."""
    buffer = io.StringIO()
    csv.writer(buffer).writerow([cell(value) for value in values])
    return buffer.getvalue()


def response(
    kind: Kind, columns: tuple[str, ...], lines: AsyncIterator[Mapping[str, Any]], name: str
) -> StreamingResponse:
    """The list as a download; a CSV holds `columns`, JSON Lines all there is."""

    async def text() -> AsyncIterator[str]:
        if kind == "csv":
            yield row(columns)
        async for line in lines:
            if kind == "csv":
                yield row(line.get(column) for column in columns)
            else:
                yield json.dumps(line, ensure_ascii=False) + "\n"

    return StreamingResponse(
        text(), media_type=_MEDIA[kind], headers={"Content-Disposition": f'attachment; filename="{name}.{kind}"'}
    )

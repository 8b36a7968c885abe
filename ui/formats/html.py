"""A case as one HTML file that stands alone: pictures inside, nothing loaded, no script, light, dark and in print."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ui import overlay, words
from ui.formats import content, proof
from ui.formats.dossier import Dossier

if TYPE_CHECKING:
    from jinja2 import Environment

_HERE: Final = Path(__file__).parent
_FULL_BAR_DB: Final = 20.0

POLICY: Final = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'"
)
"""Content-Security-Policy to serve it under; the file itself carries a stricter one."""


def render(dossier: Dossier) -> str:
    """The page. The same case gives the same text. Everything that is not ours is escaped by the template engine."""
    from markupsafe import Markup

    style = (_HERE / "report.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return _environment().get_template("report.html").render(
        alt=overlay.alt_text(dossier.report), bar=_bar, content=content, data=_data, dossier=dossier, pct=_percent,
        report=dossier.report, report_sha256=proof.report_sha256(dossier), style=Markup(style),  # noqa: S704 (our file)
        style_hash=f"sha256-{digest}", trail=proof.rows(dossier), words=words,
    )  # fmt: skip


def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def _percent(share: float) -> str:
    return f"{min(max(share, 0.0), 1.0) * 100:.1f}%"


def _bar(decibans: float) -> float:
    """How long the bar of a weight is, as a share of the whole width."""
    return min(abs(decibans) / _FULL_BAR_DB, 1.0) / 2


def _data(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"

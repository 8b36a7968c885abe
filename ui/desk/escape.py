"""Escaping for the pages: metadata, file names, prompts and claims are other people's text."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape


def safe(text: object) -> str:
    """Escapes for HTML, and the braces and dollar signs too, which Gradio's page reads as a template."""
    return escape(str(text)).replace("{", "&#123;").replace("}", "&#125;").replace("$", "&#36;").replace("`", "&#96;")


def listed(items: Iterable[object], kind: str = "ul") -> str:
    """A list of texts, each escaped; nothing where there are none."""
    lines = "".join(f"<li>{safe(item)}</li>" for item in items)
    return f"<{kind}>{lines}</{kind}>" if lines else ""


def folded(summary: str, inside: str) -> str:
    """`inside` (HTML) behind a line that opens it; nothing where there is nothing inside."""
    return f"<details><summary>{safe(summary)}</summary>{inside}</details>" if inside else ""

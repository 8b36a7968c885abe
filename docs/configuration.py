"""Writes docs/CONFIGURATION.md from the settings, and docs/METRICS.md from the metrics: `python docs/configuration.py`.

`tests/test_docs.py` fails where the files do not hold what this makes.
"""

from __future__ import annotations

import sys
import types
import typing
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from agent import metrics  # noqa: E402
from agent.settings import Settings  # noqa: E402

NEIGHBOURS = (
    (
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "Where spans are sent, by OTLP over HTTP (usually port 4318); needs `exposit[otel]`.",
    ),
    (
        "OTEL_TRACES_EXPORTER",
        "`otlp`, or `none` to keep spans here; other variables of OpenTelemetry hold as specified.",
    ),
    ("OTEL_SERVICE_NAME", "The name spans are sent under; `exposit` when unset."),
    ("NO_COLOR", "No colours on the terminal, whatever it is set to (as for any program)."),
)
"""Variables that are not ours, and are heeded."""


def configuration() -> str:
    """The reference of the settings."""
    lines = [
        "# Configuration",
        "",
        "<!-- made by: python docs/configuration.py -->",
        "Every setting is an environment variable. One that does not hold ends the command with exit code 3 and its",
        "name. Options of the command line (`--vlm`, `--budget`) come before the environment. `exposit doctor` tells",
        "what is wrong with this machine, and how to mend it.",
        "",
        "| variable | default | values | what it does |",
        "|---|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        about = " ".join((field.description or "").split()).replace("|", "\\|")
        lines.append(f"| `EXPOSIT_{name.upper()}` | {_default(name, field)} | {_values(field)} | {about} |")
    lines += ["", "These are not Exposit's own, and are heeded:", "", "| variable | what it does |", "|---|---|"]
    lines += [f"| `{name}` | {about} |" for name, about in NEIGHBOURS]
    return "\n".join(lines) + "\n"


def _default(name: str, field: Any) -> str:
    if field.default_factory is not None:
        return {"home": "the user's data folder", "cache": "the user's cache folder"}[name]
    if field.default is None:
        return "unset"
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def _values(field: Any) -> str:
    given = [each for each in _alternatives(field.annotation) if each is not type(None)]
    if all(isinstance(each, str) for each in given):
        return ", ".join(f"`{each}`" for each in given)
    (kind,) = given
    words = {
        "str": "text",
        "int": "whole number",
        "float": "number",
        "Path": "path",
        "SecretStr": "secret",
        "bool": "`true`, `false`",
    }
    signs = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    bounds = [
        f"{words_} {getattr(rule, sign)}"
        for rule in field.metadata
        for sign, words_ in signs.items()
        if hasattr(rule, sign)
    ]
    return ", ".join([words[kind.__name__], *bounds])


def _alternatives(annotation: Any) -> list[Any]:
    """The types or literal values that an annotation allows."""
    origin = typing.get_origin(annotation)
    if origin is Literal:
        return list(typing.get_args(annotation))
    if origin in (typing.Union, types.UnionType):
        return [each for part in typing.get_args(annotation) for each in _alternatives(part)]
    return [annotation]


def measured() -> str:
    """The reference of the metrics."""
    lines = [
        "# Metrics",
        "",
        "<!-- made by: python docs/configuration.py -->",
        "`GET /metrics` tells them in the text format of Prometheus, for a key with the scope `read` (none is asked",
        "for on loopback). Counts and seconds are of the process that is asked, and begin anew with it; an",
        "`exposit worker` tells its own at `EXPOSIT_METRICS_ADDRESS`. `exposit_cases` and `exposit_queue_jobs` are",
        "read from the database when the service is asked. No label takes a value that a caller gives.",
        "",
        "```yaml",
        "scrape_configs:",
        "  - job_name: exposit",
        '    authorization: {credentials: "exk_…"}',
        '    static_configs: [{targets: ["127.0.0.1:7860"]}]',
        "```",
        "",
        "| metric | kind | labels | what it tells |",
        "|---|---|---|---|",
    ]
    for each in metrics.families():
        labels = ", ".join(f"`{name}`" for name in each.labels)
        lines.append(f"| `{each.name}` | {each.kind} | {labels} | {each.about} |")
    return "\n".join(lines) + "\n"


MADE = {"CONFIGURATION.md": configuration, "METRICS.md": measured}


def main() -> None:
    """Writes the files."""
    for name, make in MADE.items():
        (ROOT / "docs" / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()

"""The page at /docs: the OpenAPI description as one plain page, without scripts or anything from elsewhere."""

from __future__ import annotations

import json
import re
from html import escape
from typing import Any, Final

_STYLE: Final = """
:root{color-scheme:light dark;--line:#8884;--soft:#8881}
body{font:16px/1.55 system-ui,sans-serif;max-width:56rem;margin:0 auto;padding:1.5rem 1rem 4rem}
h1{margin:.2em 0}h2{margin-top:2.2em;border-top:1px solid var(--line);padding-top:1em}
code,pre{font:.9em ui-monospace,monospace}pre{background:var(--soft);padding:.8em;border-radius:8px;overflow:auto}
table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.35em .6em;
border-bottom:1px solid var(--line)}summary{cursor:pointer;font-weight:600}
.verb{display:inline-block;background:#1d4ed8;color:#fff;border-radius:6px;padding:0 .5em;margin-right:.5em;
font-size:.8em}
"""
_CURL: Final = {
    "explain": (
        "curl -F file=@photo.jpg {base}/v1/explanations\n"
        "curl -H 'Content-Type: application/json' -d '{{\"url\": \"https://example.org/photo.jpg\"}}' "
        "{base}/v1/explanations"
    ),
    "ask": (
        "curl -H 'Content-Type: application/json' -d '{{\"question\": \"Where is it visible?\"}}' "
        "{base}/v1/cases/CASE/questions"
    ),
    "get_map": "curl -o map.png {base}/v1/cases/CASE/maps/SHA256.png",
    "watch_case": "curl -N {base}/v1/cases/CASE/events",
    "create_batch": (
        "curl -F files=@a.jpg -F files=@b.jpg -F budget=quick {base}/v1/batches\n"
        "curl -H 'Content-Type: application/json' -d '{{\"urls\": [\"https://example.org/a.jpg\"]}}' {base}/v1/batches"
    ),
    "review": (
        "curl -H 'Content-Type: application/json' -d "
        '\'{{"kind": "confirm", "reviewer": "Ann", "reason": "Seen."}}\' {base}/v1/cases/CASE/reviews'
    ),
    "purge_case": "curl -X POST {base}/v1/cases/CASE/purge",
}


def page(openapi: dict[str, Any], base: str) -> str:
    """The page for an OpenAPI document; `base` stands in its examples."""
    info = openapi["info"]
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>{escape(info['title'])} API</title><style>{_STYLE}</style>",
        f"<h1>{escape(info['title'])} API {escape(info['version'])}</h1><p>{escape(info['summary'])}</p>",
        f"<p>{_prose(info['description'])}</p>",
        '<p>The same for machines: <a href="/openapi.json">openapi.json</a>. The <a href="/">chat page</a>.</p>',
    ]
    for path, methods in openapi["paths"].items():
        parts += [_operation(path, verb, operation, base) for verb, operation in methods.items()]
    parts.append("<h2>Schemas</h2>")
    for name, schema in sorted(openapi["components"]["schemas"].items()):
        body = escape(json.dumps(schema, indent=2))
        parts.append(f'<details id="{escape(name)}"><summary>{escape(name)}</summary><pre>{body}</pre></details>')
    return "".join(parts)


def _operation(path: str, verb: str, operation: dict[str, Any], base: str) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(entry['name'])}</code><td>{escape(entry['in'])}"
        f"<td>{_prose(entry.get('description') or '')}"
        for entry in operation.get("parameters", ())
    )
    answers = "".join(
        f"<tr><td>{escape(code)}<td>{escape(answer.get('description', ''))}<td>{_models(answer)}"
        for code, answer in sorted(operation["responses"].items())
    )
    curl = _CURL.get(operation["operationId"], f"curl {{base}}{path.replace('{', '{{').replace('}', '}}')}")
    return (
        f'<h2 id="{escape(operation["operationId"])}"><span class="verb">{verb.upper()}</span>'
        f"<code>{escape(path)}</code></h2><p>{_prose(operation.get('description', ''))}</p>"
        + (f"<table><tr><th>Parameter<th>In<th>Meaning{rows}</table>" if rows else "")
        + f"<pre>{escape(curl.format(base=base))}</pre>"
        + f"<table><tr><th>Status<th>Meaning<th>Body{answers}</table>"
    )


def _prose(text: str) -> str:
    """Escaped, with what stands between backticks as code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text))


def _models(answer: dict[str, Any]) -> str:
    names = {
        media["schema"]["$ref"].rpartition("/")[2]
        for media in answer.get("content", {}).values()
        if "$ref" in media.get("schema", {})
    }
    return ", ".join(f'<a href="#{escape(name)}">{escape(name)}</a>' for name in sorted(names))

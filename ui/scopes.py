"""Which scope each call of the API needs. A call that is not named here needs the most: `admin`."""

from __future__ import annotations

import re
from typing import Final

from agent.keys import Scope as Right

CALLS: Final[dict[tuple[str, str], Right]] = {
    ("POST", "/v1/explanations"): "submit",
    ("GET", "/v1/cases"): "read",
    ("GET", "/v1/cases/{case_id}"): "read",
    ("GET", "/v1/cases/{case_id}/events"): "read",
    ("GET", "/v1/cases/{case_id}/maps/{sha256}.png"): "read",
    ("GET", "/v1/cases/{case_id}/report.html"): "read",
    ("GET", "/v1/cases/{case_id}/report.pdf"): "read",
    ("GET", "/v1/cases/{case_id}/claimreview.json"): "read",
    ("GET", "/v1/cases/{case_id}/bundle.zip"): "read",
    ("POST", "/v1/cases/{case_id}/questions"): "submit",
    ("GET", "/v1/cases/{case_id}/reviews"): "read",
    ("POST", "/v1/cases/{case_id}/reviews"): "review",
    ("POST", "/v1/cases/{case_id}/purge"): "admin",
    ("POST", "/v1/batches"): "submit",
    ("GET", "/v1/batches"): "read",
    ("GET", "/v1/batches/{batch_id}"): "read",
    ("GET", "/v1/batches/{batch_id}/results.csv"): "read",
    ("GET", "/v1/batches/{batch_id}/results.jsonl"): "read",
}
_PATTERNS: Final = tuple(
    (method, re.compile("[^/]+".join(re.escape(part) for part in re.split(r"\{\w+\}", path))), right)
    for (method, path), right in CALLS.items()
)


def right(method: str, path: str) -> Right:
    """The scope that a call under `/v1/` needs."""
    asked = "GET" if method == "HEAD" else method
    for known, pattern, scope in _PATTERNS:
        if known == asked and pattern.fullmatch(path):
            return scope
    return "admin"

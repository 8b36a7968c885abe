"""Calling back when a case or a batch has ended: the message, its signature, and when it is tried again."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any, Final

from agent.batches import Batch
from agent.joblog import CaseState
from tools.errors import CallerError

HEADER: Final = "Exposit-Signature"
PAUSES_S: tuple[float, ...] = (10, 60, 300, 1800, 7200, 21600)
"""Seconds before each further attempt; after the last one it is given up, a little over eight hours from the first."""


def of_case(state: CaseState) -> bytes:
    """What is told of a case: how it ended, and no more than is needed to look it up."""
    return _compact(
        {
            "event": f"case.{state.state}",
            "case_id": state.case_id,
            "batch_id": state.batch_id,
            "state": state.state,
            "label": state.report.verdict.label if state.report else None,
            "problem": state.problem.code if state.problem else None,
            "url": f"/v1/cases/{state.case_id}",
        }
    )


def of_batch(batch: Batch) -> bytes:
    """What is told of a batch."""
    return _compact(
        {
            "event": "batch.done",
            "batch_id": batch.id,
            "state": batch.state,
            "counts": batch.counts,
            "url": f"/v1/batches/{batch.id}",
        }
    )


def signature(secret: str, body: bytes, at: int) -> str:
    """The value of the header: the moment (seconds since 1970) and HMAC-SHA256 over moment, a full stop and body."""
    mac = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={mac}"


def no_secret() -> CallerError:
    """The refusal of a callback that could not be signed."""
    return CallerError(
        "This service has no secret to sign callbacks with, so it calls nobody back.",
        remedy="Leave `callback_url` out and ask for the case, or have EXPOSIT_WEBHOOK_SECRET set.",
        code="callback_unsigned",
    )


def _compact(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()

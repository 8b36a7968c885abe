"""What ties a document to the log: the hash of the stored report, and the audit rows that tell of the case."""

from __future__ import annotations

import hashlib

from ui.formats.dossier import Dossier


def report_sha256(dossier: Dossier) -> str:
    """Hash of the report as it was stored; `report_sha256` in the audit trail."""
    return hashlib.sha256(dossier.report_text.encode()).hexdigest()


def rows(dossier: Dossier) -> list[tuple[str, str]]:
    """The audit rows of the case's beginning and end, by number and hash.

    Rows that were added later (questions, reviews) are left out, so that a document of a case stays what it was.
    """
    told = {"case_begun": "Audit row of its beginning", "case_finished": "Audit row of its end"}
    return [(told[row.action], f"{row.seq}: {row.hash}") for row in dossier.audit if row.action in told]

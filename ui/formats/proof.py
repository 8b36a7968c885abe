"""What ties a document to the log: the hash of the stored report, and the audit rows that tell of the case."""

from __future__ import annotations

import hashlib

from ui.formats.dossier import Dossier


def report_sha256(dossier: Dossier) -> str:
    """Hash of the report as it was stored; `report_sha256` in the audit trail."""
    return hashlib.sha256(dossier.report_text.encode()).hexdigest()


def rows(dossier: Dossier) -> list[tuple[str, str]]:
    """The audit rows of the case's beginning and of this report, by number and hash.

    Rows that tell of something else (questions, other reports) are left out, so that a document stays what it was.
    """
    found = []
    for row in dossier.audit:
        if row.action == "case_begun":
            found.append(("Audit row of its beginning", f"{row.seq}: {row.hash}"))
        elif row.action in ("case_finished", "report_revised") and report_sha256(dossier) in row.payload:
            found.append(("Audit row of the report", f"{row.seq}: {row.hash}"))
    return found

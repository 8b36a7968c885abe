"""The rows that are drawn from a report, so that people can query what was found."""

from __future__ import annotations

from collections.abc import Collection

from agent.tables import (
    ArtifactRow,
    Base,
    ContributionRow,
    EvidenceRow,
    ExplanationRow,
    MapRow,
    SentenceRow,
    VerdictRow,
    VersionRow,
)
from agent.verdict import Report


def rows_of(report: Report) -> list[Base]:
    """Everything that is drawn from a report, the case's own row aside."""
    case, verdict, writer = report.case_id, report.verdict, report.explained_by
    low_edited, high_edited = verdict.interval_edited or (None, None)
    rows: list[Base] = [
        VerdictRow(
            case_id=case,
            low=verdict.interval[0],
            high=verdict.interval[1],
            low_edited=low_edited,
            high_edited=high_edited,
            **verdict.model_dump(
                include={"label", "p_generated", "p_edited", "prior", "confidence"}
                | {"decided_by", "abstained_because", "calibration"}
            ),
        ),
        ExplanationRow(case_id=case, **writer.model_dump()),
    ]
    shown = {"detector", "version", "target", "score", "abstained_because", "applicability", "blind", "measurements"}
    for at, item in enumerate(report.evidence):
        findings = [finding.model_dump(mode="json") for finding in item.findings]
        rows.append(
            EvidenceRow(
                case_id=case,
                position=at,
                evidence_id=item.id,
                findings=findings,
                ms=item.ms,
                **item.model_dump(include=shown),
            )
        )
    for at, part in enumerate(report.contributions):
        rows.append(ContributionRow(case_id=case, position=at, **part.model_dump()))
    for at, artifact in enumerate(report.artifacts):
        fields = artifact.model_dump(exclude={"region"}) | artifact.region.model_dump()
        rows.append(ArtifactRow(case_id=case, position=at, **fields))
    sentences = [(s.role, s.text, s.cites, None) for s in report.explanation]
    dropped = [(None, s.text, s.cites, s.because) for s in report.dropped]
    for at, (role, text, cites, because) in enumerate([*sentences, *dropped]):
        rows.append(
            SentenceRow(case_id=case, position=at, role=role, text=text, cites=list(cites), dropped_because=because)
        )
    rows += maps_of(report)
    rows += [VersionRow(case_id=case, component=name, version=v) for name, v in report.versions.items()]
    return rows


def maps_of(report: Report, *, known: Collection[str] = (), start: int = 0) -> list[MapRow]:
    """The rows of a report's maps, less those whose hash is `known`, numbered from `start`."""
    drawn = [(item.id, picture) for item in report.evidence for picture in item.maps if picture.sha256 not in known]
    return [
        MapRow(case_id=report.case_id, position=at, evidence_id=evidence_id, **picture.model_dump())
        for at, (evidence_id, picture) in enumerate(drawn, start)
    ]

"""A whole report to store, hands that go behind the store's back, and a process that stores until it is killed."""

from __future__ import annotations

import asyncio
import hashlib
import sys
import uuid
from datetime import UTC, datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from agent import database
from agent.store import Store
from agent.verdict import (
    Artifact,
    Conflict,
    Contribution,
    DroppedSentence,
    ImageFacts,
    PlanStep,
    Report,
    Sentence,
    Verdict,
    Writer,
)
from tools.contract import Claim, Evidence, Finding, MapRef, Region

HASH = hashlib.sha256(b"a picture").hexdigest()
MAP = hashlib.sha256(b"a map").hexdigest()
BOX = Region(x0=0.1, y0=0.25, x1=1 / 3, y1=0.5)


def sample(case_id: str, *, sha256: str = HASH, name: str = "a.jpg", label: str = "generated") -> Report:
    """A report in which every kind of content occurs, awkward text and numbers among it."""
    peak = Finding(
        text="Peaks every 8.0 px \u2013 \u5f71 \U0001f98a \x00 '); DROP TABLE cases;--",
        polarity="generated",
        severity="strong",
        region=BOX,
        numbers={"period_px": 8.0, "peaks": 3, "strict": True, "tiny": 1e-300, "axis": "x"},
    )
    evidence = (
        Evidence(
            id="frequency",
            detector="frequency",
            version="1",
            target="generated",
            score=0.1 + 0.2,
            findings=(peak,),
            regions=(BOX,),
            maps=(MapRef(name="spectrum", sha256=MAP, caption="Spectrum", width=64, height=64),),
            measurements={"z": 1.0, "a": 2},
            weights={"head": HASH},
            ms=12.5,
        ),
        Evidence(
            id="provenance",
            detector="provenance",
            version="1",
            target="context",
            abstained_because="The file carries no claim.",
            claims=(Claim(source="exif", says="camera", rank="unsigned", prompt="a \x00 prompt"),),
        ),
    )
    verdict = Verdict(
        label=label,  # checked by pydantic
        p_generated=0.9,
        p_edited=None,
        likelihood_ratio={"generated": 9.0},
        prior=0.5,
        interval=(0.8, 0.95),
        interval_edited=None,
        confidence="moderate",
        decided_by="fusion",
        abstained_because=None,
        conflicts=(Conflict(evidence_ids=("frequency", "provenance"), text="They disagree."),),
        not_examined=("Whether the caption is true.",),
        calibration="1:abc",
    )
    return Report(
        case_id=case_id,
        created_at=datetime(2025, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        budget="standard",
        image=ImageFacts(
            path=name, sha256=sha256, bytes=9, width=64, height=48, format="JPEG", mode="RGB", notes=("Upright.",)
        ),
        verdict=verdict,
        evidence=evidence,
        contributions=(Contribution(evidence_id="frequency", target="generated", llr=2.2, decibans=9.5, bucket="q90"),),
        artifacts=(Artifact(kind="grid", text="A grid.", region=BOX, severity="weak", evidence_id="frequency"),),
        explanation=(Sentence(text="It shows peaks.", cites=("frequency",), role="answer"),),
        dropped=(DroppedSentence(text="It has six fingers.", cites=(), because="cites nothing"),),
        explained_by=Writer(kind="template", note="No model."),
        plan=(PlanStep(tool="frequency", run=True, because="cheap", cost=3.0),),
        versions={"frequency": "1", "exposit": "0.1.0"},
        timings={"tools": 3.25, "fuse": 0.1},
    )


async def begin(store: Store, case_id: str, *, name: str = "a.jpg", sha256: str = HASH) -> None:
    """Begins a case for the picture of `sample`."""
    await store.begin_case(case_id, name=name, origin="upload", budget="standard", sha256=sha256, bytes=9)


async def finish(store: Store, case_id: str, *, name: str = "a.jpg", sha256: str = HASH) -> Report:
    """Begins and finishes a case."""
    await begin(store, case_id, name=name, sha256=sha256)
    report = sample(case_id, name=name, sha256=sha256)
    await store.finish_case(report)
    return report


async def sql(url: str, *statements: str) -> None:
    """Changes the database behind the store's back."""
    engine = create_async_engine(database.parse(url))
    async with engine.begin() as connection:
        for statement in statements:
            await connection.execute(text(statement))
    await engine.dispose()


async def _store_for_ever(url: str) -> None:
    store = await Store.open(url)

    async def one_after_another() -> None:
        while True:
            report = await finish(store, uuid.uuid4().hex)
            print(report.case_id, flush=True)  # noqa: T201  # told only once it is recorded

    await asyncio.gather(*(one_after_another() for _ in range(4)))


if __name__ == "__main__":
    asyncio.run(_store_for_ever(sys.argv[1]))

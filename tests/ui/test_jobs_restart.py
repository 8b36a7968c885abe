"""A worker and then the app are killed in the middle of a batch: nothing is lost, nothing is done twice."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.audit import START, Entry, step
from tests.conftest import ROOT, encoded, picture

PICTURES = 7
BODY = [("files", (f"{n}.jpg", encoded(picture(48, 32, seed=n)))) for n in range(PICTURES)]
BODY.append(("files", ("broken.jpg", b"\xff\xd8\xff not much of a JPEG")))
SENT = {"files": BODY, "data": {"budget": "quick", "name": "Monday"}, "headers": {"Idempotency-Key": "monday-1"}}


@contextmanager
def process(home: Path, role: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that is ready, and what it said; whatever is left of it is killed in the end."""
    with subprocess.Popen(
        [sys.executable, "tests/ui/serve_jobs.py", role], cwd=ROOT, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"EXPOSIT_HOME": str(home), "OMP_NUM_THREADS": "1"},
    ) as running:  # fmt: skip
        try:
            assert running.stdout is not None
            yield running, running.stdout.readline().strip()
        finally:
            running.kill()


def until(what: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.1)
    pytest.fail("it did not come to pass in time")


@pytest.mark.timeout(180)
def test_kill_in_mid_batch_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    with process(tmp_path, "app") as (app, address), process(tmp_path, "worker") as (worker, said):
        assert said == "works"
        with httpx.Client(base_url=address, timeout=30) as client:
            answer = client.post("/v1/batches", **SENT)  # type: ignore[arg-type]
            assert answer.status_code == 202, answer.text
            batch = answer.json()["id"]
            place = f"/v1/batches/{batch}"
            assert answer.headers["location"] == place

            def counts() -> dict[str, int]:
                return dict(client.get(place).json()["counts"])

            until(lambda: counts()["running"] == 2)  # one in each process
            worker.send_signal(signal.SIGKILL)
            at = counts()["done"]
            until(lambda: counts()["done"] > at)  # the app goes on
            app.send_signal(signal.SIGKILL)
    with process(tmp_path, "app") as (app, address), httpx.Client(base_url=address, timeout=30) as client:
        again = client.post("/v1/batches", **SENT)  # type: ignore[arg-type]
        assert again.headers["idempotency-replayed"] == "true"
        assert again.json()["id"] == batch
        done = until(lambda: (found := client.get(place).json())["state"] == "done" and found)
        assert done["counts"] == {"queued": 0, "running": 0, "done": PICTURES, "failed": 1}
        assert [each["name"] for each in done["items"]] == [f"{n}.jpg" for n in range(PICTURES)] + ["broken.jpg"]
        assert {each["problem"]["code"] for each in done["items"] if each["problem"]} == {"corrupt"}
        assert len(client.get("/v1/cases").json()["cases"]) == PICTURES + 1
        app.send_signal(signal.SIGTERM)
        assert app.wait(30) == 0
    with sqlite3.connect(tmp_path / "exposit.db") as log:
        rows = [Entry(*row) for row in log.execute(
            "SELECT seq, at, action, case_id, payload, previous, hash FROM audit ORDER BY seq")]  # fmt: skip
        tries = dict(log.execute("SELECT case_id, attempts FROM jobs"))
        left = log.execute("SELECT count(*) FROM workflow_status WHERE status <> 'SUCCESS'").fetchone()
    log.close()
    head = START
    for row in rows:
        head = step(head, row)
    ends = [row.case_id for row in rows if row.action in ("case_finished", "case_failed")]
    assert len(ends) == len(set(ends)) == PICTURES + 1
    assert len([row for row in rows if row.action == "case_begun"]) == PICTURES + 1
    assert len(tries) == PICTURES + 1
    assert max(tries.values()) == 2  # what was cut off was begun once more, and nothing else
    assert sum(tries.values()) <= PICTURES + 1 + 2
    assert left == (0,)

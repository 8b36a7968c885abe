"""The Explainer over real worker processes and a real database: what is promised of a case, whatever happens to it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog

from agent import telemetry
from agent.scripted import ScriptedVision
from agent.service import Explainer, Submission
from agent.settings import Settings
from agent.verdict import Report, Sentence
from tests.conftest import ROOT, encoded, picture
from tools.errors import ImageError, ModelServerError, NotFoundError

FAKES = "tests.agent.fake_tools:"
JPEG = encoded(picture(), "JPEG", quality=90)


@asynccontextmanager
async def opened(home: Path, catalogue: str = "good", **options: Any) -> AsyncIterator[Explainer]:
    settings = Settings(home=home, workers=options.pop("workers", 1), vlm="template", tool_timeout_s=20)
    async with Explainer(settings, catalogue=FAKES + catalogue, warm=False, **options) as explainer:
        yield explainer


async def until_cases(explainer: Explainer, *states: str) -> None:
    """Returns once the cases have just these states; fails after 20 s."""
    async with asyncio.timeout(20):
        while sorted(case.status for case in await explainer.cases()) != sorted(states):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def timeless(report: Report) -> str:
    """A report without its id, its times and the note on earlier cases, which depends on the moment."""
    made = report.model_dump(mode="json", exclude={"case_id", "created_at", "timings", "similar"})
    for item in made["evidence"]:
        del item["ms"]
    return json.dumps(made, sort_keys=True)


async def test_the_same_bytes_give_the_same_report_also_in_parallel(tmp_path: Path) -> None:
    async with opened(tmp_path, workers=2) as explainer:
        given = Submission(data=JPEG, name="../../etc/a.jpg", origin="path")
        reports = await asyncio.gather(*(explainer.explain(given) for _ in range(3)))
        other = await explainer.explain(Submission(data=encoded(picture(seed=7), "PNG"), name="b.png"))
        assert len({timeless(report) for report in reports}) == 1
        assert timeless(other) != timeless(reports[0])
        first = reports[0]
        assert first.image.path == "a.jpg"
        assert str(tmp_path) not in first.model_dump_json()
        assert [item.id for item in first.evidence] == ["bright", "drawer"]
        assert [(each.kind, each.evidence_id) for each in first.artifacts] == [("drawer", "drawer")]
        assert first.explained_by.kind == "template"
        assert first.versions["tool:drawer"] == "1"
        assert (await explainer.map_png(first.evidence[1].maps[0].sha256)).startswith(b"\x89PNG")
        data, facts = await explainer.original(first.case_id)
        assert (data, facts) == (JPEG, first.image)
        assert await explainer.report(first.case_id) == first
        assert [case.status for case in await explainer.cases()] == ["done"] * 4
        assert await explainer.verify_audit() >= 8
        for missing in (explainer.report("none"), explainer.original("none"), explainer.map_png("0" * 64)):
            with pytest.raises(NotFoundError):
                await missing


async def test_a_stream_ends_with_the_report_that_is_stored(tmp_path: Path) -> None:
    async with opened(tmp_path) as explainer:
        events = [event async for event in explainer.stream(Submission(data=JPEG), budget="quick")]
        kinds = [event.kind for event in events]
        assert kinds[0] == "opened"
        assert kinds[-1] == "report"
        assert {"step", "evidence", "verdict", "sentence"} < set(kinds)
        assert len({event.case_id for event in events}) == 1
        report = Report.model_validate(events[-1].data["report"])
        assert report == await explainer.report(events[0].case_id)
        assert report.budget == "quick"
        sentences = [event.text for event in events if event.kind == "sentence"]
        assert sentences == [sentence.text for sentence in report.explanation]


async def test_a_refused_file_is_a_failed_case_with_its_code_and_no_verdict(tmp_path: Path) -> None:
    async with opened(tmp_path) as explainer:
        kinds = []

        async def follow() -> None:
            async for event in explainer.stream(Submission(data=b"no picture at all", name="a.png")):
                kinds.append(event.kind)

        with pytest.raises(ImageError) as caught:
            await follow()
        assert "report" not in kinds
        (case,) = await explainer.cases()
        assert (case.status, case.label, case.p_generated) == ("failed", None, None)
        assert case.error == caught.value.message
        with pytest.raises(NotFoundError, match="it failed"):
            await explainer.report(case.case_id)
        assert (await explainer.explain(Submission(data=JPEG))).verdict.p_generated == pytest.approx(0.5)


async def test_a_client_that_goes_away_does_not_lose_the_case(tmp_path: Path) -> None:
    async with opened(tmp_path, "unhurried") as explainer:
        asking = asyncio.create_task(explainer.explain(Submission(data=JPEG)))
        await asyncio.sleep(0)  # it has begun, and no more
        stream = explainer.stream(Submission(data=encoded(picture(seed=2), "PNG")))
        assert (await anext(stream)).kind == "opened"
        asking.cancel()
        await stream.aclose()  # type: ignore[attr-defined]
        with pytest.raises(asyncio.CancelledError):
            await asking
        await until_cases(explainer, "done", "done")


async def test_closing_waits_for_what_is_running(tmp_path: Path) -> None:
    async with opened(tmp_path, "unhurried") as explainer:
        stream = explainer.stream(Submission(data=JPEG))
        assert (await anext(stream)).kind == "opened"
        await stream.aclose()  # type: ignore[attr-defined]
    async with opened(tmp_path) as explainer:
        assert [case.status for case in await explainer.cases()] == ["done"]


async def test_a_missing_weight_is_told_with_its_remedy(tmp_path: Path) -> None:
    async with opened(tmp_path, "missing") as explainer:
        report = await explainer.explain(Submission(data=JPEG))
        said = {item.id: item.abstained_because for item in report.evidence}
        assert "exposit models pull" in (said["weightless"] or "")
        assert any("weightless" in each for each in report.verdict.not_examined)


async def test_a_tool_without_its_model_is_left_out_with_the_reason(tmp_path: Path) -> None:
    async with opened(tmp_path, "lacking") as explainer:
        report = await explainer.explain(Submission(data=JPEG))
    assert [item.id for item in report.evidence] == ["bright"]
    (step,) = (each for each in report.plan if each.tool == "borrower")
    assert not step.run
    assert f"borrower was left out: {step.because}" in report.verdict.not_examined
    assert "No Stable Diffusion model is configured" in step.because


async def test_questions_are_answered_grounded_and_logged(tmp_path: Path) -> None:
    true = Sentence(text="The texture differs here.", cites=("drawer",))
    false = Sentence(text="The texture of 88 tiles differs.", cites=("drawer",))
    vision = ScriptedVision(reply=(true, false))
    async with opened(tmp_path, vision=vision) as explainer:
        case_id = (await explainer.explain(Submission(data=JPEG))).case_id
        answer = await explainer.ask(case_id, "Where?")
        assert (answer.sentences, answer.dropped) == ((true,), 1)
        assert answer.answered_by.kind == "scripted"
        vision._fails = ModelServerError("The model server went away.")
        answer = await explainer.ask(case_id, "Why?")
        assert answer.answered_by.kind == "template"
        assert "went away" in answer.answered_by.note
        assert answer.sentences
        with pytest.raises(NotFoundError):
            await explainer.ask("none", "Why?")
        messages = await explainer._parts.store.messages(case_id)
        assert [(each.role, each.text) for each in messages[:2]] == [("user", "Where?"), ("assistant", true.text)]
        assert len(messages) == 4


async def test_readiness_names_what_is_not_ready_yet(tmp_path: Path) -> None:
    async with opened(tmp_path) as explainer:
        parts = await explainer.readiness()
        assert set(parts) == {"database", "queue", "workers", "narrator", "calibration"}
        assert parts["workers"].startswith("starting")
        await explainer.until_warm()
        parts = await explainer.readiness()
        assert all(state.split()[0] == "ok" for state in parts.values()), parts


def test_a_process_killed_in_mid_run_loses_no_recorded_case(tmp_path: Path) -> None:
    script = (
        "import asyncio, sys\n"
        "from tests.agent.test_service import *\n"
        "async def main():\n"
        "    async with opened(Path(sys.argv[1]), 'unhurried') as explainer:\n"
        "        print((await explainer.explain(Submission(data=JPEG))).case_id, flush=True)\n"
        "        async for event in explainer.stream(Submission(data=encoded(picture(seed=5), 'PNG'))):\n"
        "            if event.kind == 'step':\n"
        "                print(event.case_id, flush=True)\n"
        "asyncio.run(main())\n"
    )
    service = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert service.stdout is not None
    recorded, cut = (service.stdout.readline().strip() for _ in range(2))
    os.kill(service.pid, signal.SIGKILL)
    service.wait()
    service.stdout.close()

    async def reopen() -> None:
        async with opened(tmp_path) as explainer, opened(tmp_path) as second:
            cases = {case.case_id: case for case in await explainer.cases()}
            assert (cases[recorded].status, cases[cut].status) == ("done", "failed")
            assert "interrupted" in (cases[cut].error or "")
            assert (await explainer.report(recorded)).case_id == recorded
            assert explainer._parts.originals.get(cases[cut].sha256).startswith(b"\x89PNG")
            assert await explainer.verify_audit() == await second.verify_audit() > 0

    asyncio.run(reopen())


async def test_a_name_that_is_no_text_does_not_stop_the_case(tmp_path: Path) -> None:
    async with opened(tmp_path) as explainer:
        for name, kept in (("C:\\pictures\\caf\udce9.jpg", "caf?.jpg"), ("a\0b/", "image"), ("\0", "image")):
            report = await explainer.explain(Submission(data=JPEG, name=name))
            assert report.image.path == kept
            assert await explainer.report(report.case_id) == report


async def test_the_log_names_case_and_image_and_nothing_that_must_not_be_logged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    structlog.reset_defaults()  # whoever came first in this process may have set another level
    async with opened(tmp_path) as explainer:
        report = await explainer.explain(Submission(data=JPEG))
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    (done,) = (line for line in lines if line["event"] == "case_done")
    assert (done["case_id"], done["image"]) == (report.case_id, report.image.sha256)
    guarded = telemetry.guard(None, "", {"data": JPEG, "where": tmp_path, "why": [f"cannot read {tmp_path}/a.bin"]})
    assert guarded == {"data": f"<{len(JPEG)} bytes>", "where": tmp_path.name, "why": ["cannot read a.bin"]}
    assert telemetry.guard(None, "", {"url": "http://127.0.0.1:80/v1/x"})["url"] == "http://127.0.0.1:80/v1/x"


async def test_ctrl_c_does_not_wait_and_leaves_the_case_marked(tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(tmp_path, "hanging") as explainer:
            await explainer.explain(Submission(data=JPEG))

    task = asyncio.create_task(work())
    async with opened(tmp_path) as second:
        await until_cases(second, "running")
        task.cancel()
        async with asyncio.timeout(8):
            with pytest.raises(asyncio.CancelledError):
                await task
        (case,) = await second.cases()
        assert (case.status, "interrupted" in (case.error or "")) == ("failed", True)


async def test_another_service_on_the_same_home_leaves_running_cases_alone(tmp_path: Path) -> None:
    async with opened(tmp_path, "unhurried") as explainer:
        asking = asyncio.create_task(explainer.explain(Submission(data=JPEG)))
        await until_cases(explainer, "running")
        async with opened(tmp_path) as second:
            assert [case.status for case in await second.cases()] == ["running"]
        assert (await asking).verdict

"""What OpenAPI says is what the service does: requests made from its description, good and bad, over a real Explainer.

schemathesis writes the requests; seeds are fixed, so that a run today is the same run tomorrow.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from agent.service import Explainer
from agent.settings import Settings
from tests.conftest import encoded, picture
from tests.ui.fakes import FakeExplainer
from ui.api import create_app

CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance,
    response_headers_conformance, unsupported_method, allow_header_conformance,
]  # fmt: skip
EXAMPLES, OF_KNOWN = 10, 2
"""Requests to each operation and mode; that many are made about something that is there, too."""
JPEG = encoded(picture(64, 48))


@contextlib.contextmanager
def listening(home: Path) -> Iterator[str]:
    """A service in a thread of its own, over real workers and a real database; its address."""
    told: dict[str, str] = {}
    up, end = threading.Event(), threading.Event()

    async def run() -> None:
        set_up = Settings(home=home, workers=1, vlm="template", max_upload_mb=1, log_level="error", rate="9999/second")
        async with Explainer(set_up, catalogue="tests.agent.fake_tools:good", warm=False) as explainer:
            config = uvicorn.Config(
                create_app(set_up, explainer, chat=False), host="127.0.0.1", port=0, log_config=None, lifespan="off"
            )
            server = uvicorn.Server(config)
            server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
            serving = asyncio.create_task(server.serve())
            while not server.started:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            told["address"] = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
            up.set()
            await asyncio.to_thread(end.wait)
            server.should_exit = True
            await serving

    thread = threading.Thread(target=asyncio.run, args=(run(),), name="served")
    thread.start()
    try:
        assert up.wait(60), "the service did not come up"
        yield told["address"]
    finally:
        end.set()
        thread.join(60)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The address of a service, and what it knows: a case and a map."""
    with listening(tmp_path_factory.mktemp("home")) as address:
        sent = {"file": ("photo.jpg", JPEG)}
        report = httpx.post(f"{address}/v1/explanations", files=sent, timeout=60).raise_for_status().json()
        maps = [each["sha256"] for item in report["evidence"] for each in item["maps"]]
        batch = httpx.post(f"{address}/v1/batches", files={"files": ("photo.jpg", JPEG)}, timeout=60).raise_for_status()
        yield {
            "address": address, "case_id": report["case_id"], "sha256": maps[0],
            "batch_id": batch.headers["location"].rpartition("/")[2],
        }  # fmt: skip


DESCRIBED = schemathesis.openapi.from_dict(create_app(Settings(), FakeExplainer(Settings()), chat=False).openapi())
OPERATIONS = {found.ok().label: found.ok() for found in DESCRIBED.get_all_operations()}
ASKS = [
    pytest.param(label, mode, id=f"{label} ({mode.value})")
    for label, operation in OPERATIONS.items()
    for mode in GenerationMode
    if mode is GenerationMode.POSITIVE or operation.path_parameters or operation.query or operation.body
]
"""Each operation with requests that keep to its description, and, where it takes anything, with such as do not."""


def test_every_operation_is_asked() -> None:
    told = DESCRIBED.raw_schema["paths"]
    assert len(OPERATIONS) == sum(len(methods) for methods in told.values()) > 10
    assert len(ASKS) >= 2 * len(OPERATIONS) - 3


@pytest.mark.parametrize(("label", "mode"), ASKS)
def test_the_service_answers_as_it_is_described(label: str, mode: GenerationMode, known: dict[str, str]) -> None:
    statuses: set[int] = set()
    asked: list[schemathesis.Case] = []

    def check(case: schemathesis.Case) -> None:
        response = case.call(base_url=known["address"], timeout=30)
        case.validate_response(response, checks=CHECKS)
        statuses.add(response.status_code)

    @settings(
        max_examples=EXAMPLES, derandomize=True, deadline=None, database=None, phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=OPERATIONS[label].as_strategy(generation_mode=mode))
    def answers(case: schemathesis.Case) -> None:
        check(case)
        there = {name: known[name] for name in case.path_parameters or {}}
        if there and len(asked) < OF_KNOWN:
            asked.append(case)
            case.path_parameters = there
            check(case)
        if mode is GenerationMode.POSITIVE and isinstance(case.body, dict) and "file" in case.body:
            case.body["file"] = JPEG
            check(case)

    answers()
    if mode is GenerationMode.POSITIVE:
        assert statuses & {200, 201, 202, 204}, f"nothing that was sent was taken: {statuses}"


@pytest.mark.parametrize(
    ("before", "status"),
    [
        ("0001-01-01T00:00:00%2B23:00", 400),
        ("9999-12-31T23:59:59-23:00", 400),
        ("2026-01-01T00:00:00", 400),
        ("1e30", 422),
        ("0", 200),
        ("2026-01-01T00:00:00Z", 200),
    ],
)
def test_times_at_the_edge_of_the_calendar(before: str, status: int, known: dict[str, str]) -> None:
    answer = httpx.get(f"{known['address']}/v1/cases?before={before}")
    assert answer.status_code == status, answer.text

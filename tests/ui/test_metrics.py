"""What Prometheus reads: every number moves with what it counts, and no label takes a value that a caller chooses."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent import metrics
from agent.scripted import ScriptedVision
from agent.service import Explainer
from agent.settings import Settings
from tests.conftest import encoded, picture
from tests.ui.test_keys import bearer
from tools.errors import ConfigurationError, TryAgainError
from ui.api import create_app

JPEG = encoded(picture(64, 48))


@pytest.fixture
async def explainer(tmp_path: Path) -> AsyncIterator[Explainer]:
    settings = Settings(home=tmp_path, workers=1, vlm="template", log_level="error")
    catalogue = "tests.agent.fake_tools:bad"
    async with Explainer(settings, catalogue=catalogue, vision=ScriptedVision(), warm=False) as made:
        yield made


@pytest.fixture
async def client(explainer: Explainer) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(explainer.settings, explainer, chat=False, guarded=True)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=60) as made:
        made.headers.update(bearer((await explainer.keys.create("all", ["admin"]))[1]))
        yield made


async def told(client: httpx.AsyncClient) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=1.0.0")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_what_happens_is_counted(
    client: httpx.AsyncClient, explainer: Explainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.workers.QUICK_TIMEOUT_S", 0.5)
    before = await told(client)

    async def moved(name: str, **labels: str) -> float:
        key = (name, tuple(sorted(labels.items())))
        return (await told(client)).get(key, 0) - before.get(key, 0)

    sent = {"file": ("a.jpg", JPEG)}
    report = (await client.post("/v1/explanations", files=sent, data={"budget": "quick"})).json()
    assert (await client.post("/v1/explanations", files={"file": ("b.jpg", JPEG[:200])})).status_code == 422
    case = report["case_id"]
    for path in (case, "none", "x" * 60, "%2e%2e"):
        await client.get(f"/v1/cases/{path}")
    await client.get(f"/v1/nothing/{case}")
    await client.request("BREW", "/v1/cases")
    await client.get("/v1/cases", headers={"Authorization": ""})

    assert await moved("exposit_evidence_total", tool="bright", outcome="spoke") == 1
    assert await moved("exposit_evidence_total", tool="raiser", outcome="abstained") == 1
    assert await moved("exposit_tool_seconds_count", tool="bright") == 1
    assert await moved("exposit_node_seconds_count", node="fuse") >= 1
    assert await moved("exposit_node_seconds_count", node="tool") >= 2
    assert await moved("exposit_case_seconds_count", outcome="done") == 1
    assert await moved("exposit_case_seconds_count", outcome="failed") == 1
    assert await moved("exposit_tool_worker_restarts_total") >= 2  # after the sleeper and the quitter
    posted = {"method": "POST", "route": "/v1/explanations"}
    assert await moved("exposit_http_requests_total", **posted, status="200") == 1
    assert await moved("exposit_http_requests_total", **posted, status="422") == 1
    assert await moved("exposit_http_request_seconds_count", **posted) == 2
    read = {"method": "GET", "route": "/v1/cases/{case_id}"}
    assert await moved("exposit_http_requests_total", **read, status="200") == 1
    assert await moved("exposit_http_requests_total", **read, status="404") == 2
    assert await moved("exposit_http_requests_total", method="GET", route="unknown", status="404") == 1
    assert await moved("exposit_http_requests_total", method="GET", route="refused", status="401") == 1
    now = await told(client)
    assert now["exposit_cases", (("label", report["verdict"]["label"]), ("state", "done"))] == 1
    assert now["exposit_cases", (("label", ""), ("state", "failed"))] == 1
    assert now["exposit_database_up", ()] == 1
    assert now["exposit_model_up", (("kind", "own"),)] == 1
    assert any(name == "exposit_info" for name, _ in now)
    assert not [labels for _, labels in now if any(case in value or "x" * 60 in value for _, value in labels)]


async def test_a_queue_tells_its_depth_and_a_database_that_is_gone_is_told(explainer: Explainer) -> None:
    async def depth() -> dict[str, int]:
        return {"waiting": 3, "running": 1}

    async def gone() -> dict[str, int]:
        raise TryAgainError("The database does not answer.")

    now = (await metrics.exposition(explainer._parts, depth)).decode()
    assert 'exposit_queue_jobs{state="waiting"} 3.0' in now
    assert 'exposit_queue_jobs{state="running"} 1.0' in now
    now = (await metrics.exposition(explainer._parts, gone)).decode()
    assert "exposit_database_up 0.0" in now
    assert "exposit_queue_jobs{" not in now


async def test_it_lies_behind_the_keys(client: httpx.AsyncClient, explainer: Explainer) -> None:
    for scope, status in (("read", 200), ("admin", 200), ("submit", 403), ("review", 403)):
        _, key = await explainer.keys.create(scope, [scope])  # type: ignore[list-item]
        assert (await client.get("/metrics", headers=bearer(key))).status_code == status
    answer = await client.get("/metrics", headers={"Authorization": ""})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_labels_are_few_and_known() -> None:
    told = {name for family in metrics.families() for name in family.labels}
    assert told <= {"node", "tool", "outcome", "method", "route", "status", "state", "label", "kind", "version"}


def test_a_worker_tells_its_own_at_an_address_of_its_own() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigurationError, match="EXPOSIT_METRICS_ADDRESS"), metrics.listening(address):
            pass
    with metrics.listening(address):
        assert "exposit_case_seconds" in httpx.get(f"http://{address}/metrics").text
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://{address}/metrics")
    with metrics.listening(None):
        pass

"""What leaves the process: no path, secret, image byte, prompt or query of an address in logs and spans."""

from __future__ import annotations

import http.server
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import structlog
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from PIL.PngImagePlugin import PngInfo

from agent import telemetry, tracing
from agent.service import Explainer
from agent.settings import Settings
from tests.conftest import ROOT, encoded, picture
from tools.errors import ConfigurationError
from ui.api import create_app
from ui.fetch import FetchRules

MARK = "Zq9canary"
"""Stands in everything that must not be seen outside."""


@pytest.fixture
def afresh() -> Iterator[None]:
    """Logging as in a process of its own; afterwards as it was. A uvicorn that ran here before has set up its own."""
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []
    theirs = [logging.getLogger(name) for name in ("uvicorn", "uvicorn.error")]
    were = [(each.level, each.propagate, each.handlers) for each in theirs]
    for each in theirs:
        each.setLevel(logging.NOTSET)
        each.propagate, each.handlers = True, []
    before = structlog.get_config() if structlog.is_configured() else None
    structlog.reset_defaults()
    yield
    root.handlers = handlers
    for each, (level, propagate, kept) in zip(theirs, were, strict=True):
        each.setLevel(level)
        each.propagate, each.handlers = propagate, kept
    structlog.reset_defaults()
    if before is not None:
        structlog.configure(**before)


@pytest.fixture(scope="session")
def exporter() -> InMemorySpanExporter:
    """Takes every span of the process. A provider can be set once, so that one that stands is used."""
    kept = InMemorySpanExporter()
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    return kept


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> InMemorySpanExporter:
    exporter.clear()
    return exporter


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("/home/someone/secret/a.jpg is wrong", "a.jpg is wrong"),
        ("see https://example.org/a/b.jpg?token=abc#x now", "see https://example.org/a/b.jpg?… now"),
        ("postgresql+asyncpg://me:pass@host/db", "postgresql+asyncpg://…@host/db"),
        ("key exk_0123456789ab_" + "s" * 43, "key exk_0123456789ab_…"),
        ("Authorization: Bearer abcdefgh12345678", "Authorization: Bearer …"),
        (Path("/somewhere/inside/a.jpg"), "a.jpg"),
        (b"\xff\xd8\xff", "<3 bytes>"),
        ({"deep": ["/srv/data/x.db"]}, {"deep": ["x.db"]}),
    ],
)
def test_what_must_not_be_logged_is_replaced(given: object, kept: object) -> None:
    told = telemetry.guard(None, "info", {"event": given})["event"]
    assert told == kept
    assert "someone" not in str(told)


async def test_nothing_hostile_reaches_logs_or_spans(
    tmp_path: Path, afresh: None, spans: InMemorySpanExporter, capfd: pytest.CaptureFixture[str]
) -> None:
    """Names, keys, addresses, recipes, claims and questions that all carry a mark; then logs and spans are searched."""
    said = PngInfo()
    said.add_text("parameters", f"{MARK} prompt\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 7, Size: 512x384")
    recipe = encoded(picture(64, 48), "PNG", pnginfo=said)

    async def refuse(host: str, port: int) -> list[str]:
        return ["10.0.0.1"]

    home = tmp_path / f"{MARK}-home"
    settings = Settings(home=home, workers=1, vlm="template", log_level="debug")
    telemetry.configure("debug")
    async with Explainer(settings, catalogue="tests.agent.fake_tools:good", warm=False) as explainer:
        _, key = await explainer.keys.create(MARK, ["admin"])
        app = create_app(
            settings, explainer, chat=False, guarded=True, rules=FetchRules(max_bytes=1000, resolve=refuse)
        )
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=30) as client:
            client.headers["Authorization"] = f"Bearer {key}"
            form = {"claim": f"{MARK} claim", "claim_url": f"https://example.org/?q={MARK}"}
            file = {"file": (f"../{MARK}/{MARK}.png", recipe)}
            report = (await client.post("/v1/explanations", files=file, data=form)).json()
            assert report["verdict"]["label"]
            broken = {"file": (f"{MARK}.jpg", recipe[:200] + MARK.encode())}
            assert (await client.post("/v1/explanations", files=broken)).status_code == 422
            asked = {"question": f"{MARK}? /etc/{MARK}/x", "region": {"x0": 0.1, "y0": 0.1, "x1": 0.5, "y1": 0.5}}
            await client.post(f"/v1/cases/{report['case_id']}/questions", json=asked)
            decision = {"kind": "confirm", "reviewer": MARK, "reason": MARK}
            assert (await client.post(f"/v1/cases/{report['case_id']}/reviews", json=decision)).status_code == 200
            url = f"http://user-{MARK}.example/{MARK}.jpg?token={MARK}#{MARK}"
            assert (await client.post("/v1/explanations", json={"url": url})).status_code == 422
            assert (await client.get(f"/v1/cases?sha256={MARK}&key={MARK}")).status_code == 422
            assert (await client.get(f"/v1/{MARK}?x={MARK}")).status_code == 404
            wrong = {"Authorization": f"Bearer exk_000000000000_{MARK}{'x' * 34}"}
            assert (await client.get("/v1/cases", headers=wrong)).status_code == 401

            async def break_(*_: object, **__: object) -> None:
                raise RuntimeError(f"/srv/{MARK}/db?{MARK} and https://a.example/?token={MARK} Bearer {key}")

            explainer.history = break_  # type: ignore[method-assign, assignment]
            assert (await client.get("/v1/cases")).status_code == 500
    logged = capfd.readouterr().err
    lines = [json.loads(line) for line in logged.splitlines()]  # each line is JSON, and nothing else is written
    assert {"case_done", "case_failed", "unforeseen error"} <= {line["event"] for line in lines}
    assert all(line["image"] == report["image"]["sha256"] for line in lines if line["event"] == "case_done")
    leaks = [line for line in logged.splitlines() if MARK in line]
    assert leaks == []
    assert key not in logged
    made = [span.to_json() for span in spans.get_finished_spans()]
    names = {span.name for span in spans.get_finished_spans()}
    assert {"case", "tool:bright", "fuse", "narrate", "POST /v1/explanations", "GET unknown"} <= names
    assert [span for span in made if MARK in span or key in span or str(ROOT) in span] == []
    by_id = {span.context.span_id: span for span in spans.get_finished_spans() if span.context}
    case = next(span for span in by_id.values() if span.name == "case")
    assert case.parent is not None
    assert by_id[case.parent.span_id].name == "POST /v1/explanations"
    tool = next(span for span in by_id.values() if span.name == "tool:bright")
    assert tool.context is not None
    assert case.context is not None
    assert tool.context.trace_id == case.context.trace_id


def test_what_libraries_log_is_told_without_what_they_failed_on(
    afresh: None, capfd: pytest.CaptureFixture[str]
) -> None:
    telemetry.configure("info")
    try:
        raise ValueError(f"{MARK} in a message")
    except ValueError:
        logging.getLogger("uvicorn.error").exception("Exception in ASGI application of /srv/%s/app", "inside")
    told = json.loads(capfd.readouterr().err)
    assert (told["event"], told["logger"], told["error"]) == ("library", "uvicorn.error", "ValueError")
    assert told["message"] == "Exception in ASGI application of app"


# -- spans over the wire ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "otlp"}, False),
    ],
)
def test_when_spans_are_sent(monkeypatch: pytest.MonkeyPatch, given: dict[str, str], asked: bool) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert tracing.asked_for() is asked


@pytest.mark.parametrize(
    "given",
    [{"OTEL_TRACES_EXPORTER": "zipkin"}, {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}],
)
def test_what_cannot_be_sent_is_said(monkeypatch: pytest.MonkeyPatch, given: dict[str, str]) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        tracing.asked_for()
    assert caught.value.remedy


def test_spans_leave_by_the_variables_of_opentelemetry(tmp_path: Path) -> None:
    """A program of its own, and a collector that takes what it sends."""
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra `otel` is not installed")
    taken: list[tuple[str, bytes]] = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector) as collector:
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        program = "from agent import telemetry\ntelemetry.configure()\nwith telemetry.step('fuse', {}): pass\n"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        environment |= {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "none", "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
        }  # fmt: skip
        subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, check=True, timeout=60)
        collector.shutdown()
    assert [path for path, _ in taken] == ["/v1/traces"]
    assert all(word in taken[0][1] for word in (b"fuse", b"exposit", b"deployment.environment.name"))


def test_a_span_that_fails_tells_its_kind_alone(spans: InMemorySpanExporter) -> None:
    def fail() -> None:
        with telemetry.span("fails"):
            raise ValueError(MARK)

    with pytest.raises(ValueError, match=MARK):
        fail()
    (span,) = (each for each in spans.get_finished_spans() if each.name == "fails")
    assert (span.status.status_code, span.status.description, span.events) == (
        trace.StatusCode.ERROR, "ValueError", (),
    )  # fmt: skip

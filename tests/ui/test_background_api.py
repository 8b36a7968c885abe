"""The API of what is examined in the background, over the real Explainer with small tools."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute
from pydantic import SecretStr

from agent.service import Explainer
from agent.settings import Settings
from tests.conftest import ROOT, encoded, picture
from tests.ui.test_api import refused
from ui import scopes, sheets
from ui.api import create_app
from ui.fetch import FetchRules
from ui.web import Web

JPEG = encoded(picture(64, 48))
ASYNC = {"Prefer": "respond-async"}
REVIEW = {"kind": "confirm", "reviewer": "Ann", "reason": "Seen."}


async def nowhere(host: str, port: int) -> list[str]:
    raise OSError("no network in tests")


@asynccontextmanager
async def serving(
    home: Path, *, guarded: bool = False, rules: FetchRules | None = None, working: bool = True, **given: Any
) -> AsyncIterator[tuple[httpx.AsyncClient, Explainer]]:
    settings = Settings(home=home, workers=1, vlm="template", **{"budget": "quick", **given})
    rules = rules or FetchRules(max_bytes=2**20, resolve=nowhere)
    outside = Web(settings, rules) if working else None
    catalogue = "tests.agent.fake_tools:good"
    async with Explainer(settings, catalogue=catalogue, warm=False, eager=False, outside=outside) as explainer:
        app = create_app(settings, explainer, chat=False, rules=rules, guarded=guarded)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=60) as client:
            yield client, explainer


async def upload(client: httpx.AsyncClient, name: str = "a.jpg", data: bytes = JPEG, **more: Any) -> httpx.Response:
    headers = more.pop("headers", None)
    return await client.post("/v1/explanations", files={"file": (name, data)}, data=more, headers=headers)


def parted(stream: str) -> list[dict[str, str]]:
    """Server-sent events by their fields."""
    blocks = [block for block in stream.split("\n\n") if block and not block.startswith(":")]
    return [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]  # type: ignore[misc]


async def test_examined_in_the_background_and_watched(tmp_path: Path) -> None:
    async with serving(tmp_path) as (client, _):
        answer = await upload(client, headers=ASYNC)
        assert answer.status_code == 202, answer.text
        assert answer.headers["preference-applied"] == "respond-async"
        place = answer.headers["location"]
        assert place == f"/v1/cases/{answer.json()['case_id']}"
        assert answer.json()["state"] == "queued"
        watched = await client.get(f"{place}/events")
        assert watched.headers["content-type"].startswith("text/event-stream")
        events = parted(watched.text)
        kinds = [event["event"] for event in events]
        assert kinds[-1] == "done"
        assert kinds.index("evidence") < kinds.index("verdict") < kinds.index("sentence")
        assert [int(event["id"]) for event in events[:-1]] == list(range(1, len(events)))
        assert json.loads(events[0]["data"])["text"] == "Decoding the picture."
        case = (await client.get(place)).json()
        assert case["state"] == "done"
        assert json.loads(events[-1]["data"])["label"] == case["report"]["verdict"]["label"]
        late = parted((await client.get(f"{place}/events", headers={"Last-Event-ID": events[-2]["id"]})).text)
        assert [event["event"] for event in late] == ["done"]
        drawn = case["report"]["evidence"][1]["maps"][0]["sha256"]
        assert (await client.get(f"{place}/maps/{drawn}.png")).content.startswith(b"\x89PNG")
        thorough = await upload(client, budget="thorough")
        assert thorough.status_code == 202
        broken = (await upload(client, data=b"no picture", headers=ASYNC)).headers["location"]
        last = json.loads(parted((await client.get(f"{broken}/events")).text)[-1]["data"])
        assert (last["state"], last["problem"]["code"]) == ("failed", "not_an_image")
        assert (await client.get(broken)).json()["problem"]["code"] == "not_an_image"
        at_once = await upload(client)
        assert at_once.status_code == 200
        short = parted((await client.get(f"/v1/cases/{at_once.json()['case_id']}/events")).text)
        assert [event["event"] for event in short] == ["done"]
        refused(await client.get("/v1/cases/none/events"), 404, "not_found")
        purged = await client.post(f"{place}/purge")
        assert purged.json()["cases"] == 1
        refused(await client.get(f"{place}/maps/{drawn}.png"), 410, "purged")
        assert (await client.get(f"{place}/report.html")).status_code == 200


async def test_a_batch_and_its_sheets(tmp_path: Path) -> None:
    async with serving(tmp_path, max_upload_mb=1) as (client, _):
        files = [
            ("files", ("=HYPERLINK(1).jpg", JPEG)), ("files", ("b.jpg", b"no picture")),
            ("files", ("c.jpg", b"")), ("files", ("d.jpg", b"x" * (2**20 + 1))),
        ]  # fmt: skip
        sent: dict[str, Any] = {"files": files, "data": {"name": "Monday"}, "headers": {"Idempotency-Key": "k"}}
        made = await client.post("/v1/batches", **sent)
        assert made.status_code == 202, made.text
        place = made.headers["location"]
        again = await client.post("/v1/batches", **sent)
        assert (again.headers["location"], again.headers["idempotency-replayed"]) == (place, "true")
        refused(await client.post("/v1/batches", **sent | {"files": files[:2]}), 422, "idempotency_reused")
        by_url = {"urls": ["http://nowhere.example/a.jpg", "ftp://example.org/b.jpg", "http://127.0.0.1/c.jpg"]}
        links = (await client.post("/v1/batches", json=by_url)).headers["location"]
        async with asyncio.timeout(60):
            for each in (place, links):
                while (await client.get(each)).json()["state"] != "done":  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
        items = (await client.get(place)).json()["items"]
        assert [(item["state"], (item["problem"] or {}).get("code")) for item in items] == [
            ("done", None), ("failed", "not_an_image"), ("failed", "empty_file"), ("failed", "file_too_large"),
        ]  # fmt: skip
        wrong = [item["problem"]["code"] for item in (await client.get(links)).json()["items"]]
        assert wrong == ["host_not_found", "url_scheme", "address_refused"]
        sheet = await client.get(f"{place}/results.csv")
        assert sheet.headers["content-type"] == "text/csv; charset=utf-8"
        rows = list(csv.DictReader(io.StringIO(sheet.text)))
        assert [row["name"] for row in rows] == ["'=HYPERLINK(1).jpg", "b.jpg", "c.jpg", "d.jpg"]
        assert [row["code"] for row in rows] == ["", "not_an_image", "empty_file", "file_too_large"]
        lines = [json.loads(line) for line in (await client.get(f"{place}/results.jsonl")).text.splitlines()]
        assert (lines[0]["name"], lines[0]["label"]) == ("=HYPERLINK(1).jpg", rows[0]["label"])
        history = await client.get("/v1/cases", params={"format": "csv", "state": "done"})
        (row,) = csv.DictReader(io.StringIO(history.text))
        assert (row["name"], row["status"], row["case_id"]) == ("'=HYPERLINK(1).jpg", "done", items[0]["case_id"])
        everything = await client.get("/v1/cases", params={"format": "jsonl"})
        assert [json.loads(line)["error_code"] for line in everything.text.splitlines()] == ["not_an_image", None]
        listed = (await client.get("/v1/batches")).json()["batches"]
        assert [(each["name"], each["items"]) for each in listed] == [("", []), ("Monday", [])]
        refused(await client.post("/v1/batches", json={"urls": []}), 422, "invalid_request")
        refused(await client.post("/v1/batches", data={"name": "x"}, files={"file": JPEG}), 400, "no_file")
        refused(await client.post("/v1/batches", content=b"{}"), 415, "unsupported_media_type")
        refused(await client.get("/v1/batches/none"), 404, "not_found")
        refused(await client.get("/v1/batches/none/results.csv"), 404, "not_found")
        refused(await client.get("/v1/cases", params={"format": "csv", "cursor": "x"}), 400, "bad_cursor")


async def test_sent_again_and_again(tmp_path: Path) -> None:
    async with serving(tmp_path) as (client, _):
        key = {"Idempotency-Key": "one"}
        first = await upload(client, headers=key)
        again = await upload(client, headers=key)
        assert (first.status_code, again.status_code) == (200, 200)
        assert again.json() == first.json()
        assert "idempotency-replayed" not in first.headers
        refused(await upload(client, headers=key, data=encoded(picture(64, 48, seed=1))), 422, "idempotency_reused")
        refused(await upload(client, headers=key | ASYNC), 422, "idempotency_reused")
        refused(await upload(client, headers={"Idempotency-Key": "a b"}), 400, "idempotency_invalid")
        failed = {"Idempotency-Key": "two"}
        for _ in range(2):  # what came to nothing is done anew
            refused(await upload(client, data=b"no", headers=failed), 415, "not_an_image")
        waiting = [await upload(client, headers=ASYNC | {"Idempotency-Key": "three"}) for _ in range(2)]
        assert waiting[0].json() == waiting[1].json()
        place = f"/v1/cases/{first.json()['case_id']}/reviews"
        said = [await client.post(place, json=REVIEW, headers={"Idempotency-Key": "four"}) for _ in range(2)]
        assert said[0].json() == said[1].json()
        assert len((await client.get(place)).json()) == 1
        assert len((await client.get("/v1/cases")).json()["cases"]) == 4


async def test_a_callback_is_signed_and_leads_nowhere_private(tmp_path: Path) -> None:
    received: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        received.append(head + await reader.readexactly(length))
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def here(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    hook = f"http://hook.example:{port}/x"
    open_rules = FetchRules(max_bytes=2**20, ports=frozenset({port}), allowed=lambda _: True, resolve=here)
    secret = SecretStr("s" * 32)
    async with server, serving(tmp_path / "a", rules=open_rules, webhook_secret=secret) as (client, _):
        made = await upload(client, callback_url=hook)
        assert made.status_code == 202
        async with asyncio.timeout(30):
            while not received:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        head, _, body = received[0].partition(b"\r\n\r\n")
        assert head.startswith(b"POST /x HTTP/1.1")
        assert f"host: hook.example:{port}".encode() in head.lower()
        assert b"exposit-signature: t=" in head.lower()
        assert json.loads(body)["case_id"] == made.json()["case_id"]
    closed = FetchRules(max_bytes=2**20, resolve=here)
    with pytest.raises(Exception, match="not on the public internet"):  # a name that leads inside, when it is called
        await Web(Settings(), closed).post("http://hook.example/x", b"{}", {})
    async with serving(tmp_path / "b", rules=closed, webhook_secret=secret, working=False) as (client, _):
        for url, status, code in (
            ("http://127.0.0.1/x", 422, "address_refused"), ("http://[::1]/x", 422, "address_refused"),
            ("http://hook.example:8080/x", 400, "url_port"), ("file:///etc/passwd", 400, "url_scheme"),
            ("http://me:pass@hook.example/", 400, "url_credentials"), ("http://2130706433/", 400, "url_invalid"),
        ):  # fmt: skip
            refused(await upload(client, callback_url=url), status, code)
            batch = {"urls": ["http://a.example/"], "callback_url": url}
            refused(await client.post("/v1/batches", json=batch), status, code)
        assert (await client.get("/v1/cases")).json()["cases"] == []
    async with serving(tmp_path / "c", working=False) as (client, _):
        refused(await upload(client, callback_url="http://hook.example/"), 400, "callback_unsigned")


async def test_who_asks_too_often_is_told_when(tmp_path: Path) -> None:
    async with serving(tmp_path, rate="3/minute", max_queue=1, guarded=True, working=False) as (client, explainer):
        keys = [(await explainer.keys.create(name, ["read", "submit"]))[1] for name in ("Ann", "Ben")]
        one, other = ({"Authorization": f"Bearer {key}"} for key in keys)
        for _ in range(3):
            assert (await client.get("/v1/cases", headers=one)).status_code == 200
        answer = await client.get("/v1/cases", headers=one)
        refused(answer, 429, "rate_limited")
        assert 0 < int(answer.headers["retry-after"]) <= 60
        assert (await client.get("/healthz")).status_code == 200
        assert (await upload(client, headers=other | ASYNC)).status_code == 202
        full = await upload(client, headers=other | ASYNC)
        refused(full, 503, "queue_full")
        assert int(full.headers["retry-after"]) > 0


def walked(routes: Iterable[Any]) -> Iterator[APIRoute]:
    """The routes, those of included routers too."""
    for route in routes:
        if isinstance(route, APIRoute):
            yield route
        elif (inner := getattr(route, "original_router", None)) is not None:
            yield from walked(inner.routes)


def test_every_call_names_its_scope() -> None:
    settings = Settings()
    app = create_app(settings, Explainer(settings), chat=False)
    found = {
        (method, route.path)
        for route in walked(app.routes)
        if route.path.startswith("/v1/") and route.path != "/v1/{rest:path}"  # which says that nothing is there
        for method in route.methods
    }
    assert found == set(scopes.CALLS)


def test_every_call_is_shown_in_the_guide() -> None:
    guide = (ROOT / "docs" / "API.md").read_text(encoding="utf-8")
    for _, path in scopes.CALLS:
        shown = path.format(case_id="CASE", batch_id="BATCH", sha256="SHA256")
        assert shown in guide or shown.rpartition("/")[2] in guide, path


async def test_each_call_is_shut_to_a_key_without_its_scope(tmp_path: Path) -> None:
    async with serving(tmp_path, guarded=True, working=False) as (client, explainer):
        secrets = {name: (await explainer.keys.create(name, [name]))[1] for name in ("read", "submit", "review")}
        everything = (await explainer.keys.create("admin", ["admin"]))[1]
        for (method, template), right in scopes.CALLS.items():
            path = template.format(case_id="none", batch_id="none", sha256="0" * 64)
            for name, secret in secrets.items():
                answer = await client.request(method, path, headers={"Authorization": f"Bearer {secret}"})
                if name == right:
                    assert answer.status_code not in (401, 403), (method, path, name)
                else:
                    assert right in refused(answer, 403, "key_scope")["detail"], (method, path, name)
            answer = await client.request(method, path, headers={"Authorization": f"Bearer {everything}"})
            assert answer.status_code not in (401, 403, 500), (method, path)


def test_cells_are_never_formulas() -> None:
    for text in ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1", "\uff1d1"):
        assert sheets.cell(text).startswith("'"), text
    assert [sheets.cell(value) for value in ("a=b", 0.25, None, True, "")] == ["a=b", "0.25", "", "true", ""]
    assert sheets.row(["a,b", 'say "x"', "=x"]) == '"a,b","say ""x""",\'=x\r\n'

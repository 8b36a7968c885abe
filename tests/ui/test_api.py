from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import jsonschema
import pytest
from structlog.testing import capture_logs

from agent import telemetry
from agent.settings import Settings
from tests.conftest import encoded, picture
from tests.ui.fakes import MAP, MAP_SHA, FakeExplainer
from tools import errors
from ui.api import create_app
from ui.fetch import FetchRules

JPEG = encoded(picture(64, 48))
SETTINGS = Settings(max_upload_mb=1)


async def nowhere(host: str, port: int) -> list[str]:
    raise OSError("no network in tests")


@pytest.fixture
def fake() -> FakeExplainer:
    return FakeExplainer(SETTINGS)


@pytest.fixture
async def client(fake: FakeExplainer) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(SETTINGS, fake, chat=False, rules=FetchRules(max_bytes=1000, resolve=nowhere))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as made:
        yield made


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["code"]) == (status, code), body
    assert answer.headers["content-type"] == "application/problem+json"
    assert body["status"] == status
    assert body["type"] == f"urn:exposit:problem:{code}"
    assert body["title"]
    assert body["detail"].endswith((".", "?"))
    return body


async def upload(client: httpx.AsyncClient, data: bytes = JPEG, name: str = "a.jpg", **fields: str) -> httpx.Response:
    return await client.post("/v1/explanations", files={"file": (name, data)}, data=fields)


async def test_a_file_is_explained(client: httpx.AsyncClient, fake: FakeExplainer) -> None:
    answer = await upload(client, name="../../x/photo.jpg", budget="quick")
    assert answer.status_code == 200
    body = answer.json()
    assert body["image"]["path"] == "photo.jpg"
    assert body["verdict"]["label"] == "generated"
    assert body["budget"] == "quick"
    assert fake.seen[0].data == JPEG
    assert fake.seen[0].origin == "upload"
    again = await client.get(f"/v1/cases/{body['case_id']}")
    assert again.json()["report"] == body
    assert (again.json()["state"], again.json()["problem"]) == ("done", None)


async def test_stakes_reach_the_examiner(client: httpx.AsyncClient, fake: FakeExplainer) -> None:
    await upload(client)
    await upload(client, stakes="high")
    assert fake.stakes == ["ordinary", "high"]
    refused = await upload(client, stakes="enormous")
    assert refused.status_code == 422
    assert refused.json()["code"] == "invalid_request"


async def test_history_maps_and_questions(client: httpx.AsyncClient) -> None:
    cases = [(await upload(client, name=f"{n}.jpg")).json()["case_id"] for n in range(3)]
    page = (await client.get("/v1/cases", params={"limit": 2})).json()
    assert [case["case_id"] for case in page["cases"]] == [cases[2], cases[1]]
    page = (await client.get("/v1/cases", params={"limit": 2, "cursor": page["next_cursor"]})).json()
    assert [case["case_id"] for case in page["cases"]] == [cases[0]]
    assert page["next_cursor"] is None
    assert (await client.get("/v1/cases", params={"label": "authentic"})).json()["cases"] == []
    drawn = await client.get(f"/v1/cases/{cases[0]}/maps/{MAP_SHA}.png")
    assert (drawn.content, drawn.headers["content-type"]) == (MAP, "image/png")
    said = await client.post(f"/v1/cases/{cases[0]}/questions", json={"question": "Where?"})
    assert said.json()["sentences"][0]["cites"] == ["patch"]


async def test_health(client: httpx.AsyncClient, fake: FakeExplainer) -> None:
    assert (await client.get("/healthz")).json() == {"status": "alive"}
    assert (await client.get("/readyz")).json()["status"] == "ready"
    fake.parts["database"] = "cannot be opened"
    answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["parts"]["database"] == "cannot be opened"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.ImageError("Too big.", code="file_too_large"), 413),
        (errors.ImageError("Too big.", code="too_many_pixels"), 413),
        (errors.ImageError("A bomb.", code="decompression_bomb"), 413),
        (errors.ImageError("A PDF.", code="unsupported_format"), 415),
        (errors.ImageError("Text.", code="not_an_image"), 415),
        (errors.ImageError("Cut off.", code="truncated"), 422),
        (errors.NotFoundError("Nothing."), 404),
        (errors.CallerError("No."), 400),
    ],
)
async def test_errors_of_the_caller(
    client: httpx.AsyncClient, fake: FakeExplainer, error: errors.ExpositError, status: int
) -> None:
    error.remedy = "Do something else."
    fake.fails = error
    body = refused(await upload(client), status, error.code)
    assert (body["detail"], body["remedy"]) == (error.message, error.remedy)


async def test_try_again_says_when(client: httpx.AsyncClient, fake: FakeExplainer) -> None:
    fake.fails = errors.WorkerError("A worker died.")
    answer = await upload(client)
    refused(answer, 503, "worker")
    assert int(answer.headers["retry-after"]) > 0


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigurationError("/secret/path is wrong.", remedy="Mend /secret/path."), "configuration"),
        (RuntimeError("/secret/path"), "internal"),
    ],
)
async def test_what_is_inside_stays_inside(
    client: httpx.AsyncClient, fake: FakeExplainer, error: Exception, code: str
) -> None:
    fake.fails = error
    telemetry.configure()  # else what is captured leaves structlog configured as it is by default: to standard output
    with capture_logs() as logs:
        answer = await upload(client)
    body = refused(answer, 500, code)
    assert "secret" not in answer.text
    assert body["id"] in body["remedy"]
    assert [entry["id"] for entry in logs] == [body["id"]]


async def test_bytes_that_are_no_picture(client: httpx.AsyncClient) -> None:
    refused(await upload(client, b""), 422, "empty_file")
    refused(await upload(client, b"x" * (2**20 + 1)), 413, "file_too_large")


async def test_an_upload_without_an_end_is_cut_off(client: httpx.AsyncClient) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
        while sent < 100:
            sent += 1
            yield b"x" * 2**16

    answer = await client.post(
        "/v1/explanations", content=endless(), headers={"Content-Type": "multipart/form-data; boundary=b"}
    )
    refused(answer, 413, "file_too_large")
    assert sent < 20


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        ({"content": b"{}", "headers": {"Content-Type": "text/plain"}}, 415, "unsupported_media_type"),
        ({"content": JPEG, "headers": {"Content-Type": "multipart/form-data"}}, 400, "bad_form"),
        ({"data": {"budget": "quick"}, "files": {"other": ("a.jpg", JPEG)}}, 400, "no_file"),
        ({"data": {"budget": "endless"}, "files": {"file": ("a.jpg", JPEG)}}, 422, "invalid_request"),
        ({"content": b"{nonsense", "headers": {"Content-Type": "application/json"}}, 422, "invalid_request"),
        ({"json": {"link": "http://example.org/"}}, 422, "invalid_request"),
        ({"json": {"url": ""}}, 422, "invalid_request"),
        ({"json": {"url": "x" * 100_000}}, 413, "body_too_large"),
        ({"json": {"url": "ftp://example.org/"}}, 400, "url_scheme"),
        ({"json": {"url": "http://2130706433/"}}, 400, "url_invalid"),
        ({"json": {"url": "http://[::ffff:127.0.0.1]/"}}, 422, "address_refused"),
        ({"json": {"url": "http://nowhere.example/"}}, 422, "host_not_found"),
    ],
)
async def test_requests_that_are_refused(
    client: httpx.AsyncClient, fake: FakeExplainer, request_: dict[str, Any], status: int, code: str
) -> None:
    refused(await client.post("/v1/explanations", **request_), status, code)
    assert fake.seen == []


async def test_addresses_that_are_wrong(client: httpx.AsyncClient) -> None:
    refused(await client.get("/v1/cases/unknown"), 404, "not_found")
    refused(await client.get("/v1/cases/a%20b"), 422, "invalid_request")
    known = (await upload(client)).json()["case_id"]
    refused(await client.get(f"/v1/cases/{known}/maps/{'0' * 64}.png"), 404, "not_found")
    refused(await client.get(f"/v1/cases/{known}/maps/abc.png"), 422, "invalid_request")
    refused(await client.get("/v1/cases", params={"limit": 0}), 422, "invalid_request")
    refused(await client.post("/v1/cases/unknown/questions", json={"question": "?"}), 404, "not_found")
    refused(await client.post("/v1/cases/unknown/questions", json={"question": ""}), 422, "invalid_request")
    refused(await client.get("/v1/nothing"), 404, "not_found")
    wrong = await client.get("/v1/explanations")
    refused(wrong, 405, "method_not_allowed")
    assert wrong.headers["allow"] == "POST"


async def test_security_headers_and_other_sites(client: httpx.AsyncClient, fake: FakeExplainer) -> None:
    answer = await client.get("/v1/cases", headers={"Origin": "https://evil.example"})
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    assert not [name for name in answer.headers if name.startswith("access-control-")]
    posted = await client.post(
        "/v1/explanations", files={"file": ("a.jpg", JPEG)}, headers={"Sec-Fetch-Site": "cross-site"}
    )
    refused(posted, 403, "cross_site")
    assert fake.seen == []


async def test_openapi_and_its_page(client: httpx.AsyncClient) -> None:
    described = (await client.get("/openapi.json")).json()
    assert set(described["paths"]) == {
        "/v1/explanations", "/v1/cases", "/v1/cases/{case_id}", "/v1/cases/{case_id}/questions",
        "/v1/cases/{case_id}/reviews", "/healthz", "/readyz", "/metrics", "/v1/batches",
        *(f"/v1/cases/{{case_id}}/{name}" for name in ("report.html", "report.pdf", "claimreview.json", "bundle.zip")),
        *(f"/v1/cases/{{case_id}}/{name}" for name in ("events", "purge", "maps/{sha256}.png")),
        *(f"/v1/batches/{{batch_id}}{name}" for name in ("", "/results.csv", "/results.jsonl")),
    }  # fmt: skip
    body = described["paths"]["/v1/explanations"]["post"]["requestBody"]["content"]
    assert set(body) == {"multipart/form-data", "application/json"}
    assert body["application/json"]["schema"]["examples"]
    page = (await client.get("/docs")).text
    assert "curl -F file=@photo.jpg" in page
    assert not re.search(r"<script|(src|href)=.https?:", page)


async def test_the_answer_is_what_openapi_says(client: httpx.AsyncClient) -> None:
    described = (await client.get("/openapi.json")).json()
    schema = {"$ref": "#/components/schemas/Report", "components": described["components"]}
    jsonschema.validate((await upload(client)).json(), schema)

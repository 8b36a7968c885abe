"""The load harness tells what a service loses, doubles and refuses."""

from __future__ import annotations

import hashlib
import re
from collections import Counter

import httpx
import pytest

from evals import load
from evals.load import Load, Tally, table


class Service(httpx.AsyncBaseTransport):
    """A service that keeps cases in memory, and does to every third picture what `wrong` says."""

    def __init__(self, wrong: str = "") -> None:
        self.wrong, self.cases, self.asked = wrong, Counter[str](), 0
        self.keys: dict[str, str] = {}
        self.failed: set[str] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET" and request.url.path == "/v1/cases":
            known = request.url.params["sha256"]
            states = ["failed"] * (known in self.failed) + ["done"] * self.cases[known]
            return httpx.Response(200, json={"cases": [{"status": state} for state in states]})
        if request.method == "GET":
            return httpx.Response(200, json={"state": "done"})
        self.asked += 1
        body = await request.aread()
        pictures = re.findall(rb"Content-Type: image/jpeg\r\n\r\n(.*?)\r\n--", body, re.DOTALL)
        assert pictures
        turn = self.asked % 3 == 0
        if turn and self.wrong == "busy":
            return httpx.Response(429, headers={"Retry-After": "0"}, json={"code": "rate_limited"})
        if turn and self.wrong == "error":
            return httpx.Response(500, json={"code": "internal"})
        if turn and self.wrong == "broken" and request.headers["idempotency-key"] not in self.keys:
            self.keys[request.headers["idempotency-key"]] = ""
            self.failed |= {hashlib.sha256(each).hexdigest() for each in pictures}
            raise httpx.ReadError("the connection broke")
        for picture in pictures:
            self.cases[hashlib.sha256(picture).hexdigest()] += (
                {"lose": 0, "double": 2}.get(self.wrong, 1) if turn else 1
            )
        waits = "batches" in request.url.path or request.headers.get("prefer") == "respond-async"
        return httpx.Response(202 if waits else 200, headers={"Location": "/v1/there"}, json={})


async def run(service: Service, *modes: str) -> Tally:
    made = Load("http://test", clients=3, seconds=0.4, modes=modes or ("sync",), transport=service)
    await made.run()
    return made.tally(*await made.walk(), ["exposit serve"] if service.wrong == "broken" else [])


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "_SETTLE_S", 0.0)
    monkeypatch.setattr(load, "_SIDE", 32)


@pytest.mark.parametrize("modes", [("sync",), ("async",), ("batch",), load.MODES])
async def test_a_sound_service_holds(modes: tuple[str, ...]) -> None:
    service = Service()
    told = await run(service, *modes)
    assert told.holds
    assert told.verdicts == told.pictures == sum(service.cases.values()) > 0
    assert set(told.seconds) == set(modes)
    assert set(service.cases.values()) == {1}
    assert "lost 0, doubled 0" in table(told)


@pytest.mark.parametrize("wrong", ["lose", "double", "error"])
async def test_a_service_that_fails_is_told_of(wrong: str) -> None:
    told = await run(Service(wrong))
    assert not told.holds
    assert (told.lost > 0, told.doubled > 0, bool(told.errors)) == (
        wrong == "lose", wrong == "double", wrong == "error",
    )  # fmt: skip


async def test_a_busy_service_is_asked_again_and_that_is_no_error() -> None:
    told = await run(Service("busy"))
    assert told.holds
    assert told.answers["429"] > 0
    assert told.verdicts == told.pictures


async def test_a_request_that_broke_off_is_sent_again_under_its_own_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "_BROKEN_S", 0.01)
    service = Service("broken")
    told = await run(service)
    assert told.verdicts == told.pictures > 2
    assert (told.lost, told.doubled) == (0, 0)  # what was cut off stands in the log as failed, and once as done
    assert service.keys

"""Keys: what each opens, who is turned away, and what the log keeps of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.datastructures import Headers

from agent.keys import Key, Keys
from agent.service import Decision, Review
from agent.settings import Settings
from agent.store import Store
from tests.conftest import encoded, picture
from tests.ui.fakes import FakeExplainer
from tests.ui.test_api import refused
from tools.errors import ConfigurationError, NotFoundError
from ui.api import create_app
from ui.keys import needed, presented, required
from ui.server import serve

FILE = {"file": ("a.jpg", encoded(picture(64, 48)))}


class Guarded(FakeExplainer):
    """A fake with real keys."""

    def __init__(self, store: Store) -> None:
        super().__init__(Settings())
        self._store = store

    @property
    def keys(self) -> Keys:
        return self._store.keys

    async def review(self, case_id: str, decision: Decision) -> Review:
        raise NotFoundError("There is no such case.")


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Guarded]:
    store = await Store.open(f"sqlite:///{tmp_path / 'log.db'}")
    yield Guarded(store)
    await store.close()


@pytest.fixture
async def client(guarded: Guarded) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(guarded.settings, guarded, chat=False, guarded=True))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as made:
        yield made


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


async def test_each_scope_opens_its_own_and_no_more(client: httpx.AsyncClient, guarded: Guarded) -> None:
    secrets = {name: (await guarded.keys.create(name, [name]))[1] for name in ("read", "submit", "review", "admin")}
    review = {"kind": "confirm", "reviewer": "Ann", "reason": "Seen."}
    for name, text in secrets.items():
        answers = {
            "read": await client.get("/v1/cases", headers=bearer(text)),
            "submit": await client.post("/v1/explanations", files=FILE, headers=bearer(text)),
            "review": await client.post("/v1/cases/none/reviews", json=review, headers=bearer(text)),
            "admin": await client.delete("/v1/cases/none", headers=bearer(text)),
        }
        for right, answer in answers.items():
            if name in (right, "admin"):
                assert answer.status_code not in (401, 403), (name, right)
            else:
                assert right in refused(answer, 403, "key_scope")["detail"]
    assert len(guarded.seen) == 2  # by submit and admin; a refused request reached nothing


async def test_without_a_good_key_nothing_is_open_but_health(client: httpx.AsyncClient, guarded: Guarded) -> None:
    made, text = await guarded.keys.create("Ann", ["read"])
    answer = await client.get("/v1/cases")
    refused(answer, 401, "key_needed")
    assert answer.headers["www-authenticate"] == 'Bearer realm="Exposit"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    swapped, other = text.swapcase(), "exk_" + "0" * 12 + text[16:]
    for wrong in (text[:-1], text + "x", swapped, other, text.replace("_", "-", 1), "x", "é"):
        sent = {"Authorization": f"Bearer {wrong}".encode()}
        refused(await client.get("/v1/cases", headers=sent), 401, "key_unknown")
    for path in ("/healthz", "/readyz", "/openapi.json", "/docs"):
        assert (await client.get(path)).status_code == 200
    refused(await client.get("/"), 401, "key_needed")
    page = await client.get("/review?case=a", headers={"Accept": "text/html"})
    assert (page.status_code, page.headers["location"]) == (303, "/key?to=%2Freview%3Fcase%3Da")
    assert (await client.get("/v1/cases", headers=bearer(text))).status_code == 200
    kept = {"Cookie": f"exposit_key={text}"}
    assert (await client.get("/v1/cases", headers=kept)).status_code == 200
    refused(await client.get("/v1/cases", headers=kept | bearer("x")), 401, "key_unknown")
    await guarded.keys.revoke(made.id)
    refused(await client.get("/v1/cases", headers=bearer(text)), 401, "key_unknown")


def holding(folder: Path, secret: bytes) -> list[Path]:
    """The files that have `secret` in them."""
    return [path for path in folder.iterdir() if secret in path.read_bytes()]


async def test_the_log_keeps_hashes_and_tells_no_secret(guarded: Guarded, tmp_path: Path) -> None:
    made, text = await guarded.keys.create(" Ann ", ["submit", "read"])
    other, _ = await guarded.keys.create("Ben", ["admin"])
    assert (made.name, made.scopes) == ("Ann", ("read", "submit"))
    assert await guarded.keys.find(text) == made
    revoked = await guarded.keys.revoke(made.id)
    assert revoked.revoked_at is not None
    assert (await guarded.keys.revoke(made.id)).revoked_at == revoked.revoked_at
    assert await guarded.keys.list() == [revoked, other]
    assert isinstance(other, Key)
    with pytest.raises(NotFoundError):
        await guarded.keys.revoke("nothing")
    assert not holding(tmp_path, text[17:].encode())


async def test_a_service_that_others_reach_does_not_start_open(guarded: Guarded) -> None:
    with pytest.raises(ConfigurationError, match="none has been made"):
        await serve(guarded.settings, guarded, "0.0.0.0", 0, say=print)
    made, _ = await guarded.keys.create("Ann", ["read"])
    await guarded.keys.revoke(made.id)
    with pytest.raises(ConfigurationError, match="none has been made"):
        await serve(guarded.settings, guarded, "::", 0, say=print)


@pytest.mark.parametrize(
    ("keys", "host", "asked"),
    [
        ("auto", "127.0.0.1", False),
        ("auto", "127.9.9.9", False),
        ("auto", "::1", False),
        ("auto", "localhost", False),
        ("auto", "0.0.0.0", True),
        ("auto", "::", True),
        ("auto", "192.168.1.5", True),
        ("auto", "host.example", True),
        ("on", "127.0.0.1", True),
        ("off", "0.0.0.0", False),
    ],
)
def test_when_keys_are_asked_for(keys: str, host: str, asked: bool) -> None:
    assert required(Settings(keys=keys), host) is asked  # type: ignore[arg-type]


def test_what_is_not_known_needs_most() -> None:
    assert needed("POST", "/v1/anything") == needed("DELETE", "/v1/cases/a") == ("admin",)
    assert needed("POST", "/v1/cases/a/b/questions") == ("admin",)
    assert needed("GET", "//v1/cases") == needed("POST", "/gradio_api/x") == ("read",)
    assert presented(Headers({"Authorization": "Basic bWU6a2V5"})) is None
    assert presented(Headers({"Cookie": "exposit_key="})) is None
    assert presented(Headers()) is None

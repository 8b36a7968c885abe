"""`exposit doctor`: each thing that can be wrong is said with what mends it, and nothing is started unasked."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.settings import Settings
from agent.store import Store
from tools.provenance import trust
from ui import doctor
from ui.doctor import Check, examine


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    return Settings(home=home, cache=tmp_path / "cache", vlm="template")


@pytest.fixture(autouse=True)
def _no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fine(_: Settings) -> Check:
        return Check("worker", "ok", "starts")

    monkeypatch.setattr(doctor, "_worker", fine)


async def told(settings: Settings, part: str) -> Check:
    found = [check for check in await examine(settings) if check.part == part]
    return next((check for check in found if check.state != "ok"), found[0])


async def test_what_is_in_order_is_said_to_be(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("an Explainer was made, though nobody asked for --deep")

    monkeypatch.setattr("agent.service.Explainer", never)
    checks = await examine(settings)
    assert [check for check in checks if check.state == "bad"] == []
    assert {"python", "database", "clock", "worker", "narrator", "keys", "trust list", "traces"} <= {
        check.part for check in checks
    }
    assert all(check.remedy for check in checks if check.state != "ok")


async def test_each_fault_has_its_remedy(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    away = settings.model_copy(update={"database_url": _secret("postgresql://me:secret@127.0.0.1:9/none")})
    check = await told(away, "database")
    assert (check.state, "secret" in check.detail) == ("bad", False)
    check = await told(settings.model_copy(update={"keys": "off"}), "keys")
    assert check.state == "note"
    check = await told(settings.model_copy(update={"keys": "on"}), "keys")
    assert (check.state, "exposit keys create" in check.remedy) == ("bad", True)
    monkeypatch.setattr("agent.serving.interpreter", lambda: None)
    check = await told(settings.model_copy(update={"vlm": "served"}), "narrator")
    assert (check.state, "make vllm" in check.remedy) == ("bad", True)
    settings.home.chmod(0o755)
    check = await told(settings, "EXPOSIT_HOME")
    assert (check.state, "chmod" in check.remedy) == ("note", True)
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin")
    assert (await told(settings, "traces")).state == "bad"
    own = tmp_path / "own.pem"
    own.write_text((trust.SHIPPED / "signers.pem").read_text())
    old = (datetime.now(UTC) - timedelta(days=400)).timestamp()
    os.utime(own, (old, old))
    check = await told(settings.model_copy(update={"trust_list": own}), "trust list")
    assert (check.state, "400 days" in check.detail) == ("note", True)


async def test_a_clock_that_is_behind_the_log_is_told(settings: Settings) -> None:
    store = await Store.open(settings.sqlalchemy_url)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    await store.begin_case(
        "future", name="a.jpg", origin="path", budget="quick", sha256="0" * 64, bytes=1, created_at=tomorrow
    )
    await store.close()
    assert (await told(settings, "clock")).state == "bad"


def test_the_date_of_the_shipped_list_is_that_of_its_card() -> None:
    (card,) = re.findall(r"state of\s+(\d+ \w+ \d{4})", " ".join((trust.SHIPPED / "README.md").read_text().split()))
    assert datetime.strptime(card, "%d %B %Y").date() == trust.SHIPPED_STATE


def _secret(text: str) -> object:
    from pydantic import SecretStr

    return SecretStr(text)

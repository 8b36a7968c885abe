"""Logs and traces: structlog JSON with the case and the image's hash, and spans of the OpenTelemetry API.

Never in either: bytes of a picture, paths of the server, secrets. Nothing is configured at import; a face calls
`configure` once. Without an OpenTelemetry SDK in the process, spans cost next to nothing and go nowhere.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import structlog
from opentelemetry import trace

log: Final = structlog.stdlib.get_logger("exposit")
_tracer: Final = trace.get_tracer("exposit")
_FOLDERS: Final = re.compile(r"(?<![\w:/.])/(?:[^\s/'\"]+/)+")
_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure(level: str = "info") -> None:
    """Writes JSON lines to standard error, from `level` upwards; a configuration that stands already is kept."""
    if structlog.is_configured():
        return
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            guard,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),  # as it is now: tests exchange it
        cache_logger_on_first_use=False,
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs every URL at info


def guard(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Processor: what must not be logged is replaced, whoever passed it."""
    return {key: _plain(value) for key, value in event.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if isinstance(value, Path):
        return value.name
    if isinstance(value, str):
        return _FOLDERS.sub("", value)
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each) for each in value]
    return value


@contextmanager
def case_context(case_id: str, sha256: str) -> Iterator[None]:
    """Puts the case and the image's hash on every log line and on the span of the case."""
    with (
        structlog.contextvars.bound_contextvars(case_id=case_id, image=sha256),
        _tracer.start_as_current_span("case", attributes={"exposit.case_id": case_id, "exposit.image": sha256}),
    ):
        yield


@contextmanager
def step(name: str, timings: dict[str, float], **attributes: str | float | bool) -> Iterator[None]:
    """A span around one step; its milliseconds go into `timings` under `name`."""
    began = time.perf_counter()
    with _tracer.start_as_current_span(name, attributes={f"exposit.{key}": value for key, value in attributes.items()}):
        try:
            yield
        finally:
            timings[name] = round((time.perf_counter() - began) * 1000, 1)

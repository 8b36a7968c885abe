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

from agent import metrics, tracing

log: Final = structlog.stdlib.get_logger("exposit")
_tracer: Final = trace.get_tracer("exposit")
_FORBIDDEN: Final = (
    # what, and what stands in its place: folders, what follows a web address's path, secrets in addresses, keys, tokens
    (re.compile(r"(?<![\w:/.])/(?:[^\s/'\"]+/)+"), ""),
    (re.compile(r"(\b\w+(?:\+\w+)?://[^\s?#'\"<>]*)[?#][^\s'\"<>]*"), r"\1?…"),
    (re.compile(r"(\b\w+(?:\+\w+)?://)[^\s/?#'\"@]*@"), r"\1…@"),
    (re.compile(r"\bexk_([0-9a-f]{12})_[\w-]+"), r"exk_\1_…"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}"), r"\1 …"),
)
_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure(level: str = "info") -> None:
    """Writes JSON lines to standard error, from `level` upwards; a configuration that stands already is kept.

    What libraries log goes the same way, from `warning` upwards. Spans are sent where OTEL_… asks for it.

    Raises:
        ConfigurationError: where OTEL_… asks for what cannot be done.
    """
    tracing.send()
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
    root = logging.getLogger()
    if not any(isinstance(each, _OfLibraries) for each in root.handlers):
        root.addHandler(_OfLibraries(logging.WARNING))
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs every URL at info


class _OfLibraries(logging.Handler):
    """What libraries log, as lines of our own log, which are guarded. An exception is told by its kind alone."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one record."""
        kind = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else None
        more = {"error": kind} if kind else {}
        log.log(record.levelno, "library", logger=record.name, message=record.getMessage()[:500], **more)


def guard(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Processor: what must not be logged is replaced, whoever passed it."""
    return {key: _plain(value) for key, value in event.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if isinstance(value, Path):
        return value.name
    if isinstance(value, str):
        for what, instead in _FORBIDDEN:
            value = what.sub(instead, value)
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each) for each in value]
    return value


@contextmanager
def span(name: str, **options: Any) -> Iterator[trace.Span]:
    """A span; one that ends in an exception says of which kind it was, and neither its message nor where it arose."""
    with _tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False, **options) as made:
        try:
            yield made
        except BaseException as error:
            made.set_status(trace.StatusCode.ERROR, type(error).__name__)
            raise


@contextmanager
def case_context(case_id: str, sha256: str) -> Iterator[None]:
    """Puts the case and the image's hash on every log line and on the span of the case."""
    with (
        structlog.contextvars.bound_contextvars(case_id=case_id, image=sha256),
        span("case", attributes={"exposit.case_id": case_id, "exposit.image": sha256}),
    ):
        yield


@contextmanager
def step(name: str, timings: dict[str, float], **attributes: str | float | bool) -> Iterator[None]:
    """A span around one step; its milliseconds go into `timings` under `name`."""
    began = time.perf_counter()
    with span(name, attributes={f"exposit.{key}": value for key, value in attributes.items()}):
        try:
            yield
        finally:
            seconds = time.perf_counter() - began
            timings[name] = round(seconds * 1000, 1)
            metrics.NODE_SECONDS.labels(name.partition(":")[0]).observe(seconds)

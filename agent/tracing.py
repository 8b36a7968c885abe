"""Has spans leave the process where OpenTelemetry's own variables say where to; else they cost nothing and go nowhere.

OTEL_EXPORTER_OTLP_ENDPOINT (or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT) names a collector, OTEL_TRACES_EXPORTER=none keeps
spans here, and OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER, OTEL_EXPORTER_OTLP_HEADERS and the
rest mean what the OpenTelemetry specification says. The SDK is the extra `exposit[otel]`.
"""

from __future__ import annotations

import os
from typing import Final

from opentelemetry import trace

from tools.errors import ConfigurationError

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_HTTP: Final = "http/protobuf"


def asked_for() -> bool:
    """Whether the environment asks for spans to be sent.

    Raises:
        ConfigurationError: where it asks for what this program cannot do.
    """
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = os.environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if exporter in ("", "none"):
        asked = not exporter and any(os.environ.get(name, "").strip() for name in _ENDPOINTS)
    elif exporter == "otlp":
        asked = True
    else:
        raise ConfigurationError(
            f"OTEL_TRACES_EXPORTER={exporter}: spans are sent by OTLP only.",
            remedy="Set it to otlp or none, or unset it.",
        )
    protocol = next((value for name in _PROTOCOLS if (value := os.environ.get(name, "").strip())), _HTTP)
    if asked and protocol != _HTTP:
        raise ConfigurationError(
            f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol}: spans are sent as {_HTTP} only.",
            remedy=f"Set it to {_HTTP}, and the endpoint to the collector's HTTP port (usually 4318).",
        )
    return asked


def send() -> None:
    """Has spans sent, in batches and in the background, if that is asked for. A provider that stands is kept.

    Raises:
        ConfigurationError: where it is asked for and cannot be done.
    """
    if not asked_for() or not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"The environment asks for traces (OTEL_…), and the Python package {error.name} is not installed.",
            remedy="Install it with: pip install 'exposit[otel]', or set OTEL_TRACES_EXPORTER=none.",
        ) from None
    named = {} if os.environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: "exposit"}
    provider = TracerProvider(resource=Resource.create(named))  # ended by its own atexit, which sends what is left
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)

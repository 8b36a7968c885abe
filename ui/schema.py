"""The JSON Schema of a report, the public contract of Exposit (`schema/report-1.0.json`)."""

from __future__ import annotations

import json

from agent.verdict import SCHEMA_VERSION, Report


def report_schema() -> str:
    """The schema as JSON text, the same for the same contract."""
    schema = Report.model_json_schema(mode="serialization")
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:exposit:schema:report:{SCHEMA_VERSION}",
        **schema,
        "title": f"Exposit report {SCHEMA_VERSION}",
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"

from __future__ import annotations

import json

import jsonschema
import pytest

from agent.verdict import SCHEMA_VERSION
from tests.conftest import ROOT, encoded, picture
from tests.ui.fakes import report
from tools.image import SourceImage
from ui.schema import report_schema

FILE = ROOT / "schema" / f"report-{SCHEMA_VERSION}.json"


def test_the_committed_schema_is_the_one_of_the_code() -> None:
    assert FILE.read_text(encoding="utf-8") == report_schema(), (
        f"run `exposit schema --out schema/{FILE.name}`, and raise SCHEMA_VERSION where an old reader would break"
    )


def test_a_report_holds_to_it_and_a_changed_one_does_not() -> None:
    schema = json.loads(FILE.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    body = report(SourceImage.open(encoded(picture(64, 48)))).model_dump(mode="json")
    jsonschema.validate(body, schema)
    for change in ({"schema_version": "2.0"}, {"verdict": {**body["verdict"], "label": "real"}}, {"extra": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(body | change, schema)

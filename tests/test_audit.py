"""The audit of dependencies finds what is wrong, and does not pass over what it could not check."""

from __future__ import annotations

import io
import json
import urllib.error
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.test_readme import script

audit = script("audit")


def test_every_pin_is_exact_and_what_is_none_is_told() -> None:
    pinned, wrong = audit.pins((ROOT / "constraints.txt").read_text())
    assert wrong == []
    assert len(pinned) > 100
    assert audit.pins("a==1.0\nB_c>=2\n# note\n") == ({"a": "1.0"}, ["B_c>=2"])


class Told:
    """A distribution of one licence."""

    files = None

    def __init__(self, text: str) -> None:
        self.metadata = self
        self.text = text

    def get(self, name: str) -> str | None:
        return self.text if name == "License-Expression" else None

    def get_all(self, _: str) -> None:
        return None


@pytest.mark.parametrize(
    ("told", "fine"),
    [
        ("MIT", True), ("Apache-2.0 OR BSD-3-Clause", True), ("MPL-2.0", True), ("LGPL-3.0-only", True),
        ("GPL-3.0-only", False), ("AGPL-3.0", False), ("MIT OR GPL-2.0", True), ("Proprietary", False), ("", False),
    ],
)  # fmt: skip
def test_licences_that_may_not_stand_beside_ours_are_told(told: str, fine: bool) -> None:
    assert (audit.licences({"a": Told(told)}) == []) is fine


def answering(monkeypatch: pytest.MonkeyPatch, what: Any) -> None:
    def urlopen(address: str, timeout: float) -> io.BytesIO:
        if isinstance(what, Exception):
            raise what
        return io.BytesIO(json.dumps(what).encode())

    monkeypatch.setattr(audit.urllib.request, "urlopen", urlopen)


def test_vulnerabilities_are_told_and_so_is_a_source_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"id": "PYSEC-1", "aliases": ["CVE-1"], "fixed_in": ["2"], "withdrawn": None}
    answering(monkeypatch, {"vulnerabilities": [known, known | {"withdrawn": "2026-01-01"}]})
    found, unasked = audit.vulnerabilities({"a": "1"})
    assert (len(found), unasked) == (1, "")
    assert "PYSEC-1" in found[0]
    for silent in (urllib.error.URLError("no route"), TimeoutError(), {"info": {}}):
        answering(monkeypatch, silent)
        found, unasked = audit.vulnerabilities({"a": "1"})
        assert found == []
        assert unasked


def test_what_was_not_checked_is_no_pass_where_it_must_be_known(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answering(monkeypatch, urllib.error.URLError("no route"))
    assert audit.main(["--strict"]) == 4
    said = capsys.readouterr().out
    assert "NOT CHECKED  known vulnerabilities" in said
    assert "FINDING" not in said
    assert audit.main([]) == 0

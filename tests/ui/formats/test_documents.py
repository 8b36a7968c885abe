"""HTML and PDF: they stand alone, hold everything, and nothing of other people's acts in them."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from fpdf import FPDF

from tests.ui.fakes import MAP_SHA
from tests.ui.formats.conftest import CLAIM, NAME, Make
from ui.formats import content, html, pdf
from ui.formats.dossier import Dossier


class Read(HTMLParser):
    """Tags, attributes that lead somewhere, and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.leads: list[tuple[str, str]] = []
        self.policy = self.style = self.text = ""
        self._in = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in = tag
        self.tags.append(tag)
        given = {name: value or "" for name, value in attrs}
        self.leads += [(name, given[name]) for name in ("src", "href", "srcset", "action", "data") if name in given]
        assert not [name for name in given if name.startswith("on") or name == "style"], given
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"]

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    def handle_data(self, data: str) -> None:
        if self._in == "style":
            self.style += data
        else:
            self.text += data


async def test_the_page_stands_alone_and_runs_nothing(make: Make) -> None:
    page = html.render(await make())
    read = Read(page)
    assert not {"script", "iframe", "object", "embed", "form", "link", "base", "i"} & set(read.tags)
    outward = {url for _, url in read.leads if not url.startswith("data:image/")}
    assert outward == {link.url for _, links in content.ELSEWHERE for link in links}
    assert all(url.startswith("https://") for url in outward)
    assert "url(" not in read.style
    assert "@import" not in read.style
    digest = base64.b64encode(hashlib.sha256(read.style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in read.policy  # else no browser would show the style
    assert "default-src 'none'" in read.policy
    for quoted in (CLAIM.text, NAME, "<script>alert(1)</script>"):
        assert quoted in read.text


def seen(dossier: Dossier) -> list[str]:
    """What a reader must find in either document."""
    report = dossier.report
    return [
        "This picture was probably made by a generative model.", "about 83 in 100", report.image.sha256,
        report.case_id, "+6.3 dB for generated", "[patch]", "The block grid is the same in all parts.",
        "Resizing moves or removes periodic peaks.", "vendor watermarks", "https://tineye.com/",
        "Exposit did not check this claim", "Ada overrides (Photograph): I know the photographer.",
        "Inconclusive, about 41 in 100 generated. This speaks against what the whole file was found to be.",
        "case earlier-7, b.png: Altered in part (a copy; the hashes differ by 12 of 256 bits)",
        "would not change the verdict", "0" * 64, hashlib.sha256(dossier.report_text.encode()).hexdigest(),
        *(row.hash for row in dossier.audit), "2026-11-20 sha256:ab12",
    ]  # fmt: skip


async def test_both_documents_say_all_of_it(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    dossier = await make()
    written: list[str] = []

    def noted(name: str) -> None:
        inner = getattr(FPDF, name)

        def outer(self: FPDF, *args: object, **named: object) -> object:
            written.extend(str(each) for each in (*args, *named.values()) if isinstance(each, str))
            return inner(self, *args, **named)

        monkeypatch.setattr(FPDF, name, outer)

    for name in ("multi_cell", "cell", "write"):
        noted(name)
    assert pdf.render(dossier).startswith(b"%PDF-")
    page = Read(html.render(dossier))
    on_page, on_paper = page.text + str(page.leads), "\n".join(written)
    for text in seen(dossier):
        assert text in on_page, text
        assert text in on_paper, text
    assert "[U+5F71]" in on_paper  # told, where the font has no such sign
    assert pdf.UNSHOWN in on_paper
    assert on_page.count("data:image/jpeg;base64,") == 2
    assert on_page.count("data:image/png;base64,") == 1
    assert dossier.drawings[0].sha256 == MAP_SHA


async def test_the_same_case_gives_the_same_bytes(make: Make) -> None:
    first, again = await make(), await make(fresh=True)
    assert html.render(first) == html.render(again)
    made = pdf.render(first)
    assert made == pdf.render(again)
    assert b"D:20261121093100" in made  # the case's date, and no other
    assert len(re.findall(rb"D:2\d{13}", made)) == made.count(b"D:20261121093100")
    assert made.count(b"/Subtype /Image") == 3


async def test_what_is_no_longer_kept_is_said(make: Make) -> None:
    dossier = await make("no_evidence", None)
    gone = replace(
        dossier, original=None, picture=None, marked=None, absent="The original is no longer kept.",
        drawings=(), missing_maps=("Patch map",), reviews=(),
    )  # fmt: skip
    text = Read(html.render(gone)).text
    assert "The original is no longer kept." in text
    assert "The map Patch map is no longer kept." in text
    assert "What is claimed" not in text
    assert "not proof that it is an untouched photograph" in text
    assert pdf.render(gone).count(b"/Subtype /Image") == 0

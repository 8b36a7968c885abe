"""A case as a PDF that stands alone, in the words of the HTML report. The same case gives the same bytes."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from datetime import UTC
from pathlib import Path
from typing import Final, cast

from fpdf import FPDF
from fpdf.enums import TextEmphasis, XPos, YPos
from fpdf.fonts import FontFace, TTFFont

from agent.verdict import Label
from tools.contract import Severity
from ui import overlay, words
from ui.formats import content, proof
from ui.formats.dossier import Dossier, Drawing

_FONTS: Final = Path(__file__).parent / "fonts"
_FONT: Final = "Noto Sans"
_MARGIN: Final = 16.0
_SOFT: Final = 90
_TONES: Final[dict[Label, tuple[int, int, int]]] = {
    "generated": (213, 94, 0), "laundered": (213, 94, 0), "edited": (230, 159, 0), "authentic": (0, 114, 178),
    "no_evidence": (107, 114, 128), "inconclusive": (107, 114, 128),
}  # fmt: skip
_BAND: Final = (140, 200, 238)
_FULL_BAR_DB: Final = 20.0
UNSHOWN: Final = (
    "Characters that this PDF's font lacks are written as their Unicode number, as in [U+5F71]; "
    "the HTML report shows them."
)


class _Paper(FPDF):
    """A4 pages with a foot that names the case on each."""

    def __init__(self, case_id: str) -> None:
        super().__init__(format="A4")
        self.case_id = case_id
        for style, file in (("", "NotoSans-Regular.ttf"), ("B", "NotoSans-Bold.ttf")):
            self.add_font(_FONT, style, _FONTS / file)
        font = self.fonts[_FONT.lower()]
        if not isinstance(font, TTFFont):
            raise TypeError(f"the font of the report was read as {type(font).__name__}")
        self._glyphs = frozenset(font.cmap)
        self.unshown = False
        self.set_margins(_MARGIN, _MARGIN)
        self.set_auto_page_break(True, margin=18)
        self.plain()

    def footer(self) -> None:
        """The foot of a page."""
        self.set_y(-13)
        self.plain(8, soft=True)
        self.cell(0, 5, f"Exposit · case {self.case_id}", new_x=XPos.LMARGIN, new_y=YPos.TOP)
        self.cell(0, 5, f"{self.page_no()} / {{nb}}", align="R")

    def plain(self, size: float = 10, *, bold: bool = False, soft: bool = False) -> None:
        """Sets the font."""
        self.set_font(_FONT, "B" if bold else "", size)
        self.set_text_color(_SOFT if soft else 0)

    def held(self, text: str) -> str:
        """`text` with what the font cannot show as Unicode numbers, so that nothing is lost without a word."""

        def shown(char: str) -> str:
            if ord(char) in self._glyphs or char == "\n":
                return char
            self.unshown = True
            return f"[U+{ord(char):04X}]"

        return "".join(shown(char) for char in re.sub(r"[\u200b-\u200f\ufe00-\ufe0f\ufeff]", "", text))

    def say(self, text: str, size: float = 10, *, bold: bool = False, soft: bool = False, indent: float = 0) -> None:
        """A paragraph."""
        self.plain(size, bold=bold, soft=soft)
        self.set_x(self.l_margin + indent)
        self.multi_cell(0, size * 0.5, self.held(text), align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.ln(0.8)

    def points(self, lines: Iterable[str], size: float = 10, *, soft: bool = False) -> None:
        """A list."""
        for line in lines:
            self.plain(size, soft=soft)
            self.set_x(self.l_margin + 1.5)
            self.cell(4, size * 0.5, "•")
            self.multi_cell(0, size * 0.5, self.held(line), align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
            self.ln(0.6)

    def head(self, text: str, keep: float = 14) -> None:
        """A heading with a rule above, kept with at least `keep` mm of what follows."""
        if self.will_page_break(18 + keep):
            self.add_page()
        self.ln(4)
        self.set_draw_color(205)
        self.line(self.l_margin, self.y, self.w - self.r_margin, self.y)
        self.ln(3)
        self.start_section(text)
        self.say(text, 14, bold=True)
        self.ln(0.5)

    def small_head(self, text: str) -> None:
        """A heading within a section."""
        if self.will_page_break(18):
            self.add_page()
        self.ln(1.5)
        self.say(text, 10.5, bold=True)

    def pairs(self, rows: Iterable[tuple[str, str]], *, size: float = 9.5, name_width: float = 38) -> None:
        """Names and values, side by side."""
        for name, value in rows:
            if self.will_page_break(size):
                self.add_page()
            top = self.y
            self.plain(size, soft=True)
            self.multi_cell(
                name_width, size * 0.5, self.held(name), align="L", new_x=XPos.RIGHT, new_y=YPos.NEXT
            )  # fmt: skip
            bottom, page = self.y, self.page
            self.set_xy(self.l_margin + name_width + 2, top)
            self.plain(size)
            self.multi_cell(0, size * 0.5, self.held(value), align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
            if self.page == page:
                self.set_y(max(bottom, self.y))
            self.ln(0.5)


def render(dossier: Dossier) -> bytes:
    """The PDF."""
    report = dossier.report
    paper = _Paper(report.case_id)
    moment = report.created_at.astimezone(UTC)
    paper.set_creation_date(moment)
    paper.set_title(paper.held(content.title(report)))
    paper.set_creator(f"Exposit {report.versions.get('exposit', '')}".strip())
    paper.set_lang("en")
    paper.add_page()
    _verdict(paper, dossier)
    _people(paper, dossier)
    _picture(paper, dossier)
    _why(paper, dossier)
    _evidence(paper, dossier)
    _looks(paper, dossier)
    _maps(paper, dossier)
    _beyond(paper, dossier)
    _proof(paper, dossier)
    return bytes(paper.output())


def _verdict(paper: _Paper, dossier: Dossier) -> None:
    report, answer = dossier.report, dossier.report.verdict
    paper.say("Exposit · report on a picture", 9, soft=True)
    paper.ln(1)
    top, tone = paper.y, _TONES[answer.label]
    paper.set_left_margin(_MARGIN + 6)
    paper.start_section("Verdict")
    paper.say(words.LABELS[answer.label], 10.5, bold=True)
    paper.say(words.headline(answer), 16, bold=True)
    for scale in content.scales(report):
        _scale(paper, scale)
    for line in content.remarks(report):
        paper.say(line)
    paper.set_left_margin(_MARGIN)
    paper.set_fill_color(*tone)
    paper.rect(_MARGIN, top, 2.2, paper.y - top, style="F")
    stated = content.claim(report)
    if stated:
        paper.small_head("What is claimed of the picture")
        paper.pairs(stated)
        paper.say(content.NOT_A_JUDGEMENT, 9, soft=True)


def _people(paper: _Paper, dossier: Dossier) -> None:
    if dossier.reviews:
        paper.head("What people said of the verdict")
        paper.points(content.people(dossier.reviews))
        paper.say(content.BESIDE, 9, soft=True)


def _scale(paper: _Paper, scale: content.Scale) -> None:
    """A probability on a line, with its interval as a band and the prior as a tick."""
    paper.ln(1)
    paper.say(f"{scale.what}: {scale.said}", bold=False)
    left, width, y = paper.l_margin + 1, 130.0, paper.y + 1
    paper.set_fill_color(222)
    paper.rect(left, y, width, 3, style="F")
    if scale.bounds:
        low, high = scale.bounds
        paper.set_fill_color(*_BAND)
        paper.rect(left + low * width, y, max(high - low, 0.005) * width, 3, style="F")
    paper.set_fill_color(90)
    paper.rect(left + scale.prior * width - 0.2, y - 1, 0.4, 5, style="F")
    paper.set_fill_color(0)
    paper.set_draw_color(255)
    paper.ellipse(left + scale.p * width - 2.2, y - 0.7, 4.4, 4.4, style="FD")
    paper.set_y(y + 3.8)
    paper.plain(7.5, soft=True)
    for share, said in ((0.0, "0"), (0.5, "50"), (1.0, "100")):
        paper.set_x(left + share * width - 5)
        paper.cell(10, 3, said, align="C")
    paper.ln(5)


def _picture(paper: _Paper, dossier: Dossier) -> None:
    report, shown = dossier.report, dossier.marked or dossier.picture
    most = 125.0 if dossier.marked else 150.0
    paper.head("The picture", keep=_size(paper, shown, most)[1] + 8 if shown else 14)
    if dossier.picture is None or shown is None:
        paper.say(dossier.absent)
    else:
        _placed(paper, shown, overlay.alt_text(report), most)
        said = "With the regions that tools marked, shrunk for this report." if dossier.marked else (
            "Shrunk for this report. No tool marked a region."
        )  # fmt: skip
        paper.say(said, 9, soft=True)
        for mark in content.marks(report):
            _mark(paper, mark)
        if dossier.marked:
            paper.small_head("Without the marks")
            _placed(paper, dossier.picture, f"The picture {report.image.path} without marks.", 95)
    paper.ln(2)
    paper.pairs(content.identity(report))


def _placed(paper: _Paper, data: bytes, alt: str, height: float) -> None:
    """A picture within the width of the text and `height` mm, on one page."""
    width, tall = _size(paper, data, height)
    if paper.will_page_break(tall + 8):
        paper.add_page()
    paper.image(io.BytesIO(data), w=width, h=tall, alt_text=paper.held(alt))
    paper.ln(2)


def _size(paper: _Paper, data: bytes, height: float) -> tuple[float, float]:
    """Width and height in mm of a picture that fits the width of the text and `height`."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as opened:
        width, tall = opened.size
    factor = min(paper.epw / width, height / tall)
    return width * factor, tall * factor


def _mark(paper: _Paper, mark: content.Mark) -> None:
    severities: dict[str, Severity] = {"strong": "strong", "moderate": "moderate", "weak": "weak", "info": "info"}
    if paper.will_page_break(10):
        paper.add_page()
    paper.set_fill_color(overlay.colour(severities[mark.severity]))
    paper.set_draw_color(0)
    paper.plain(9, bold=True)
    paper.cell(7, 5, str(mark.number), border=1, fill=True, align="C")
    paper.plain(9.5)
    paper.set_x(paper.l_margin + 9)
    said = paper.held(f"{mark.place} ({mark.severity}): {mark.text} [{mark.evidence_id}]")
    paper.multi_cell(0, 5, said, align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    paper.ln(1)


def _why(paper: _Paper, dossier: Dossier) -> None:
    paper.head("Why")
    for heading, said in content.why(dossier.report):
        paper.small_head(heading)
        paper.points(each.text + "".join(f" [{name}]" for name in each.cites) for each in said)
    paper.ln(1)
    for line in content.written(dossier.report):
        paper.say(line, 9, soft=True)


def _evidence(paper: _Paper, dossier: Dossier) -> None:
    tools = content.evidence(dossier.report)
    paper.head("The evidence and what it weighs")
    paper.plain(9)
    paper.set_draw_color(205)
    paper.set_fill_color(255)
    with paper.table(
        col_widths=(24, 28, 22, 20, 64), text_align=("LEFT", "LEFT", "LEFT", "RIGHT", "LEFT"), line_height=4.6,
        padding=1.2, borders_layout="HORIZONTAL_LINES", headings_style=FontFace(emphasis=TextEmphasis.B),
    ) as table:  # fmt: skip
        for cells in (
            ("Tool", "Version", "Question", "Raw score", "Weight"),
            *((t.title, t.version, t.target, t.score or "none", "\n".join(t.weights)) for t in tools),
        ):
            row = table.row()
            for cell in cells:
                row.cell(paper.held(cell))
    for tool in tools:
        _tool(paper, tool)
    left = content.left_out(dossier.report)
    if left:
        paper.small_head("Tools that were left out")
        paper.points(left)


def _tool(paper: _Paper, tool: content.Spoken) -> None:
    paper.small_head(f"{tool.title} {tool.version} [{tool.id}]")
    for value in tool.decibans:
        if value:
            _bar(paper, value)
    paper.say("; ".join(tool.weights), 9, soft=True)
    paper.points(tool.saw)
    if tool.claims:
        paper.say("What the file says of itself:", 9.5, soft=True)
        paper.points(tool.claims, 9.5)
    if tool.limits:
        paper.say("Limits: " + " ".join(tool.limits), 9, soft=True)
    if tool.numbers:
        paper.say("; ".join(f"{name}: {value}" for name, value in tool.numbers) + ".", 8.5, soft=True)
    for name, sha256 in tool.files:
        paper.say(f"Weight file {name}: {sha256}", 8, soft=True)


def _bar(paper: _Paper, decibans: float) -> None:
    width, y = 60.0, paper.y + 0.5
    middle = paper.l_margin + width / 2
    size = min(abs(decibans) / _FULL_BAR_DB, 1.0) * width / 2
    paper.set_fill_color(*((198, 82, 0) if decibans > 0 else (0, 100, 163)))
    paper.rect(middle if decibans > 0 else middle - size, y, size, 2, style="F")
    paper.set_fill_color(_SOFT)
    paper.rect(middle, y - 0.6, 0.3, 3.2, style="F")
    paper.ln(4)


def _looks(paper: _Paper, dossier: Dossier) -> None:
    looks, others = content.stability(dossier.report), content.similar(dossier.report)
    if looks:
        paper.head("What re-saving and resizing do to it")
        paper.points(looks)
    if others:
        paper.head("Earlier cases of this picture")
        paper.say(content.ANNOTATION, 9, soft=True)
        paper.points(others)


def _maps(paper: _Paper, dossier: Dossier) -> None:
    if not dossier.drawings and not dossier.missing_maps:
        return
    paper.head("Maps that the tools drew", keep=95)
    across = (paper.epw - 6) / 2
    for at in range(0, len(dossier.drawings), 2):
        _side_by_side(paper, dossier.drawings[at : at + 2], across)
    for name in dossier.missing_maps:
        paper.say(f"The map {name} is no longer kept.")


def _side_by_side(paper: _Paper, pair: tuple[Drawing, ...], width: float) -> None:
    from PIL import Image

    sizes = []
    for drawing in pair:
        with Image.open(io.BytesIO(drawing.shown)) as opened:
            sizes.append(min(width / opened.width, 90 / opened.height) * opened.height)
    captions = [paper.held(f"{each.title} [{each.evidence_id}] {each.caption}") for each in pair]
    paper.plain(8.5, soft=True)
    lines = max(
        len(cast("list[str]", paper.multi_cell(width, 4.2, text, align="L", dry_run=True, output="LINES")))
        for text in captions
    )
    if paper.will_page_break(max(sizes) + lines * 4.2 + 5):
        paper.add_page()
    top = paper.y
    for column, (drawing, caption) in enumerate(zip(pair, captions, strict=True)):
        x = paper.l_margin + column * (width + 6)
        paper.image(
            io.BytesIO(drawing.shown), x=x, y=top, w=width, h=max(sizes), keep_aspect_ratio=True,
            alt_text=paper.held(f"{drawing.title}: {drawing.caption}"),
        )  # fmt: skip
        paper.set_xy(x, top + max(sizes) + 1.5)
        paper.plain(8.5, soft=True)
        paper.multi_cell(width, 4.2, caption, align="L")
    paper.set_xy(paper.l_margin, top + max(sizes) + lines * 4.2 + 5)


def _beyond(paper: _Paper, dossier: Dossier) -> None:
    paper.head("What was not examined")
    paper.points(dossier.report.verdict.not_examined)
    paper.small_head("Where a person can go on")
    paper.say(content.GIVEN_AWAY)
    for what, links in content.ELSEWHERE:
        paper.small_head(what)
        for link in links:
            paper.plain(10)
            paper.set_x(paper.l_margin + 1.5)
            paper.cell(4, 5, "•")
            said = f"{link.name}: {link.what}"
            paper.multi_cell(0, 5, paper.held(said), align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
            paper.set_x(paper.l_margin + 5.5)
            paper.set_text_color(11, 87, 164)
            paper.cell(0, 5, link.url, link=link.url, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
            paper.ln(0.8)
    paper.head("How to read this report")
    paper.points(content.READING)


def _proof(paper: _Paper, dossier: Dossier) -> None:
    paper.head("Hashes and versions")
    paper.pairs([("Report (SHA-256 of its JSON)", proof.report_sha256(dossier)), *proof.rows(dossier)], size=8.5)
    paper.ln(1)
    paper.say("; ".join(f"{name} {value}" for name, value in content.versions(dossier.report)) + ".", 8.5, soft=True)
    if paper.unshown:
        paper.say(UNSHOWN, 8.5, soft=True)

"""A report for people: in the terminal (rich) and as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.verdict import Report, Sentence
from ui import words

if TYPE_CHECKING:
    from rich.console import Console

_HEADINGS = (("reason", "Why"), ("against", "What speaks against it"), ("limits", "Limits"))


def show(report: Report, console: Console) -> None:
    """Prints a report: the verdict first, then what it rests on, and what it does not cover."""
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    answer = report.verdict
    console.print(Text(words.headline(answer), style="bold"))
    for line in words.probabilities(answer):
        console.print(Text(line))
    console.print(Text(words.confidence(answer)))
    if answer.abstained_because:
        console.print(Text(f"Why it is left open: {answer.abstained_because}"))
    for conflict in answer.conflicts:
        console.print(Text(f"Conflict: {conflict.text}"))
    for line in words.standing(report):
        console.print(Text(line))
    for role, heading in _HEADINGS:
        lines = [_cited(sentence) for sentence in report.explanation if sentence.role == role]
        if lines:
            console.print()
            console.print(Text(heading, style="bold"))
            for line in lines:
                console.print(Padding(Text(line), (0, 0, 0, 2), expand=False))
    console.print()
    table = Table(title="Evidence", title_style="bold", title_justify="left", expand=False)
    table.add_column("Tool", no_wrap=True)
    table.add_column("What it says")
    table.add_column("Weight")
    for one in report.evidence:
        table.add_row(
            Text(one.id), Text("\n".join(words.saw(one))), Text("\n".join(words.weights(report, one)))
        )  # fmt: skip
    console.print(table)
    if answer.not_examined:
        console.print(Text("Not examined", style="bold"))
        for item in answer.not_examined:
            console.print(Padding(Text(item), (0, 0, 0, 2), expand=False))
    console.print()
    for line in (words.wrote(report.explained_by), _dropped(report), *report.image.notes, words.facts(report)):
        if line:
            console.print(Text(line, style="dim"))
    console.print(Text(f"Case {report.case_id}", style="dim"))


def markdown(report: Report) -> str:
    """The same as Markdown."""
    answer = report.verdict
    parts = [f"# {plain(words.headline(answer))}", "", *(f"- {plain(line)}" for line in words.probabilities(answer))]
    parts.append(f"- {plain(words.confidence(answer))}")
    if answer.abstained_because:
        parts.append(f"- Why it is left open: {plain(answer.abstained_because)}")
    parts += [f"- Conflict: {plain(conflict.text)}" for conflict in answer.conflicts]
    parts += [f"- {plain(line)}" for line in words.standing(report)]
    for role, heading in _HEADINGS:
        lines = [f"- {plain(_cited(entry))}" for entry in report.explanation if entry.role == role]
        if lines:
            parts += ["", f"## {heading}", "", *lines]
    parts += ["", "## Evidence", "", "| Tool | What it says | Weight |", "|---|---|---|"]
    for one in report.evidence:
        said, weighed = " ".join(words.saw(one)), "; ".join(words.weights(report, one))
        parts.append(f"| {plain(one.id)} | {plain(said)} | {plain(weighed)} |")
    if answer.not_examined:
        parts += ["", "## Not examined", "", *(f"- {plain(item)}" for item in answer.not_examined)]
    parts += ["", *(f"{plain(line)}  " for line in (words.wrote(report.explained_by), _dropped(report)) if line)]
    parts += [f"{plain(words.facts(report))}  ", f"Case {plain(report.case_id)}", ""]
    return "\n".join(parts)


def plain(text: str) -> str:
    """Text that Markdown shows as it is: no link, picture or markup comes out of it."""
    specials = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
    return "".join(f"\\{char}" if char in specials else char for char in " ".join(text.split()))


def _cited(sentence: Sentence) -> str:
    return sentence.text + "".join(f" [{name}]" for name in sentence.cites)


def _dropped(report: Report) -> str:
    count = len(report.dropped)
    if not count:
        return ""
    said = "sentence was" if count == 1 else "sentences were"
    return f"{count} {said} left out of the explanation, because no evidence bears it out."

"""The sentences of the plain template, by language: one TOML file each in `agent/languages/`, apart from all logic.

English is the language that grounding reads. A sentence in another one is made from the same phrase, with the same
values, and is told only where its English twin passed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final, Literal

from agent.verdict import Sentence
from tools.errors import CallerError

FOLDER: Final = Path(__file__).with_name("languages")
ENGLISH: Final = "en"
_SWAPPED: Final = str.maketrans(".,", ",.")
Role = Literal["answer", "reason", "against", "context", "limits"]


@dataclass(frozen=True, slots=True)
class Word:
    """A word that each language has its own for, such as a place: where it stands in the file, and what fills it."""

    section: str
    key: str
    slots: Mapping[str, Slot] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it is to be written in English."""

    text: str


@dataclass(frozen=True, slots=True)
class Quote:
    """Words of a tool or of the log, which stay as they are; `known` ones have a translation."""

    text: str
    marked: bool = True


@dataclass(frozen=True, slots=True)
class Several:
    """Slots one after the other."""

    items: tuple[Slot, ...]
    between: str = ", "


Slot = str | Word | Number | Quote | Several


@dataclass(frozen=True, slots=True)
class Phrase:
    """A sentence before it has a language: which one, what fills it, what it rests on."""

    section: str
    key: str
    cites: tuple[str, ...]
    role: Role = "reason"
    slots: Mapping[str, Slot] = field(default_factory=dict)

    def sentence(self, language: Language) -> Sentence:
        """The sentence in a language."""
        return Sentence(text=language.say(self.section, self.key, self.slots), cites=self.cites, role=self.role)


@dataclass(frozen=True, slots=True)
class Language:
    """One file."""

    code: str
    name: str
    decimal: str
    quotes: tuple[str, str]
    tables: Mapping[str, Mapping[str, str]]

    def say(self, section: str, key: str, slots: Mapping[str, Slot] | None = None) -> str:
        """The entry `key` of `section`, filled."""
        filled = {name: self._fill(slot) for name, slot in (slots or {}).items()}
        return self.tables[section][key].format_map(filled)

    def quoted(self, quote: Quote) -> str:
        """What was said, in this language where the file has it, else as it was said."""
        texts = self.tables["texts"]
        said = texts.get(quote.text)
        if said is None:  # without its stop, as one of several
            whole = texts.get(f"{quote.text}.")
            said = quote.text if whole is None else whole.removesuffix(".")
        return f"{self.quotes[0]}{said}{self.quotes[1]}" if quote.marked else said

    def _fill(self, slot: Slot) -> str:
        match slot:
            case Word(section, key, slots):
                return self.say(section, key, slots)
            case Number(text):
                return text if self.decimal == "." else text.translate(_SWAPPED)
            case Quote():
                return self.quoted(slot)
            case Several(items, between):
                return between.join(self._fill(item) for item in items)
            case str():
                return slot


def languages() -> tuple[str, ...]:
    """Codes of the languages that there is a file for."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


@cache
def language(code: str) -> Language:
    """The language of that code.

    Raises:
        CallerError: There is no file for it.
    """
    if code not in languages():
        raise CallerError(
            f"There is no explanation in the language {code!r}.", remedy=f"Known: {', '.join(languages())}."
        )
    raw = tomllib.loads((FOLDER / f"{code}.toml").read_text(encoding="utf-8"))
    opening, closing = raw.pop("quotes")
    return Language(code=code, name=raw.pop("name"), decimal=raw.pop("decimal"), quotes=(opening, closing), tables=raw)

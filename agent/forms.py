"""Keeps a model in this process to the form of a reply, as the server's grammar keeps a served one.

The JSON Schema of a reply becomes an automaton over bytes; at each step only tokens stay that lead on to a whole reply.
The form is JSON without any white space between its parts and with the fields in their order, which is what
`BaseModel.model_dump_json` writes and what vLLM's xgrammar allows under `disable_any_whitespace`.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from tools.errors import ConfigurationError

if TYPE_CHECKING:
    from pydantic import BaseModel

_DEAD: Final = -1
_STAY: Final = 256
"""Column of the transition table for what pads a short token: it changes nothing."""
_MANY: Final = 32
"""Items of an array whose schema names no bound."""
_ESCAPED: Final = b'"\\/bfnrt'
_HEX: Final = b"0123456789abcdefABCDEF"


class Form:
    """The automaton of one schema.

    Attributes:
        table: int32, states x 257; the next state by byte, _DEAD where the form ends or is broken.
        start: The state before the first byte.
        end: The state of a whole reply.
        words: For each string field that has a list of values: the states in which one of its values begins, after
            the quotation mark.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        self._rows: list[npt.NDArray[np.int32]] = []
        self._definitions = schema.get("$defs", {})
        self.words: dict[str, set[int]] = {}
        self.end = self._state()
        self.start = self._value(schema, self.end, "")
        self.table = np.stack(self._rows)

    def _state(self) -> int:
        row = np.full(257, _DEAD, dtype=np.int32)
        row[_STAY] = len(self._rows)
        self._rows.append(row)
        return len(self._rows) - 1

    def _literal(self, text: bytes, then: int) -> int:
        for byte in reversed(text):
            state = self._state()
            self._rows[state][byte] = then
            then = state
        return then

    def _value(self, schema: dict[str, Any], then: int, name: str) -> int:
        if "$ref" in schema:
            schema = self._definitions[schema["$ref"].rpartition("/")[2]]
        choices = [schema["const"]] if "const" in schema else schema.get("enum")
        if choices is not None:
            return self._choice([json.dumps(each, ensure_ascii=False) for each in choices], then, name)
        match schema.get("type"):
            case "object":
                return self._object(schema, then)
            case "array":
                return self._array(schema, then, name)
            case "string":
                return self._string(schema, then)
        raise ConfigurationError(f"No model in this process can be kept to this part of a schema: {schema}.")

    def _choice(self, values: list[str], then: int, name: str) -> int:
        """One of several literals: a trie whose leaves meet in `then`. None may be the beginning of another."""
        root = self._state()
        for value in values:
            state, text = root, value.encode()
            for byte in text[:-1]:
                onward = int(self._rows[state][byte])
                if onward == _DEAD:
                    onward = self._state()
                    self._rows[state][byte] = onward
                state = onward
            self._rows[state][text[-1]] = then
        if all(value.startswith('"') for value in values):
            self.words.setdefault(name, set()).add(int(self._rows[root][ord('"')]))
        return root

    def _object(self, schema: dict[str, Any], then: int) -> int:
        then = self._literal(b"}", then)
        properties = list(schema["properties"].items())
        for index in range(len(properties) - 1, -1, -1):
            name, each = properties[index]
            then = self._value(each, then, name)
            then = self._literal(("," if index else "{").encode() + json.dumps(name).encode() + b":", then)
        return then

    def _array(self, schema: dict[str, Any], then: int, name: str) -> int:
        least, most = schema.get("minItems", 0), schema.get("maxItems", _MANY)
        full = self._literal(b"]", then)
        after = full
        for number in range(most, 0, -1):  # `after`: what may follow `number` items
            item = self._value(schema["items"], after, name)
            before = self._state()
            if number == 1:
                self._rows[before][:] = self._rows[item]
                self._rows[before][_STAY] = before
            else:
                self._rows[before][ord(",")] = item
            if number - 1 >= least:
                self._rows[before][ord("]")] = self._rows[full][ord("]")]
            after = before
        return self._literal(b"[", after)

    def _string(self, schema: dict[str, Any], then: int) -> int:
        """Any text; its longest length is left to the validation of the whole."""
        inside = self._state()
        plain = [byte for byte in range(0x20, 0x100) if byte not in b'"\\\x7f']
        self._rows[inside][plain] = inside
        escape = self._state()
        self._rows[inside][ord("\\")] = escape
        self._rows[escape][list(_ESCAPED)] = inside
        hexadecimal = inside
        for _ in range(4):
            digit = self._state()
            self._rows[digit][list(_HEX)] = hexadecimal
            hexadecimal = digit
        self._rows[escape][ord("u")] = hexadecimal
        self._rows[inside][ord('"')] = then
        first = inside
        if schema.get("minLength", 0) > 0:
            first = self._state()
            self._rows[first][:256] = self._rows[inside][:256]
            self._rows[first][ord('"')] = _DEAD
        return self._literal(b'"', first)


@lru_cache(maxsize=16)
def form_of(reply: type[BaseModel]) -> Form:
    """The form of a reply."""
    return Form(reply.model_json_schema())


class Vocabulary:
    """The tokens of a byte-level tokenizer as bytes, and which of them a form allows.

    Args:
        tokenizer: A fast tokenizer of transformers whose tokens are bytes (GPT-2's way, as SmolLM2 has it).
        size: Rows of the model's output, which may be more than the tokenizer has.

    Attributes:
        spelt: The bytes of each token that is not special, by its number.

    Raises:
        ConfigurationError: for a tokenizer of another kind.
    """

    def __init__(self, tokenizer: Any, size: int) -> None:
        if type(tokenizer.backend_tokenizer.decoder).__name__ != "ByteLevel":
            raise ConfigurationError(
                "A model in this process can be kept to a form only where its tokenizer works on bytes.",
                remedy="Serve this model with vLLM and set EXPOSIT_VLM to its URL.",
            )
        of_char = {char: byte for byte, char in _byte_alphabet().items()}
        special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
        spelt = {
            number: bytes(of_char[char] for char in token)
            for token, number in tokenizer.get_vocab().items()
            if number not in special and number < size
        }
        longest = max(map(len, spelt.values()))
        self._codes = np.full((size, longest), _STAY, dtype=np.int16)
        self._usable = np.zeros(size, dtype=bool)
        for number, text in spelt.items():
            self._codes[number, : len(text)] = list(text)
            self._usable[number] = len(text) > 0
        self.spelt = spelt
        self._onward: dict[tuple[int, int], npt.NDArray[np.int32]] = {}
        self._kept: dict[int, Form] = {}

    def spelling(self, token: int) -> bytes:
        """The bytes of a token; empty for a special one."""
        return self.spelt.get(token, b"")

    def onward(self, form: Form, state: int) -> npt.NDArray[np.int32]:
        """The state after each token, by its number; -1 where the form does not allow it. Read-only."""
        key = (id(form), state)
        if key not in self._onward:
            self._kept[id(form)] = form  # so that its id stays its own
            states = np.full(len(self._codes), state, dtype=np.int32)
            states[~self._usable] = _DEAD
            for column in self._codes.T:
                states = np.where(states == _DEAD, _DEAD, form.table[states, column])
            states.setflags(write=False)
            self._onward[key] = states
        return self._onward[key]


def _byte_alphabet() -> dict[int, str]:
    """The printable character that stands for each byte in GPT-2's tokens (Radford et al. 2019, `bytes_to_unicode`)."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    odd = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {byte: chr(256 + index) for index, byte in enumerate(odd)}

"""What is shown of others' words, on one line: nothing forges or floods a page; and tables."""

import re
import reprlib
import unicodedata
from collections.abc import Sequence
from typing import Any

_LONGEST_WORD, _LONGEST_LINE = 300, 900
# controls, marks of direction, bytes that are no text, separators of lines
_UNSAFE = ("Cc", "Cf", "Cs", "Zl", "Zp")
_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 80


def printable(text: object) -> str:
    """Return a text of several lines with its other control characters escaped."""
    return "\n".join(map(_escaped, str(text).split("\n")))


def _escaped(text: str) -> str:
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in _UNSAFE else char
        for char in text
    )


def one_line(text: object) -> str:
    """Return a text with its control characters escaped; the middle of a long one is left out."""
    escaped = _escaped(str(text))
    words = re.sub(rf"\S{{{_LONGEST_WORD + 1},}}", lambda word: _shortened(word[0]), escaped)
    return _shortened(words, _LONGEST_LINE)


def lines(text: object) -> str:
    """Return a text of several lines with each of them as `one_line` shows it."""
    return "\n".join(one_line(line) for line in str(text).split("\n"))


def shown(value: Any) -> str:
    """Return a value as Python writes it, shortened."""
    return _REPR.repr(value)


def _shortened(text: str, longest: int = _LONGEST_WORD) -> str:
    if len(text) <= longest:
        return text
    head, tail = longest // 2, longest // 4
    return f"{text[:head]}… ({len(text) - head - tail} characters more) …{text[-tail:]}"


def table(header: tuple[str, ...], rows: list[tuple[Any, ...]]) -> list[str]:
    """Align rows under a header."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]


def listed(words: Sequence[str]) -> str:
    """Write words as a list in a sentence: a, b and c."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))

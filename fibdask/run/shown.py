"""Words of others on one line: nothing that a recipe or a file holds forges or floods a page."""

import unicodedata
from typing import Any

_LONGEST_VALUE = 80
_LONGEST_LINE = 1000
_UNSAFE = ("Cc", "Cf", "Cs", "Zl", "Zp")  # controls, marks of direction, bytes that are no text


def one_line(text: object) -> str:
    """Return a text with its control characters escaped; the middle of a long one is left out."""
    escaped = "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in _UNSAFE else char
        for char in str(text)
    )
    return _shortened(escaped, _LONGEST_LINE)


def lines(text: object) -> str:
    """Return a text of several lines with each of them as `one_line` shows it."""
    return "\n".join(one_line(line) for line in str(text).split("\n"))


def shown(value: Any) -> str:
    """Return a value as Python writes it, shortened."""
    return _shortened(repr(value), _LONGEST_VALUE)


def _shortened(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    head, tail = 2 * longest // 3, longest // 4
    return f"{text[:head]} … ({len(text) - head - tail} characters) … {text[-tail:]}"

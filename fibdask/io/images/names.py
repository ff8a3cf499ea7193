"""What the names of a series of files tell: which number counts slices, which is a depth or a time.

A name may hold several numbers. All that differ between the files must agree about their order:
of two readings that disagree, none is guessed.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from statistics import median_low

from ...pieces.image_header import DECIMAL, DEPTH, number_of, place_in_names
from .headers import nanometres

_TAKEN = "\ufffc"  # stands for each character that was read
_DAY = 86400  # s

_DEPTH = re.compile(rf"(?<![a-z]){DEPTH}(?P<unit>[a-zµμ]+)", re.I)
_WITHOUT_UNIT = re.compile(
    r"(?P<label>(?<![a-z])(?:z|depth)[=_ ]?-?|(?<![\d.,]))"
    r"(?P<whole>\d+)[.,](?P<fraction>\d+)(?![.,]?\d)",
    re.I,
)
_EXPONENT = re.compile(r"(?<![\d.,])-?\d+(?:[.,]\d+)?e[-+]\d+", re.I)

_YEAR_FIRST = r"(?P<year>(?:19|20)\d\d|\d\d)(?P<d>[-._]?)(?P<month>\d\d)(?P=d)(?P<day>\d\d)"
_YEAR_LAST = r"(?P<day>\d\d)(?P<d>[-._])(?P<month>\d\d)(?P=d)(?P<year>(?:19|20)\d\d)"
_CLOCK = (
    r"(?P<hour>[01]\d|2[0-3])(?P<c>[-.:]?|(?P=d))(?P<minute>[0-5]\d)"
    r"(?:(?P=c)(?P<second>[0-5]\d))?(?:\d{3})?"
)
_DATES = tuple(
    re.compile(rf"(?<!\d){date}{clock}(?!\d)")
    for clock in (rf"[T_ .-]?{_CLOCK}(?P<fraction>[.,]\d+)", f"[T_ .-]?{_CLOCK}", "")
    for date in (_YEAR_FIRST, _YEAR_LAST)
)
_UNIX = re.compile(r"(?<!\d)[12]\d{9}(?:\d{3})?(?!\d)")
_TIME_OF_DAY = re.compile(
    r"(?<!\d)(?P<hour>[01]\d|2[0-3])(?P<c>[-.:]?)(?P<minute>[0-5]\d)(?P=c)(?P<second>[0-5]\d)(?!\d)"
)

_SETTING = re.compile(
    rf"(?<![\d.,])-?{DECIMAL} ?(?:[pnuµμmc]m|[kM]?V|[pnuµμ]A|[nuµμm]?s|deg|min)(?![a-zA-Z])"
    rf"|(?<![a-zA-Z])(?i:wd|fwd|focus|mag|hv|eht|tilt)[=_ ]?-?{DECIMAL}"
)
_POSITION = re.compile(rf"(?<![a-z])[xy][=_ ]?-?{DECIMAL}", re.I)
# A dash is a minus where another mark, or the name of a coordinate, stands before it.
_NUMBER = re.compile(r"(?:(?<=[_=])-|(?<=[zZ])(?<![a-zA-Z][zZ])-)?\d+")
_SLICE = re.compile(r"(?<![a-z])(?:slice|section)[-_= ]*$", re.I)
_SHORT = re.compile(r"\D(\d{4}|\d{6})\]")
_KINDS = ("number", "depth", "time", "time of day", "decimal")

Values = tuple[float, ...]
"""One for each name."""


@dataclass(frozen=True)
class Column:
    """A number that stands at one place of every name.

    Attributes
    ----------
    kind
        "number", "depth" (nm), "time" or "time of day" (s), or "decimal": a depth without unit.
    place
        The first name, with brackets around it.
    readings
        What it may mean: values by the way of reading.
    labelled
        The name calls it slice or section.
    """

    kind: str
    place: str
    readings: dict[str, Values]
    labelled: bool = False

    @property
    def values(self) -> Values:
        """The first reading."""
        return next(iter(self.readings.values()))

    @property
    def distinct(self) -> bool:
        """Tell whether it differs in every name."""
        return len(set(self.values)) == len(self.values)

    @property
    def name(self) -> str:
        """Name in messages."""
        return place_in_names(self.kind, self.place)

    def order(self) -> list[int]:
        """Return the places of the names in the order of the values."""
        return sorted(range(len(self.values)), key=self.values.__getitem__)


def read_columns(names: Sequence[str]) -> tuple[list[Column], int | None]:
    """Read the numbers that names hold, without their extension.

    Returns
    -------
    columns
        Those that are not the same in all names.
    odd
        Place of the first name that has other words than the first one; None if all are alike.
    """
    rest, columns = list(names), list[Column]()
    readers: list[tuple[str, re.Pattern[str], Callable[..., dict[str, Values]]]] = [
        ("depth", _DEPTH, _depths),
        ("time", _UNIX, _unix_times),
        *(("time", date, _times) for date in _DATES),
        ("time of day", _TIME_OF_DAY, _times_of_day),
    ]
    for kind, pattern, read in readers:
        columns += _take(names, rest, kind, pattern, read)
    rest = [_SETTING.sub(_blank, name) for name in rest]
    for plain in ([_POSITION.sub(_blank, name) for name in rest], rest):
        counted = _take(names, plain, "decimal", _EXPONENT, _powers)
        counted += _take(names, plain, "decimal", _WITHOUT_UNIT, _decimals)
        counted += _take(names, plain, "number", _NUMBER, _numbers)
        if any(column.distinct for column in (*columns, *counted)):
            break
    words = [re.sub(f"{_TAKEN}+", "#", name) for name in plain]
    odd = next((k for k, word in enumerate(words) if word != words[0]), None)
    return [column for column in (*columns, *counted) if len(set(column.values)) > 1], odd


def choose(columns: Sequence[Column]) -> Column | None:
    """Choose what puts the files in order: a number that counts, else a depth, else a time."""
    found = [column for column in columns if column.distinct]
    return min(found, key=lambda c: (_KINDS.index(c.kind), not c.labelled), default=None)


def contradiction(chosen: Column, columns: Sequence[Column]) -> tuple[str, int, int] | None:
    """Return what speaks against the order of a column, and two names that it puts otherwise.

    A number that the name calls a slice is believed against others that differ in every name; the
    time of day counts for nothing beside another number, for it begins anew each day.
    """
    order = chosen.order()
    for way, values in list(chosen.readings.items())[1:]:
        if fall := _fall(values, order):
            return f"{chosen.name}, read as {way},", *fall
    for column in columns:
        believed = chosen.labelled and column.distinct and column.kind in ("number", "time")
        if column is chosen or column.kind == "time of day" or (believed and not column.labelled):
            continue
        falls = [_fall(values, order) for values in column.readings.values()]
        if all(falls) and falls[0]:
            return column.name, *falls[0]
    return None


def other_count(chosen: Column, columns: Sequence[Column]) -> Column | None:
    """Return another number that counts slices in other steps than the chosen one, if any does."""
    if chosen.kind != "number" or chosen.labelled:
        return None
    for column in columns:
        if column is not chosen and column.kind == "number" and column.distinct:
            offsets = {a - b for a, b in zip(chosen.values, column.values, strict=True)}
            if len(offsets) > 1:
                return column
    return None


def is_doubtful(chosen: Column) -> bool:
    """Tell whether times may be numbers of slices: they have no date, or four or six digits.

    Those of a date in six digits are times where not all of them are whole minutes.
    """
    whole = chosen.kind == "time" and not any(value % 60 for value in chosen.values)
    return chosen.kind == "time of day" or (whole and _SHORT.search(chosen.place) is not None)


def _fall(values: Values, order: Sequence[int]) -> tuple[int, int] | None:
    """Return the first two neighbours of an order between which values fall."""
    pairs = pairwise(order)
    return next(((a, b) for a, b in pairs if values[b] < values[a]), None)


def _take(
    names: Sequence[str],
    rest: list[str],
    kind: str,
    pattern: re.Pattern[str],
    read: Callable[[list[re.Match[str]]], dict[str, Values]],
) -> list[Column]:
    """Take out of `rest` what a pattern matches as often in every name and is readable in each."""
    found = [list(pattern.finditer(name)) for name in rest]
    if len({len(matches) for matches in found}) > 1:
        return []
    columns = []
    for matches in map(list, zip(*found, strict=True)):
        start, stop = matches[0].span()
        labelled = _SLICE.search(names[0][:start]) is not None
        readings = {} if labelled and kind == "time of day" else read(matches)
        if readings:
            place = f"{names[0][:start]}[{names[0][start:stop]}]{names[0][stop:]}"
            columns.append(Column(kind, place, readings, labelled))
            for k, match in enumerate(matches):
                rest[k] = rest[k][: match.start()] + _blank(match) + rest[k][match.end() :]
    return columns


def _blank(match: re.Match[str]) -> str:
    return _TAKEN * len(match[0])


def _numbers(matches: list[re.Match[str]]) -> dict[str, Values]:
    return _signed([match[0] for match in matches], tuple(int(match[0]) for match in matches))


def _signed(texts: Sequence[str], values: Values) -> dict[str, Values]:
    """Return values; where all have a minus, it may be a dash."""
    dashed = {"a dash and a number": tuple(map(abs, values))}
    if not all(text.startswith("-") for text in texts):
        return {"numbers": values}
    return dashed if 0 in values else {"negative numbers": values} | dashed


def _depths(matches: list[re.Match[str]]) -> dict[str, Values]:
    factors = [nanometres(match["unit"]) for match in matches]
    if None in factors:
        return {}
    texts = [match["value"] for match in matches]
    pairs = zip(texts, factors, strict=True)
    values = tuple(round(number_of(text) * (factor or 1), 6) for text, factor in pairs)
    return {"depths": values} if matches[0]["mark"] == "=" else _signed(texts, values)


def _powers(matches: list[re.Match[str]]) -> dict[str, Values]:
    return {"decimals": tuple(number_of(match[0]) for match in matches)}


def _decimals(matches: list[re.Match[str]]) -> dict[str, Values]:
    """Read decimals; in a.001, or 2.9 and 2.10, the point only stands before a number."""
    fractions = [match["fraction"] for match in matches]
    numbers = sorted(map(int, fractions))
    steps = {after - before for before, after in pairwise(numbers)}
    separate = len({match["whole"] for match in matches}) == 1 and not matches[0]["label"]
    if separate and (len(set(map(len, fractions))) == 1 or steps == {1}):
        return {}
    return {"decimals": tuple(float(f"{match['whole']}.{match['fraction']}") for match in matches)}


def _unix_times(matches: list[re.Match[str]]) -> dict[str, Values]:
    seconds = tuple(int(match[0]) / 10 ** (len(match[0]) - 10) for match in matches)
    return {"seconds since 1970": seconds} if max(seconds) < 2.2e9 else {}


def _times(matches: list[re.Match[str]]) -> dict[str, Values]:
    """Read dates, with a time or without; the day comes before the month, or after."""
    readings: dict[str, Values] = {}
    ways = {"day, month": ("month", "day"), "month, day": ("day", "month")}
    if len(year := matches[0]["year"]) == 2 or matches[0].start("year") < matches[0].start("day"):
        ways = {"year, month, day": ("month", "day")}
    for way, (month, day) in ways.items():
        try:
            readings[way] = tuple(_instant(match, month, day) for match in matches)
        except ValueError:
            continue
    fields = matches[0].groupdict()
    if "hour" in fields and _counts(matches):
        return {}
    distinct = any(len(set(values)) == len(values) for values in readings.values())
    if "fraction" in fields and not distinct:
        return {}  # of one time, it may count
    if "hour" not in fields and len(year) == 2 and distinct:
        return {}  # any three numbers
    return readings


def _instant(match: re.Match[str], month: str, day: str) -> float:
    year = int(match["year"])
    year += 2000 if year < 100 else 0
    date = datetime(year, int(match[month]), int(match[day]), tzinfo=UTC)
    return date.timestamp() + _seconds(match)


def _seconds(match: re.Match[str]) -> int:
    """Return the time of day in s."""
    fields = match.groupdict()
    parts = [int(fields.get(name) or 0) for name in ("hour", "minute", "second")]
    return (parts[0] * 60 + parts[1]) * 60 + parts[2]


def _counts(matches: list[re.Match[str]]) -> bool:
    """Tell whether what looks like times of day counts slices.

    Then most steps are one, and none is 41; or all would be in the hour after midnight.
    """
    unit = 1 if matches[0]["second"] else 60
    fields = ("hour", "minute", "second")
    numbers = sorted(int("".join(match[name] or "" for name in fields)) for match in matches)
    steps = [after - before for before, after in pairwise(numbers)]
    times = sorted(_seconds(match) // unit for match in matches)
    even = bool(steps) and median_low(steps) == 1 and sum(steps) == times[-1] - times[0]
    return even or (not matches[0]["c"] and times[-1] * unit < 3600)


def _times_of_day(matches: list[re.Match[str]]) -> dict[str, Values]:
    if _counts(matches):
        return {}
    times = tuple(_seconds(match) for match in matches)
    ordered = sorted(times)
    gaps = [after - before for before, after in pairwise(ordered)]
    readings: dict[str, Values] = {"times of one day": times}
    if gaps and (longest := max(gaps)) > ordered[0] + _DAY - ordered[-1]:
        evening = ordered[gaps.index(longest) + 1]
        readings["times over midnight"] = tuple(t - _DAY if t >= evening else t for t in times)
    return readings

"""Pieces of HTML; every text that comes from outside is escaped here."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Section:
    """A section of the page: its anchor, title and HTML.

    `alarm` draws attention to it; `script` is run once the page is there.
    """

    anchor: str
    title: str
    body: str
    alarm: bool = False
    script: str = ""

    def html(self) -> str:
        """Return the section."""
        head = f'<section id="{self.anchor}">\n<h2>{escape(self.title)}</h2>'
        return f"{head}\n{self.body}\n</section>"

    def link(self) -> str:
        """Return the section's entry in the navigation."""
        style = ' class="alarm"' if self.alarm else ""
        return f'<li><a href="#{self.anchor}"{style}>{escape(self.title)}</a></li>'


def paragraph(text: str, style: str = "about") -> str:
    """Return a paragraph of plain text."""
    return f'<p class="{style}">{escape(text)}</p>'


def picture(source: str, title: str, caption: str, legend: str = "") -> str:
    """Return a figure with a caption; `source` is a data address, `legend` is HTML."""
    text = f"<strong>{escape(title)}</strong> {escape(caption)}{legend}"
    image = f'<img src="{source}" alt="{escape(title)}">'
    if source.startswith("data:image/svg"):  # a plot, whose words must be large enough to be read
        image = f'<div class="scroll">{image}</div>'
    return f"<figure>\n{image}\n<figcaption>{text}</figcaption>\n</figure>"


def colour_legend(entries: Iterable[tuple[tuple[float, float, float], str]]) -> str:
    """Return swatches of colours (red, green, blue from 0 to 1) with what they mean."""
    swatches = [
        f'<span><i style="background:#{bytes(round(255 * c) for c in colour).hex()}"></i>'
        f"{escape(text)}</span>"
        for colour, text in entries
    ]
    return f'<span class="legend">{"".join(swatches)}</span>'


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    numbers: Sequence[int] = (),
    style: str = "wide",
) -> str:
    """Return a table of plain texts; columns in `numbers` are set flush right.

    `style` is narrow, for a few numbers, or total, where the last row sums up the others.
    """
    styles = [' class="number"' if k in numbers else "" for k in range(len(head))]
    top = "".join(f"<th{s}>{escape(h)}</th>" for s, h in zip(styles, head, strict=True))
    lines = [
        "".join(f"<td{s}>{escape(cell)}</td>" for s, cell in zip(styles, row, strict=True))
        for row in rows
    ]
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    content = f"<thead><tr>{top}</tr></thead>\n<tbody>\n{body}\n</tbody>"
    return f'<div class="scroll"><table class="{style}">\n{content}\n</table></div>'


def card(label: str, value: str, detail: str = "", *, assumed: bool = False) -> str:
    """Return a headline number."""
    mark = '<span class="assumed">assumed</span>' if assumed else ""
    small = f'<dd class="detail">{escape(detail)}</dd>' if detail else ""
    number = f'<dd class="value">{escape(value)}{mark}</dd>'
    return f"<div><dt>{escape(label)}</dt>{number}{small}</div>"

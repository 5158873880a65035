"""Charts as SVG. Knows nothing of what is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, ROW, LEFT, RIGHT, TOP = 720, 26, 230, 90, 40
HEIGHT, MARGIN = 340, 56
OURS, OTHER = "#0b66c3", "#9aa4ae"
COLOURS = (OURS, "#c3530b", "#2a8a4a", "#7a4fb5", "#9aa4ae")


@dataclass(frozen=True, slots=True)
class Bar:
    """A median with the least and the largest of its samples."""

    label: str
    value: float
    low: float
    high: float
    ours: bool = False


def bars(title: str, unit: str, found: Sequence[Bar]) -> str:
    """Horizontal bars, a line from the least to the largest sample on each."""
    top = max(bar.high for bar in found) or 1.0
    scale = (WIDTH - LEFT - RIGHT) / top
    parts = [_open(TOP + ROW * len(found) + 14), _text(12, 24, title, weight="bold")]
    for index, bar in enumerate(found):
        y = TOP + ROW * index
        middle = y + ROW / 2 - 3
        colour = OURS if bar.ours else OTHER
        parts += [
            _text(LEFT - 8, middle + 4, bar.label, anchor="end"),
            f'<rect x="{LEFT}" y="{y}" width="{bar.value * scale:.1f}" height="{ROW - 6}" fill="{colour}"/>',
            _line(LEFT + bar.low * scale, middle, LEFT + bar.high * scale, middle, "#222"),
            _text(LEFT + bar.high * scale + 6, middle + 4, f"{bar.value:.4g} {unit}"),
        ]
    return "\n".join([*parts, "</svg>", ""])


def lines(title: str, axes: tuple[str, str], series: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Lines over points that stand at equal distances, in the order of the longest series."""
    places = sorted({x for points in series.values() for x, _ in points})
    top = max(y for points in series.values() for _, y in points) * 1.1 or 1.0
    step = (WIDTH - 2 * MARGIN) / max(len(places) - 1, 1)
    x_of = {x: MARGIN + index * step for index, x in enumerate(places)}

    def y_of(value: float) -> float:
        return HEIGHT - MARGIN - value / top * (HEIGHT - 2 * MARGIN)

    parts = [_open(HEIGHT), _text(12, 24, title, weight="bold")]
    for part in range(5):
        value = top * part / 4
        parts.append(_line(MARGIN, y_of(value), WIDTH - MARGIN, y_of(value), "#ddd"))
        parts.append(_text(MARGIN - 6, y_of(value) + 4, f"{value:.3g}", anchor="end"))
    parts += [_text(x_of[x], HEIGHT - MARGIN + 18, f"{x:g}", anchor="middle") for x in places]
    parts += [_text(WIDTH / 2, HEIGHT - 12, axes[0], anchor="middle"), _text(12, MARGIN - 10, axes[1])]
    for index, (name, points) in enumerate(series.items()):
        colour = COLOURS[index % len(COLOURS)]
        path = " ".join(f"{x_of[x]:.1f},{y_of(y):.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(_text(WIDTH - MARGIN, MARGIN - 10 + 16 * index, name, anchor="end", colour=colour))
    return "\n".join([*parts, "</svg>", ""])


def _open(height: float) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" '
        'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
    )


def _text(  # noqa: PLR0913 (the last three have names)
    x: float, y: float, text: str, *, anchor: str = "start", weight: str = "", colour: str = "#222"
) -> str:
    bold = f' font-weight="{weight}"' if weight else ""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{bold}'
    return f"<text {place}>{escape(text)}</text>"


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    place = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {place} stroke="{colour}"/>'

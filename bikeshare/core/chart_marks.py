"""Marks of decisions: a shape for each kind, so that nobody needs to tell colours apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Mark:
    """Something that happened at a position; stands above the plot and may lead somewhere on the page."""

    position: int
    kind: str
    title: str
    target: str = ""


SHAPES: dict[str, Sequence[tuple[float, float]]] = {
    "hold": ((-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)),
    "retrain": ((0, -1.1), (1.1, 0.85), (-1.1, 0.85)),
    "rollout": ((0, -1.2), (1.2, 0), (0, 1.2), (-1.2, 0)),
    "alert": ((-1.1, -0.85), (1.1, -0.85), (0, 1.1)),
    "refused": (
        (-0.6, -1.1), (0, -0.5), (0.6, -1.1), (1.1, -0.6), (0.5, 0), (1.1, 0.6), (0.6, 1.1), (0, 0.5), (-0.6, 1.1),
        (-1.1, 0.6), (-0.5, 0), (-1.1, -0.6),
    ),
}
"""Corners around the middle, in radii; a kind that is not named is a disc."""


def mark_svg(mark: Mark, x: float, y: float, radius: float) -> str:
    """One mark with its title for whoever hovers, around a point of the drawing."""
    drawn = _shape(mark.kind, x, y, radius, f"<title>{escape(mark.title)}</title>")
    return f'<a href="#{escape(mark.target, quote=True)}">{drawn}</a>' if mark.target else drawn


def mark_key(kind: str, name: str) -> str:
    """The mark of a kind beside its name, for a legend."""
    return (
        f'<span class="key mark-key {escape(kind)}"><svg viewBox="-9 -9 18 18" aria-hidden="true">'
        f'{_shape(kind, 0, 0, 6.5, "")}</svg>{escape(name)}</span>'
    )


def _shape(kind: str, x: float, y: float, radius: float, inside: str) -> str:
    name = f"mark {escape(kind)}"
    if kind not in SHAPES:
        return f'<circle class="{name}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}">{inside}</circle>'
    corners = " ".join(f"{x + radius * right:.1f},{y + radius * down:.1f}" for right, down in SHAPES[kind])
    return f'<polygon class="{name}" points="{corners}">{inside}</polygon>'

"""How figures look: colours that survive colour blindness, greyscale and a dark page, and clean inline SVG."""

from __future__ import annotations

import io
import re
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

from twin.units import ms_from_s
from twin.wording import given

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from twin.metrics.summary import Summary

INK = "#5c5d5e"
"""Stands for the page's own text colour; replaced by `currentColor` in the SVG."""
WIDTH_IN = 9.0

WIDE = 15.0
"""Ratio of the largest to the smallest value from which an axis is logarithmic."""

_SETTINGS: Any = {
    "svg.fonttype": "none",
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.labelsize": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.linewidth": 0.4,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "hatch.linewidth": 0.6,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": INK,
    "hatch.color": INK,
    "text.parse_math": False,
}


_XLINK = 'xmlns:xlink="http://www.w3.org/1999/xlink"'


class Picture(NamedTuple):
    """A figure for the page.

    Attributes:
        name: Unique on the page.
        title: What it shows.
        image: Inline SVG.
        caption: Units, n and source.
    """

    name: str
    title: str
    image: str
    caption: str

    def alone(self) -> str:
        """The figure as an SVG file of its own: dark on white, its caption as the description."""
        start = self.image.index(">") + 1
        head = self.image[:start].replace(
            "<svg ", f'<svg xmlns="http://www.w3.org/2000/svg" {_XLINK} color="{INK}" ', 1
        )
        about = f"<title>{escape(self.title)}</title><desc>{escape(self.caption)}</desc>"
        return f'{head}{about}<rect width="100%" height="100%" fill="white"/>{self.image[start:]}'


class Look(NamedTuple):
    """How a policy is drawn."""

    colour: str
    dash: str | tuple[int, tuple[float, ...]]


_LOOKS = (
    Look("#8a8d91", (0, (3.0, 1.2))),
    Look("#2b83c6", "solid"),
    Look("#d4610c", (0, (9.0, 2.5))),
    Look("#17a07a", (0, (6.0, 2.0, 1.5, 2.0))),
    Look("#b0559a", (0, (2.0, 1.5))),
    Look("#a58a00", (0, (10.0, 2.0, 2.0, 2.0, 2.0, 2.0))),
)
"""The first policy, with which the others are compared, is grey."""

_DEVICES = ("#f2c14e", "#4f9fd0", "#7357b0", "#c2563a", "#9ad1a5", "#8a8d91")
"""Far apart in lightness, from the edge on."""

STATES = (
    ("idle", "#b9bcc0", ""),
    ("compute", "#2b83c6", ""),
    ("transmit", "#f2c14e", "///"),
    ("receive", "#17a07a", "\\\\\\"),
    ("switch", "#7357b0", "xxx"),
)
"""Name, colour and hatch of each `energy.State`."""


def look(position: int) -> Look:
    """How the policy at a position is drawn."""
    return _LOOKS[position % len(_LOOKS)]


def device_colour(position: int) -> str:
    """Colour of the device at a position."""
    return _DEVICES[position % len(_DEVICES)]


@contextmanager
def drawing(height_in: float) -> Iterator[Figure]:
    """An empty figure of the page's width; whatever is drawn within the block follows one style.

    Args:
        height_in: Height in inches.
    """
    import matplotlib as mpl  # noqa: PLC0415 - slow to import
    from matplotlib.figure import Figure  # noqa: PLC0415 - likewise

    with mpl.rc_context(_SETTINGS):
        yield Figure(figsize=(WIDTH_IN, height_in), layout="constrained")


def svg(figure: Figure, name: str) -> str:
    """Return a figure as SVG to stand inside a page: no prologue, no metadata, text in the page's font and colour.

    Args:
        figure: The figure, within its `drawing` block.
        name: Unique on the page; keeps the ids of its figures apart.
    """
    import matplotlib as mpl  # noqa: PLC0415 - slow to import

    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text, count=2)
    text = re.sub(r' id="[a-z]+[a-z0-9.]*_\d+"', "", text, flags=re.IGNORECASE)
    text = re.sub(r"'[^']*'(, [^;\"]*)?, sans-serif", "system-ui, sans-serif", text)
    text = re.sub(r'<svg ([^>]*?)width="[^"]*"', r"<svg \1", text, count=1)
    text = re.sub(r'<svg ([^>]*?)height="[^"]*"', r"<svg \1", text, count=1)
    return text.replace(INK, "currentColor")


def quiet(axes: Axes) -> None:
    """Take the frame away from axes that need none."""
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def log_axis(axes: Axes, which: str) -> None:
    """A logarithmic axis whose labels are plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter  # noqa: PLC0415 - slow to import

    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if which == "x" else (1.0, 3.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def deadline_line(axes: Axes, summary: Summary, *, vertical: bool) -> None:
    """A dashed line at the deadline, if there is one, on an axis in ms."""
    if summary.objective.deadline_s is None:
        return
    at = ms_from_s(summary.objective.deadline_s)
    draw = axes.axvline if vertical else axes.axhline
    draw(at, color=INK, linewidth=0.9, linestyle=(0, (3.0, 2.0)))
    if vertical:
        axes.annotate(
            f"deadline {given(at)} ms",
            (at, 0.02),
            xycoords=axes.get_xaxis_transform(),
            xytext=(4, 0),
            textcoords="offset points",
            fontsize=8,
        )


def sample(summary: Summary, answered: Iterable[int] | None = None) -> str:
    """What every caption says of its numbers.

    Args:
        summary: The figures.
        answered: Answered requests of each policy; those that are counted if not given.
    """
    answered = sorted({*answered} if answered is not None else {policy.answered for policy in summary.policies})
    n = f"{answered[0]}" if len(answered) == 1 else f"{answered[0]} to {answered[-1]}"
    runs = f"{summary.replications} replication{'s' if summary.replications != 1 else ''}"
    return f"n = {n} answered requests per policy in {runs}, source: {summary.source}"

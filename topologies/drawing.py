"""How pictures look: small SVG files on a ground of their own, so that they read on light and on dark pages.

The same data gives the same file, byte for byte, with the same matplotlib (extra ``plots``).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from streamserve.errors import ConfigurationError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "ACCENT",
    "FAINT",
    "INK",
    "MUTED",
    "PLAIN",
    "STEPS",
    "Layout",
    "drawn",
    "keyed",
    "require_matplotlib",
    "titled",
]

INK: Final = "#1f2933"
MUTED: Final = "#5b6776"
FAINT: Final = "#dfe4ea"
PLAIN: Final = "#2a6f97"
ACCENT: Final = "#d1495b"
STEPS: Final = ("#e8f1f2", "#bcdde0", "#6db1bf", "#2a6f97", "#123c5a")
"""From little to much, told apart in grey and by the colour-blind too."""

_GROUND: Final = "#fcfcfd"
_MARGIN_IN: Final = 0.3
_HEADING_IN: Final = 0.95
_RULES: Final = {
    "svg.fonttype": "none",  # text stays text: small, searchable, in a font that the reader has
    "svg.hashsalt": "streamserve",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.facecolor": _GROUND,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "legend.frameon": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Size in inches, and the shares of rows and columns of panels."""

    width: float
    height: float
    rows: Sequence[float] = (1.0,)
    columns: Sequence[float] = (1.0,)


def require_matplotlib() -> None:
    """Raise where pictures cannot be drawn, before anything is spent on what they are to show.

    Raises:
        ConfigurationError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise ConfigurationError('pictures need matplotlib, which is not installed: pip install -e ".[plots]"')


@contextmanager
def drawn(file: Path, layout: Layout, *, title: str, subtitle: str) -> Generator[Sequence[Axes]]:
    """Give the panels, row by row, and write ``file`` as SVG when the block ends without an error.

    Raises:
        ConfigurationError: matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_RULES):
        figure = Figure((layout.width, layout.height), layout="constrained", facecolor=_GROUND, edgecolor=FAINT)
        figure.patch.set_linewidth(2)
        margin = _MARGIN_IN / layout.width
        top = (layout.height - _HEADING_IN) / layout.height
        below = _MARGIN_IN / layout.height / 2
        figure.get_layout_engine().set(rect=(margin / 2, below, 1 - margin, top - below), hspace=0.06, wspace=0.06)
        figure.text(margin, 1 - 0.26 / layout.height, title, size=15, weight="bold", va="top")
        figure.text(margin, 1 - 0.58 / layout.height, subtitle, size=10, color=MUTED, va="top")
        grid = figure.subplots(
            len(layout.rows),
            len(layout.columns),
            squeeze=False,
            height_ratios=layout.rows,
            width_ratios=layout.columns,
        )
        panels = [axes for row in grid for axes in row]
        yield panels
        _settle(figure, panels)
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, format="svg", edgecolor=FAINT, metadata={"Title": title, "Date": None})


def _settle(figure: Figure, panels: Sequence[Axes]) -> None:
    """Lay out once and round: the solver's last digits differ from time to time, and names in the file follow them."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in panels:
        axes.set_position([round(share, 4) for share in axes.get_position().bounds])


def titled(axes: Axes, title: str) -> None:
    """Name a panel, above its left corner."""
    axes.set_title(title, loc="left", size=10.5, weight="bold", color=INK)


def keyed(axes: Axes) -> None:
    """Say what marks and colours mean, above the right corner of the panel."""
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1, 1.0),
        ncols=6,
        fontsize=8.5,
        handlelength=1.4,
        handletextpad=0.5,
        columnspacing=1.4,
        borderaxespad=0.2,
    )

# SPDX-License-Identifier: Apache-2.0
"""The layer strip of a figure: a bar up and a bar down at each depth."""

from __future__ import annotations

from .sheet import MARGIN, SMALL, Sheet

_NAMED_DEPTHS = 16
STRIP = 11.0  # em, of the bars with their axes


def draw_bars(sheet: Sheet, top: float, sums: list[tuple[float, float]]) -> None:
    """The sums for and against at each depth, from `top` to the bottom of a finished sheet."""
    from matplotlib.ticker import MaxNLocator

    figure, em, points, colours = sheet.figure, sheet.em, sheet.points, sheet.colours
    wide, high = figure.get_size_inches()
    whole = sheet.width + 2 * MARGIN
    axes = figure.add_axes((0.1, 0.1, 0.8, 0.8))
    depths = range(1, len(sums) + 1)
    axes.bar(depths, [up for up, _ in sums], 0.62, color=colours["for"], label="for")
    axes.bar(depths, [down for _, down in sums], 0.62, color=colours["against"], label="against")
    axes.axhline(0, color=colours["mute"], linewidth=0.08 * points)
    axes.set_xlim(0.4, len(sums) + 0.6)
    if len(sums) <= _NAMED_DEPTHS:
        axes.set_xticks(depths)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(_NAMED_DEPTHS, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.ticklabel_format(axis="y", scilimits=(-3, 4))
    family = sheet.fonts.properties(SMALL * points)
    axes.set_xlabel("Depth", fontproperties=family, color=colours["fg"], labelpad=0.25 * points)
    axes.set_ylabel("Sum of scores", fontproperties=family, color=colours["fg"], labelpad=0.3 * points)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels(), axes.yaxis.get_offset_text()):
        label.set(fontproperties=family, color=colours["mute"])
    axes.tick_params(length=0.25 * points, width=0.06 * points, color=colours["mute"], pad=0.25 * points)
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="y", color=colours["line"], linewidth=0.06 * points)
    axes.set_axisbelow(True)
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)
    axes.spines["left"].set(color=colours["mute"], linewidth=0.06 * points)
    axes.legend(
        loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, prop=family, borderaxespad=0, borderpad=0.2,
        handlelength=1, handleheight=0.7, columnspacing=1.2, handletextpad=0.4, labelcolor=colours["mute"],
    )  # fmt: skip
    # Room for what stands outside the bars, as wide as it turns out to be.
    box, around = axes.get_window_extent(), axes.get_tightbbox(figure.canvas.get_renderer())
    inch = figure.dpi
    left, right = (box.x0 - around.x0) / inch / em, (around.x1 - box.x1) / inch / em
    above, below = (around.y1 - box.y1) / inch / em, (box.y0 - around.y0) / inch / em
    x, width = MARGIN + left, sheet.width - left - max(right, 0.0)
    y, height = sheet.bottom + MARGIN - below, sheet.bottom - top - above - below
    axes.set_position((x / whole, 1 - y * em / high, width * em / wide, height * em / high))

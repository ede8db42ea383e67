"""How often nominal 95 % intervals hold the truth, on simulated studies.

    python benchmarks/coverage.py --out=docs/coverage.png

2,000 studies each, with several images per patient; the populations are those of
`fairjax.statistics.coverage`. Prints a table and draws it.
"""

from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
from absl import app, flags
from matplotlib.figure import Figure

from fairjax.statistics.coverage import Design, coverage
from fairjax.utils import progress
from fairjax.utils.cli import cache_dir, set_up_jax

STUDIES = flags.DEFINE_integer("studies", 2000, "Studies of each design.")
REPLICATES = flags.DEFINE_integer("replicates", 1000, "Bootstrap replicates of each study.")
OUT = flags.DEFINE_string("out", "docs/coverage.png", "The figure.")

DESIGNS = {
    "n = 400, 1 in 13 positive": Design(400, prevalence=1 / 13),
    "n = 200": Design(200),
    "n = 500": Design(500),
    "n = 2,000": Design(2000),
}
INTERVALS = {"percentile": ("#0072b2", "o"), "bca": ("#d55e00", "s"), "delong": ("#009e73", "D")}
QUANTITIES = {
    ("auc", "a"): "AUC of group a",
    ("auc", "b"): "AUC of group b",
    ("auc", "a − b"): "difference of AUCs",
    ("tpr", "a"): "TPR of group a",
    ("tpr", "b"): "TPR of group b",
    ("tpr", "a − b"): "difference of TPRs",
}


def main(argv: list[str]) -> None:
    set_up_jax(cache_dir())
    tables = []
    with progress.bar("simulating", "design", len(DESIGNS) * len(INTERVALS)) as bar:
        for name, design in DESIGNS.items():
            for interval in INTERVALS:
                found = coverage(design, STUDIES.value, REPLICATES.value, interval)
                tables.append(found.assign(design=name, interval=interval))
                bar.update(1)
    table = pd.concat(tables)
    print(
        table.pivot_table(
            index=["design", "metric", "group"], columns="interval", values="covered", sort=False
        ).round(3)
    )
    draw(table)
    print(OUT.value)


def draw(table: pd.DataFrame) -> None:
    """Draws a panel per design: the fraction of studies covered, and the band of 93-97 %."""
    with matplotlib.rc_context(
        {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    ):
        figure = Figure(figsize=(10, 3.1), dpi=150, layout="constrained")
        panels = figure.subplots(1, len(DESIGNS), sharey=True, sharex=True)
        for panel, name in zip(panels, DESIGNS, strict=True):
            of_design = table[table["design"] == name]
            panel.axvspan(0.93, 0.97, color="#e8eef5")
            panel.axvline(0.95, color="#5b6776", linewidth=1)
            for shift, (interval, (colour, marker)) in zip(
                (-0.2, 0, 0.2), INTERVALS.items(), strict=True
            ):
                rows = of_design[of_design["interval"] == interval].set_index(["metric", "group"])[
                    "covered"
                ]
                y = [row for row, key in enumerate(QUANTITIES) if key in rows.index]
                x = np.array([rows[key] for key in QUANTITIES if key in rows.index])
                half = 1.96 * np.sqrt(x * (1 - x) / STUDIES.value)
                style = {"fmt": marker, "markersize": 4, "color": colour, "linewidth": 1}
                panel.errorbar(x, np.array(y) + shift, xerr=half, label=interval, **style)
            panel.set_title(
                f"{name}\n{of_design['positives'].iloc[0]} positive images per group", fontsize=9
            )
            panel.set_xlim(0.84, 1.0)
        panels[0].set_yticks(range(len(QUANTITIES)), QUANTITIES.values())
        panels[0].invert_yaxis()
        figure.legend(
            *panels[0].get_legend_handles_labels(),
            loc="outside lower right",
            ncols=3,
            frameon=False,
        )
        figure.supxlabel(
            f"fraction of {STUDIES.value:,} studies whose 95 % interval holds the truth", fontsize=9
        )
        figure.savefig(OUT.value)


if __name__ == "__main__":
    app.run(main)

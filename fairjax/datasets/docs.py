"""What the catalog says, for people: the list of datasets, and `docs/datasets.md`."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from fairjax.datasets.catalog import SPECS
from fairjax.datasets.masks import NONZERO
from fairjax.datasets.rules import Bins, Groups, Rule
from fairjax.datasets.spec import Spec
from fairjax.utils.text import aligned

HEAD = """# Datasets

Written by `fairjax datasets docs`; change `fairjax/datasets/catalog/` and run it again.

Each dataset is read as its publishers distribute it: apply for it, unpack it, and give the folder.

    fairjax datasets check NAME --root=DIR
    fairjax launch --config=linear_probe:dataset=NAME,model=MODEL --config.dataset.root=DIR …

`check` reads the tables and every image, and says what a run would say later: counts by split,
group and label, missing values, absent, unreadable and repeated images. It takes the options of
a dataset as flags (`fairjax datasets --help`). Nothing outside the folder is read. DICOM, NIfTI,
MetaImage, HDF5 and XLSX files need `pip install 'fairjax[medical]'`.

Splits are by patient (or what the table below calls the unit). Ages are cut at 60 years unless a
dataset says otherwise; `--config.dataset.bins=age=40,60` cuts elsewhere: 40 is in the group above.
Values that are missing (NA, None, unknown, -, blank, …) leave an image out of that attribute alone
and are counted; `--config.dataset.keep_na=True` keeps them as a group. A value that the catalog
does not name is an error. Volumes are turned to RAS; of a 2.5D dataset each slice is embedded,
and the score of a volume is that of its slice with the highest positive probability
(`--config.dataset.aggregate_slices=mean`: their mean).

Besides these, `synthetic` draws phantoms, and `table` is a user's own table: CSV of any separator,
decimal sign and encoding, TSV, XLSX, Parquet, Feather, JSON, JSONL, also in .gz and .zip.
"""
COLUMNS = ("name", "task", "modality", "dimensions", "unit", "attributes")


def row(name: str, spec: Spec) -> list[str]:
    """One dataset's cells under `COLUMNS`."""
    return [name, spec.task, spec.modality, spec.dimensions, spec.unit, ", ".join(spec.attributes)]


def listing() -> str:
    """All datasets as a table for a terminal."""
    own = [["synthetic", "classification", "phantoms", "2D", "patient", "sex, age, site"]]
    own += [["table", "either", "a user's own", "any", "a column", "columns"]]
    rows = [list(COLUMNS), *(row(name, spec) for name, spec in SPECS.items()), *own]
    return "\n".join(aligned(rows))


def markdown() -> str:
    """The text of `docs/datasets.md`."""
    table = [f"| {' | '.join(COLUMNS)} |", f"| {' | '.join(['---'] * len(COLUMNS))} |"]
    table += [
        f"| [{name}](#{name}) | {' | '.join(row(name, spec)[1:])} |" for name, spec in SPECS.items()
    ]
    return "\n".join([HEAD, *table, "", *(section(name, spec) for name, spec in SPECS.items())])


def section(name: str, spec: Spec) -> str:
    """One dataset."""
    facts: Mapping[str, str] = {
        "dataset": f"{spec.title}: {spec.modality}, {spec.dimensions}, for {spec.task}",
        "apply": spec.access,
        "licence": spec.licence,
        "cite": spec.citation,
        "unit": spec.unit,
        "label": f"{spec.label.meaning} (column `{spec.label.column}`)" if spec.label else "",
        "attributes": "; ".join(
            f"**{key}** {groups(rule)}" for key, rule in spec.attributes.items()
        ),
        "zero-shot": f"“{spec.prompt}”: {spec.classes[0]}, {spec.classes[1]}"
        if spec.prompt
        else "",
        "masks": "; ".join(values(classes) for classes in (file.classes for file in spec.masks)),
        "window": window(spec),
        "note": spec.note,
    }
    lines = [f"- {key}: {text}" for key, text in facts.items() if text]
    return "\n".join(
        [f"## {name}", "", *lines, "", "```", textwrap.dedent(spec.tree).strip(), "```", ""]
    )


def groups(rule: Rule) -> str:
    """The groups of an attribute, and the column that they are read from."""
    if isinstance(rule, Groups):
        rare = [f"{group} (or missing)" for group in rule.rare.values()]
        return f"{', '.join([*dict.fromkeys(rule.groups.values()), *rare])} (`{rule.column}`)"
    names = ", ".join(rule.group_names) if isinstance(rule, Bins) else "as recorded"
    return f"{names} (`{rule.column}`)"


def values(classes: Mapping[str, tuple[int, ...]]) -> str:
    """The classes of a mask's file, and the values that mean them; of many classes their names
    alone.
    """
    if len(classes) > 8:
        return ", ".join(classes)
    return ", ".join(
        f"{name} {'≠ 0' if codes == NONZERO else _codes(codes)}" for name, codes in classes.items()
    )


def _codes(codes: tuple[int, ...]) -> str:
    return ", ".join(map(str, codes)) if len(codes) < 4 else f"{codes[0]} … {codes[-1]}"


def window(spec: Spec) -> str:
    """What becomes black and white."""
    chosen = getattr(spec.pixels, "keywords", {}).get("window")
    if chosen:
        unit = " HU" if "CT" in spec.modality else ""
        return f"{chosen[0]:g} to {chosen[1]:g}{unit}".replace("-", "−")
    return "of each volume its 0.5th to 99.5th percentile" if spec.volumetric else ""

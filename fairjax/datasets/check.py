"""Checks a dataset on disk before an hour of computing is spent on it."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fairjax.datasets.dataset import SPLITS, Dataset
from fairjax.datasets.files import locate
from fairjax.utils.errors import UserError
from fairjax.utils.progress import bar

PIECE = 64  # images that one thread reads before they are counted
MAX_EXAMPLES = 3  # examples of what is wrong


@dataclasses.dataclass(frozen=True)
class Seen:
    """What was found in reading one image and its mask.

    Attributes:
      digest: hash of the pixels; b"" where there are none.
      absent: whether there is no such file.
      reason: why it cannot be read; '' if it can.
      mask: what is wrong with its mask; '' if nothing is, or it has none.
    """

    digest: bytes = b""
    absent: bool = False
    reason: str = ""
    mask: str = ""


@dataclasses.dataclass(frozen=True)
class Findings:
    """What was found in a dataset.

    Attributes:
      dataset: the dataset that was checked.
      counts: images and patients per attribute, group, split and label.
      in_two_splits: patients that are in two splits.
      absent, unreadable, masks: (image, reason) of files that are not there, that cannot be read,
        and of their masks.
      duplicates: images with the same pixels, in groups of two or more.
      leaks: those groups that are in two splits.
      n_read: images that were looked at; 0 where only the tables were.
    """

    dataset: Dataset
    counts: pd.DataFrame
    in_two_splits: list[str]
    absent: list[tuple[str, str]]
    unreadable: list[tuple[str, str]]
    masks: list[tuple[str, str]]
    duplicates: list[list[str]]
    leaks: list[list[str]]
    n_read: int

    def missing(self) -> dict[str, int]:
        """Images without a group, per attribute."""
        groups = {name: self.dataset.groups(name)[0] for name in self.dataset.attributes}
        return {name: int((codes < 0).sum()) for name, codes in groups.items()}

    def problems(self, max_unreadable: float = 0.01) -> list[str]:
        """What must be mended before a run; none, and it is ready.

        Args:
          max_unreadable: fraction of the images that may be absent or unreadable.
        """
        n_bad = len(self.absent) + len(self.unreadable)
        found = {
            f"{len(self.in_two_splits)} patients are in two splits": bool(self.in_two_splits),
            f"{n_bad} of {len(self.dataset)} images are absent or unreadable, more than the "
            f"fraction {max_unreadable:g}": n_bad > max_unreadable * len(self.dataset),
            f"{len(self.leaks)} images are in two splits": bool(self.leaks),
            f"{len(self.masks)} masks are of no use": bool(self.masks),
        }
        return [text for text, holds in found.items() if holds]


def check(
    dataset: Dataset,
    split: np.ndarray,
    *,
    pixels: bool = True,
    threads: int = 4,
    progress: bool = True,
) -> Findings:
    """Checks a dataset: its tables, and every image and mask.

    Args:
      dataset: n images or volumes.
      split: (n,) the split, as `fairjax.datasets.splits.split` gives it.
      pixels: whether to read every image and mask; else only the tables, and whether the files are
        there.
      threads: threads that read; volumes are read one at a time.
      progress: whether to show a bar with images/s.
    """
    images = dataset.table["image"].tolist()
    seen = list(_look(dataset, images, threads, progress) if pixels else _exist(dataset, images))
    by_digest = collections.defaultdict(list)
    for row, one in enumerate(seen):
        if one.digest:
            by_digest[one.digest].append(row)
    same = [rows for rows in by_digest.values() if len({images[row] for row in rows}) > 1]
    used = np.isin(split, SPLITS)
    n_splits = (
        pd.DataFrame({"patient": dataset.table["patient"], "split": split})[used]
        .groupby("patient")["split"]
        .nunique()
    )
    return Findings(
        dataset=dataset,
        counts=dataset.cohort(split),
        in_two_splits=n_splits.index[n_splits > 1].tolist(),
        absent=[(image, one.reason) for image, one in zip(images, seen) if one.absent],
        unreadable=[
            (image, one.reason) for image, one in zip(images, seen) if one.reason and not one.absent
        ],
        masks=[(image, one.mask) for image, one in zip(images, seen) if one.mask],
        duplicates=[[images[row] for row in rows] for rows in same],
        leaks=[
            [images[row] for row in rows]
            for rows in same
            if len({split[row] for row in rows if used[row]}) > 1
        ],
        n_read=len(seen) if pixels else 0,
    )


def _exist(dataset: Dataset, images: Sequence[str]) -> list[Seen]:
    """Whether the files are there; images that are drawn always are."""
    root = getattr(dataset.read, "root", None)
    sizes = locate(Path(root), [images])[1] if root else [0] * len(images)
    return [Seen(absent=size < 0, reason="no such file" if size < 0 else "") for size in sizes]


def _look(dataset: Dataset, images: Sequence[str], threads: int, progress: bool) -> Iterator[Seen]:
    volumetric = dataset.volumetric
    step = 1 if volumetric else PIECE
    pieces = (images[start : start + step] for start in range(0, len(images), step))
    unit = "volume" if volumetric else "image"
    with (
        ThreadPoolExecutor(1 if volumetric else threads) as pool,
        bar("reading", unit, len(images), show=progress) as shown,
    ):
        for found in pool.map(lambda piece: [_see(dataset, image) for image in piece], pieces):
            shown.update(len(found))
            yield from found


def _see(dataset: Dataset, image: str) -> Seen:
    try:
        pixels = dataset.read_volume(image).values if dataset.volumetric else dataset.read(image)
    except FileNotFoundError as error:
        return Seen(absent=True, reason=_reason(error))
    except UserError:
        raise
    except Exception as error:  # whatever a decoder throws at a broken file
        return Seen(reason=_reason(error))
    digest = hashlib.sha256(f"{pixels.shape} {pixels.dtype}".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    shape = pixels.shape if dataset.volumetric else pixels.shape[:2]
    return Seen(digest.digest()[:16], mask=_see_mask(dataset, image, shape))


def _see_mask(dataset: Dataset, image: str, shape: tuple[int, ...]) -> str:
    if dataset.masks is None or not dataset.masks.has(image):
        return ""
    try:
        mask = dataset.read_mask(image)
    except Exception as error:  # as above
        return _reason(error)
    if mask.shape != shape:
        return f"the mask has shape {mask.shape}, the image {shape}"
    return "" if mask.any() else "the mask is empty"


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def describe(findings: Findings, max_unreadable: float = 0.01) -> str:
    """The findings as text for a terminal.

    Args:
      findings: what `check` returned.
      max_unreadable: fraction of the images that may be absent or unreadable.
    """
    data, info = findings.dataset, findings.dataset.info
    unit = "volumes" if data.volumetric else "images"
    lines = [
        f"{data.name}: {len(data):,} {unit} of {data.n_patients:,} units "
        f"({info.get('unit', 'patient')})"
    ]
    lines += (
        [f"label: {info['label']}"] if data.labelled else ["no label: a dataset for segmentation"]
    )
    lines += (
        [f"left out: {info['dropped']:,} rows whose label is not used"]
        if info.get("dropped")
        else []
    )
    lines += [
        f"attribute {name} left out: there is no {file}"
        for name, file in info.get("absent", {}).items()
    ]
    lines += (
        [f"masks: {int(data.has_mask.sum()):,} {unit}; {', '.join(data.mask_classes)}"]
        if data.masks
        else []
    )
    lines += [f"note: {note}" for note in info.get("notes", ())]
    lines += ["", _counts(findings.counts, unit), ""]
    n = len(data)
    gaps = ", ".join(
        f"{name} {count:,} ({count / n:.1%})" for name, count in findings.missing().items() if count
    )
    lines += [f"missing values: {gaps or 'none'}"]
    lines += _examples("absent files", findings.absent)
    if findings.n_read:
        lines += _examples("unreadable files", findings.unreadable)
        lines += _examples("masks of no use", findings.masks) if data.masks else []
        repeated = [
            (" = ".join(group[:MAX_EXAMPLES]), f"{len(group)} times")
            for group in findings.duplicates
        ]
        lines += _examples("images that are there more than once", repeated)
        leaks = [(" = ".join(group[:MAX_EXAMPLES]), "") for group in findings.leaks]
        lines += _examples("images in two splits", leaks)
    lines += [
        f"patients in two splits: {', '.join(findings.in_two_splits[:MAX_EXAMPLES]) or 'none'}"
    ]
    problems = findings.problems(max_unreadable)
    ready = "ready" if findings.n_read else "ready, as far as the tables tell"
    return "\n".join([*lines, f"not ready: {'; '.join(problems)}" if problems else ready])


def _examples(what: str, found: list[tuple[str, str]]) -> list[str]:
    shown = [f"  {name}{': ' * bool(reason)}{reason}" for name, reason in found[:MAX_EXAMPLES]]
    more = [f"  and {len(found) - MAX_EXAMPLES:,} more"] if len(found) > MAX_EXAMPLES else []
    return [f"{what}: {len(found):,}" if found else f"{what}: none", *shown, *more]


def _counts(counts: pd.DataFrame, unit: str) -> str:
    """A table of groups by split and label: images, and patients in brackets."""
    by = [name for name in ("split", "label") if name in counts]
    cells = counts.assign(
        cell=[f"{i:,} ({p:,})" for i, p in zip(counts["n_images"], counts["n_patients"])]
    )
    cells = cells[cells.groupby(["attribute", "group"])["n_images"].transform("sum") > 0]
    table = cells.pivot(index=["attribute", "group"], columns=by, values="cell")
    table = table.reindex(pd.MultiIndex.from_frame(cells[["attribute", "group"]].drop_duplicates()))
    table = table.reindex(
        columns=[name for name in SPLITS if name in table.columns.get_level_values("split")],
        level=0,
    )
    if "label" in by:
        table = table.rename(columns={0: "negative", 1: "positive"}, level="label")
    return f"{unit} (patients)\n{table.to_string()}"


def to_json(findings: Findings, max_unreadable: float = 0.01) -> dict[str, Any]:
    """The findings as JSON values, with every file that is named.

    Args:
      findings: what `check` returned.
      max_unreadable: fraction of the images that may be absent or unreadable.
    """
    named = {key: getattr(findings, key) for key in ("absent", "unreadable", "masks")}
    return {
        "dataset": findings.dataset.name,
        "n_images": len(findings.dataset),
        "n_patients": findings.dataset.n_patients,
        "counts": findings.counts.to_dict("records"),
        "missing": findings.missing(),
        **{
            key: [{"image": image, "reason": reason} for image, reason in found]
            for key, found in named.items()
        },
        "duplicates": findings.duplicates,
        "leaks": findings.leaks,
        "in_two_splits": findings.in_two_splits,
        "n_read": findings.n_read,
        "problems": findings.problems(max_unreadable),
    }

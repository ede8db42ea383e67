"""Files below a dataset's folder, and none outside it: every path is resolved here before anything
is opened.
"""

from __future__ import annotations

import functools
import glob
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from fairjax.utils.errors import UserError
from fairjax.utils.storage import hash_json

ABSENT = -1  # as a file's size
THREADS = 16  # that ask for files' sizes: on a network file system each answer takes its time
FRAGMENT = "#"  # `file#7` is the slice or frame 7 of a file


class OutsideRootError(ValueError):
    """A path that leaves the dataset's folder, by `..`, by a link, or by being absolute."""


def existing_root(name: str, root: str | os.PathLike | None) -> Path:
    """`root` as a path without links, or a `UserError` that says how to give it."""
    if not root:
        raise UserError(f"dataset {name!r} needs its folder: give --config.dataset.root=DIR")
    if not Path(root).is_dir():
        raise UserError(
            f"dataset {name!r}: image root {root} does not exist or is no folder; give "
            "--config.dataset.root=DIR"
        )
    return Path(os.path.realpath(root))


def inside(root: str | os.PathLike, path: str) -> str:
    """The real place of a path relative to `root`.

    Raises:
      OutsideRootError: it is not below `root` once links and `..` are followed.
    """
    _check_written(path)
    top = os.path.realpath(root)
    real = os.path.realpath(os.path.join(top, path))
    if not real.startswith(top.rstrip(os.sep) + os.sep):
        raise OutsideRootError(f"path {path!r} leaves the dataset's folder for {real}")
    return real


def _check_written(path: str) -> None:
    if ".." in path.split("/") or "\0" in path or os.path.isabs(path):
        raise OutsideRootError(f"path {path!r} leaves the dataset's folder")


def split_fragment(key: str) -> tuple[str, int | None]:
    """Splits `file#7` into the file and the number; None where there is no number."""
    path, mark, number = key.rpartition(FRAGMENT)
    return (path, int(number)) if mark and number.isdecimal() else (key, None)


def fields_of(template: str) -> list[str]:
    """The columns that a template of a path names."""
    return re.findall(r"{([^{}]+)}", template)


def fill(root: Path, template: str, frame: pd.DataFrame) -> list[str]:
    """The template's path for every row; '' where a column is blank, or a `*` in it finds no file.

    Raises:
      UserError: a `*` finds several files.
    """
    fields = fields_of(template)
    wild = "*" in template
    rows = zip(*(frame[field] for field in fields)) if fields else ((),) * len(frame)
    return [_fill(root, template, dict(zip(fields, values)), wild) for values in rows]


def _fill(root: Path, template: str, row: Mapping[str, str], wild: bool) -> str:
    if not all(row.values()):
        return ""
    if not wild:
        return template.format_map(row)
    pattern = template.format_map({field: glob.escape(value) for field, value in row.items()})
    found = matches(root, pattern)
    if len(found) > 1:
        raise UserError(
            f"{root}: {len(found)} files match {pattern}, as {found[0]} and {found[1]}; keep one"
        )
    return found[0] if found else ""


def matches(root: Path, pattern: str) -> list[str]:
    """Paths relative to `root` that match a pattern, sorted; a `UserError` for a pattern that
    leaves it.
    """
    if ".." in pattern.split("/") or os.path.isabs(pattern):
        raise UserError(f"path {pattern!r} leaves the dataset's folder {root}; mend the table")
    return sorted(glob.glob(pattern, root_dir=root))


def find(root: Path, names: Iterable[str]) -> Path | None:
    """The first of the names (or patterns) that is there, as a real path below `root`.

    Raises:
      UserError: it is a link that leaves `root`, or several files match one pattern.
    """
    for name in names:
        found = matches(root, name) if "*" in name else [name] * (root / name).exists()
        if len(found) > 1:
            raise UserError(
                f"{root}: {len(found)} files match {name}, as {found[0]} and {found[1]}; keep one"
            )
        if found:
            try:
                return Path(inside(root, found[0]))
            except OutsideRootError as error:
                raise UserError(f"{error}; nothing outside {root} is read") from None
    return None


def locate(root: Path, candidates: Sequence[Sequence[str]]) -> tuple[list[str], list[int]]:
    """For every row the first of its candidate paths that exists, and its size in bytes (−1 where
    none does).

    The size of a folder is that of the files in it. Fragments (`file#7`) do not count as part of
    the name.

    Args:
      root: the dataset's folder.
      candidates: per template, the path in every row; '' where there is none.

    Raises:
      UserError: a path leaves `root`.
    """
    sizes_of = functools.partial(
        _first, root, functools.lru_cache(4096)(functools.partial(_check_parent, str(root)))
    )
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(_in_pieces(pool, sizes_of, zip(*candidates)))
    return [path for path, _ in found], [size for _, size in found]


def require_some(root: Path, images: Sequence[str], sizes: Sequence[int]) -> None:
    """Refuses a folder that holds none of the images."""
    if max(sizes, default=ABSENT) < 0:
        raise UserError(
            f"none of the {len(sizes)} images is in {root} (for example "
            f"{next(filter(None, images), '')}); "
            f"is it the right folder?"
        )


def fingerprint(images: Sequence[str], sizes: Sequence[int], reader: str = "files") -> str:
    """Hash of what the pixels come from: names, file sizes (bytes, −1 where absent) and the reader;
    opens no image.
    """
    return hash_json([reader, list(images), list(sizes)])


def _in_pieces(pool: ThreadPoolExecutor, function, items: Iterable, piece: int = 256) -> Iterator:
    """Maps over items in the pool, a piece at a time: a future per file would take longer than the
    file.
    """
    rows = list(items)
    pieces = (rows[start : start + piece] for start in range(0, len(rows), piece))
    for done in pool.map(lambda part: [function(row) for row in part], pieces):
        yield from done


def _first(root: Path, check_parent, paths: Sequence[str]) -> tuple[str, int]:
    for path in filter(None, paths):
        name = split_fragment(path)[0]
        try:
            _check_written(name)
            check_parent(os.path.dirname(name))
            size = _size(root, name)
        except OutsideRootError as error:
            raise UserError(
                f"{error}; nothing outside {root} is read: mend the table or copy the files"
            ) from None
        if size >= 0:
            return path, size
    return next(filter(None, paths), ""), ABSENT


def _check_parent(root: str, folder: str) -> None:
    if folder:
        inside(root, folder)


def _size(root: Path, path: str) -> int:
    """Size of a file, or of all files in a folder; follows a link only to a place below `root`."""
    place = os.path.join(root, path)
    try:
        status = os.lstat(place)
        if stat.S_ISLNK(status.st_mode):
            status = os.stat(inside(root, path))
        if not stat.S_ISDIR(status.st_mode):
            return status.st_size
        with os.scandir(place) as entries:
            return sum(
                entry.stat(follow_symlinks=False).st_size for entry in entries if entry.is_file()
            )
    except OSError:
        return ABSENT

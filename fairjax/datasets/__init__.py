"""What is a patient, an image, a label, a group: `load(name, root)` gives a `Dataset`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fairjax.datasets.dataset import Dataset


def load(name: str, root: str | None = None, **options) -> Dataset:
    """Reads a dataset's table; images stay on disk until they are asked for.

    Args:
      name: a row of `fairjax.datasets.catalog.SPECS`, also as published (`COVID-CT-MD`),
        `synthetic`, or `table` (a user's own CSV or Parquet).
      root: the folder that holds the dataset in its published layout; not needed by `synthetic`.
      **options: the dataset's own: `bins` (groups of continuous attributes, as `age=40,60` or
        `{"age": (40, 60)}`), `keep_na`, and more for those of the catalog and for `table`
        (`fairjax.datasets.options`); for `synthetic` the fields of `PhantomConfig`.

    Returns:
      A `Dataset`: a table of images, patients, labels and groups, a reader of images, and one of
        masks.

    Raises:
      UserError: a name or option is unknown, a file or column is missing, or a value has no place
        in the group maps.
    """
    from fairjax.datasets import catalog

    return catalog.load(name, root, **options)

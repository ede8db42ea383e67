"""The table of datasets. A new one is one declaration here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from fairjax.datasets import synthetic, table
from fairjax.datasets.dataset import Dataset
from fairjax.datasets.masks import NONZERO, Masks
from fairjax.datasets.readers import (
    ImageFiles,
    MaskImages,
    existing_root,
    fingerprint,
    image_sizes,
    patients,
    read_table,
)
from fairjax.datasets.spec import Bins, Groups, Label, MaskFile, Spec, fields_of, recut
from fairjax.errors import UserError, lookup

SEX = {"female": "female", "male": "male"}
SEX_LETTERS = {"F": "female", "M": "male"}

SPECS: Mapping[str, Spec] = {
    "ham10000": Spec(
        modality="dermoscopy",
        tables=("HAM10000_metadata.csv", "HAM10000_metadata"),
        image=(
            "HAM10000_images/{image_id}.jpg",
            "HAM10000_images_part_1/{image_id}.jpg",
            "HAM10000_images_part_2/{image_id}.jpg",
        ),
        label=Label(
            "dx",
            "malignant or pre-malignant: melanoma or actinic keratosis / intraepithelial carcinoma",
            positive=("akiec", "mel"),
            negative=("bcc", "bkl", "df", "nv", "vasc"),
        ),
        attributes={"sex": Groups("sex", SEX, missing=("unknown",)), "age": Bins("age")},
        patient="lesion_id",
        prompt="a photo of a {}",
        classes=("benign lesion", "malignant lesion"),
        citation="Tschandl et al., The HAM10000 dataset, Scientific Data 2018",
        licence="CC BY-NC 4.0",
        masks=(
            MaskFile(
                ("HAM10000_segmentations_lesion_tschandl/{image_id}_segmentation.png",), classes={"lesion": NONZERO}
            ),
        ),
    ),
    "isic2017": Spec(
        modality="dermoscopy",
        tables=("metadata.csv",),
        image=("images/{image_id}.jpg",),
        label=Label("melanoma", "melanoma", positive=("1",), negative=("0",)),
        attributes={
            "sex": Groups("sex", SEX, missing=("unknown",)),
            "age": Bins("age_approximate", missing=("unknown",)),
        },
        patient=None,
        prompt="a photo of a {}",
        classes=("benign lesion", "melanoma"),
        citation="Codella et al., Skin lesion analysis toward melanoma detection, ISBI 2018",
        licence="CC0",
        masks=(MaskFile(("masks/{image_id}_segmentation.png",), classes={"lesion": NONZERO}),),
    ),
    "covid_cxr": Spec(
        modality="chest radiography",
        tables=("metadata.csv",),
        image=("images/{image}",),
        label=Label("finding", "COVID-19", contains="COVID-19"),
        attributes={"sex": Groups("sex", SEX_LETTERS), "age": Bins("age")},
        patient="patientid",
        prompt="a chest X-ray of a {}",
        classes=("patient without COVID-19", "patient with COVID-19"),
        citation="Cohen et al., COVID-19 image data collection, 2020",
        licence="per image, see the column `license`",
        masks=(MaskFile(("masks/{mask}",), classes={"lung": NONZERO}),),
    ),
}

LOADERS: Mapping[str, Callable[..., Dataset]] = {"synthetic": synthetic.load, "table": table.load}


def names() -> list[str]:
    """Every name that `load` knows."""
    return sorted([*LOADERS, *SPECS])


def load(name: str, root: str | None = None, **options: Any) -> Dataset:
    """See `fairjax.datasets.load`."""
    if name in LOADERS:
        return LOADERS[name](root, **options)
    lookup("dataset", name, dict.fromkeys(names()))
    return load_spec(name, SPECS[name], root, **options)


def load_spec(
    name: str, spec: Spec, root: str | None = None, *, cuts: Mapping[str, Sequence[float]] | None = None
) -> Dataset:
    """Reads the dataset that `spec` describes from `root`.

    Args:
      name: the dataset's name.
      spec: its declaration.
      root: the folder in the published layout.
      cuts: cut points per continuous attribute, instead of the spec's.

    Returns:
      The `Dataset`.

    Raises:
      UserError: root, table, column missing, or a value without a rule.
    """
    folder = existing_root(name, root)
    path = next((folder / file for file in spec.tables if (folder / file).is_file()), None)
    if path is None:
        raise UserError(
            f"{name}: no {' or '.join(spec.tables)} in {folder}; is --config.dataset.root the dataset's own folder?"
        )
    frame = read_table(path, spec.columns, spec.mask_columns)
    rules = recut(name, spec.attributes, cuts or {})
    labels = spec.label.apply(frame[spec.label.column], str(path))
    frame, labels = frame[labels >= 0].reset_index(drop=True), labels[labels >= 0].reset_index(drop=True)
    templates = [[template.format(**row) for row in frame.to_dict("records")] for template in spec.image]
    images, sizes = image_sizes(folder, templates)
    columns: dict[str, Any] = {
        "image": images,
        "patient": patients(frame, spec.patient, images, str(path)),
        "label": labels,
    }
    columns |= {attribute: rule.apply(frame[rule.column], str(path)) for attribute, rule in rules.items()}
    info = {
        "modality": spec.modality,
        "label": spec.label.meaning,
        "classes": list(spec.classes),
        "prompt": spec.prompt,
        "citation": spec.citation,
        "licence": spec.licence,
    }
    masks = _masks(spec, folder, frame, images)
    return Dataset(name, pd.DataFrame(columns), ImageFiles(str(folder)), fingerprint(images, sizes), info, masks)


def _masks(spec: Spec, folder: Path, frame: pd.DataFrame, images: list[str]) -> Masks | None:
    """The reader of the masks of those images that have every file of theirs."""
    if not spec.masks:
        return None
    found: dict[str, tuple[str, ...]] = {}
    for image, row in zip(images, frame.to_dict("records")):
        files = tuple(_first(folder, file.files, row) for file in spec.masks)
        if all(files):
            found[image] = files
    return Masks(MaskImages(str(folder)), found, tuple(file.classes for file in spec.masks))


def _first(folder: Path, templates: Sequence[str], row: Mapping[str, str]) -> str:
    """The first path that exists; '' where none does, or a column that it is made of is blank."""
    paths = (template.format(**row) for template in templates if all(row[name] for name in fields_of(template)))
    return next((path for path in paths if (folder / path).is_file()), "")

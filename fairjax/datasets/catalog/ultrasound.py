"""Ultrasound."""

import functools
from collections.abc import Mapping

from fairjax.datasets.catalog.common import SEX_ANY, STANFORD
from fairjax.datasets.file_sources import FrameRows
from fairjax.datasets.masks import NONZERO
from fairjax.datasets.readers.arrays import FrameImages, Frames
from fairjax.datasets.rules import Bins, Groups
from fairjax.datasets.sources import Join, Table
from fairjax.datasets.spec import MaskFile, Spec

SPECS: Mapping[str, Spec] = {
    "tusc": Spec(
        title="TUSC",
        task="segmentation",
        modality="thyroid ultrasound",
        source=Join(
            FrameRows("dataset.hdf5", key="annot_id"),
            Table(("metadata.csv",)),
            on={"annot_id": "annot_id"},
            brings=("age", "sex"),
        ),
        image=("{file}#{frame}",),
        pixels=functools.partial(FrameImages, key="image"),
        attributes={"sex": Groups("sex", SEX_ANY), "age": Bins("age")},
        patient="annot_id",
        unit="clip of a nodule",
        masks=(MaskFile(("{file}#{frame}",), classes={"nodule": NONZERO}),),
        mask_values=functools.partial(Frames, key="mask"),
        citation="Thyroid Ultrasound Cine-clip, Stanford AIMI Center 2021",
        licence=STANFORD,
        access="https://aimi.stanford.edu/datasets/thyroid-ultrasound-cine-clip",
        tree="""
            metadata.csv
            dataset.hdf5  image, mask (0 or 255), annot_id: all frames
        """,
        note="All frames of a clip are in one split.",
    ),
}

"""Dermoscopy."""

import dataclasses
from collections.abc import Mapping

from fairjax.datasets.catalog.common import SEX
from fairjax.datasets.masks import NONZERO
from fairjax.datasets.rules import Bins, Groups, Label
from fairjax.datasets.sources import Table
from fairjax.datasets.spec import MaskFile, Spec

HAM10000 = Spec(
    title="HAM10000",
    task="classification",
    modality="dermoscopy",
    source=Table(("HAM10000_metadata.csv", "HAM10000_metadata")),
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
    unit="lesion",
    prompt="a photo of a {}",
    classes=("benign lesion", "malignant lesion"),
    citation="Tschandl et al., The HAM10000 dataset, Scientific Data 2018",
    licence="CC BY-NC 4.0",
    access="https://doi.org/10.7910/DVN/DBW86T",
    tree="""
        HAM10000_metadata.csv             with or without .csv
        HAM10000_images/ISIC_0024306.jpg  or HAM10000_images_part_1/ and _part_2/
    """,
    note="Basal cell carcinoma counts as negative, as in FairMedFM; "
    "`--config.dataset.positive=\"('akiec', 'mel', 'bcc')\"` counts it as malignant.",
)

SPECS: Mapping[str, Spec] = {
    "ham10000": HAM10000,
    "ham10000_seg": dataclasses.replace(
        HAM10000,
        title="HAM10000-Seg",
        task="segmentation",
        masks=(
            MaskFile(
                ("HAM10000_segmentations_lesion_tschandl/{image_id}_segmentation.png",),
                classes={"lesion": NONZERO},
            ),
        ),
        citation=HAM10000.citation + "; masks: Tschandl et al., Nature Medicine 2020",
        tree="""
            HAM10000_metadata.csv             with or without .csv
            HAM10000_images/ISIC_0024306.jpg  or HAM10000_images_part_1/ and _part_2/
            HAM10000_segmentations_lesion_tschandl/ISIC_0024306_segmentation.png
        """,
    ),
    "isic2017": Spec(
        title="ISIC 2017",
        task="classification",
        modality="dermoscopy",
        source=Table(("metadata.csv",)),
        image=("images/{image_id}.jpg",),
        label=Label("melanoma", "melanoma", positive=("1",), negative=("0",)),
        attributes={
            "sex": Groups("sex", SEX, missing=("unknown",)),
            "age": Bins("age_approximate", missing=("unknown",)),
        },
        patient=None,
        unit="image",
        prompt="a photo of a {}",
        classes=("benign lesion", "melanoma"),
        masks=(MaskFile(("masks/{image_id}_segmentation.png",), classes={"lesion": NONZERO}),),
        citation="Codella et al., Skin lesion analysis toward melanoma detection, ISBI 2018",
        licence="CC0",
        access="https://challenge.isic-archive.com/data/#2017",
        tree="""
            metadata.csv  image_id, age_approximate, sex, melanoma
            images/ISIC_0000001.jpg
            masks/ISIC_0000001_segmentation.png
        """,
    ),
}

"""Computed tomography."""

import functools
from collections.abc import Mapping

from fairjax.datasets.catalog.common import SEX, SEX_ANY, SEX_LETTERS, YEARS
from fairjax.datasets.masks import NONZERO
from fairjax.datasets.readers.volume_files import VolumeImages, VolumeMasks
from fairjax.datasets.rules import Bins, Groups, Label
from fairjax.datasets.sources import Derive, Table
from fairjax.datasets.spec import MaskFile, Spec

ABDOMEN = (
    -160.0,
    240.0,
)  # Hounsfield units: the soft-tissue window of radiology, 400 wide about 40

SPECS: Mapping[str, Spec] = {
    "covid_ct_md": Spec(
        title="COVID-CT-MD",
        task="classification",
        modality="chest CT",
        compat_grey=(0.5056, 0.252),
        dimensions="2.5D",
        source=Derive(
            Table(("Clinical-data.csv",), header_rows=2),
            {"cases": ("Diagnosis", {"COVID-19": "COVID-19", "CAP": "Cap", "Normal": "Normal"})},
        ),
        image=(
            "{cases} Cases/{Folder}/*.nii.gz",
            "{cases} Cases/{Folder}",
            "{cases} Cases/{Folder}.nii.gz",
        ),
        pixels=functools.partial(VolumeImages, window=(-1250.0, 250.0)),
        label=Label(
            "Diagnosis",
            "pneumonia: COVID-19 or community-acquired",
            ("COVID-19", "CAP"),
            ("Normal",),
        ),
        attributes={
            "sex": Groups("Patient Gender", SEX_LETTERS),
            "age": Bins("Patient Age", pattern=YEARS),
        },
        patient="Folder",
        prompt="a computed tomography of a {}",
        classes=("normal", "pneumonia"),
        citation="Afshar et al., COVID-CT-MD, COVID-19 computed tomography scan dataset "
        "applicable in machine learning "
        "and deep learning, Scientific Data 2021",
        licence="CC BY 4.0",
        access="https://doi.org/10.6084/m9.figshare.12991592",
        tree="""
            Clinical-data.csv
            COVID-19 Cases/P001/*.dcm  or one .nii.gz next to or inside the folder
            Cap Cases/cap001/*.dcm
            Normal Cases/normal001/*.dcm
        """,
    ),
    "kits23": Spec(
        title="KiTS23",
        task="segmentation",
        modality="abdominal CT",
        dimensions="3D",
        source=Table(("kits23.json",)),
        image=(
            "{case_id}/imaging.nii.gz",
            "dataset/{case_id}/imaging.nii.gz",
            "imagesTr/{case_id}_0000.nii.gz",
        ),
        pixels=functools.partial(VolumeImages, window=ABDOMEN),
        attributes={
            "sex": Groups(
                "gender", SEX, rare={"transgender_male_to_female": "transgender male to female"}
            ),
            "age": Bins("age_at_nephrectomy"),
        },
        patient="case_id",
        masks=(
            MaskFile(
                (
                    "{case_id}/segmentation.nii.gz",
                    "dataset/{case_id}/segmentation.nii.gz",
                    "labelsTr/{case_id}.nii.gz",
                ),
                classes={"kidney": (1,), "tumor": (2,), "cyst": (3,)},
            ),
        ),
        mask_values=VolumeMasks,
        citation="Heller et al., The KiTS21 challenge, arXiv:2307.01984",
        licence="CC BY-NC-SA 4.0",
        access="https://github.com/neheller/kits23",
        tree="""
            kits23.json
            case_00000/imaging.nii.gz       or imagesTr/case_00000_0000.nii.gz
            case_00000/segmentation.nii.gz  or labelsTr/case_00000.nii.gz
        """,
        note="The one patient whose gender is transgender_male_to_female counts as missing for "
        "the attribute sex, and "
        "is a group of its own with `--config.dataset.rare=group`.",
    ),
    "ircadb": Spec(
        title="IRCADb",
        task="segmentation",
        modality="abdominal CT",
        dimensions="3D",
        source=Table(("overview.csv", "overview.xlsx")),
        image=(
            "{name}.nii.gz",
            "{name}.nii",
            "{name}/volume.nii.gz",
            "volumes/{name}.nii.gz",
            "{name}/PATIENT_DICOM",
        ),
        pixels=functools.partial(VolumeImages, window=ABDOMEN),
        attributes={"sex": Groups("sex", SEX_ANY)},
        patient="name",
        masks=(
            MaskFile(
                (
                    "{name}_liver.nii.gz",
                    "{name}_liver.nii",
                    "{name}/liver.nii.gz",
                    "labels/{name}.nii.gz",
                    "{name}/MASKS_DICOM/liver",
                ),
                classes={"liver": NONZERO},
            ),
        ),
        mask_values=VolumeMasks,
        citation="Soler et al., 3D image reconstruction for comparison of algorithm database, "
        "IRCAD 2010",
        licence="see the publisher's page",
        access="https://www.ircad.fr/research/data-sets/liver-segmentation-3d-ircadb-01/",
        tree="""
            overview.csv         name, sex
            {name}.nii.gz        or {name}/volume.nii.gz, volumes/{name}.nii.gz,
                                 {name}/PATIENT_DICOM/
            {name}_liver.nii.gz  or {name}/liver.nii.gz, labels/{name}.nii.gz,
                                 {name}/MASKS_DICOM/liver/
        """,
    ),
}

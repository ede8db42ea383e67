"""Photographs and scans of the back of the eye."""

import functools
from collections.abc import Mapping

from fairjax.datasets.catalog.common import HARVARD, PHYSIONET, SEX
from fairjax.datasets.file_sources import ArrayFiles
from fairjax.datasets.readers.arrays import ArrayImages, ArrayMasks
from fairjax.datasets.rules import Bins, Groups, Label, Values
from fairjax.datasets.sources import Derive, Either, Stack, Table
from fairjax.datasets.spec import MaskFile, Spec

SEX_ONE_TWO = {"1": "male", "2": "female"}
SEX_MALE_FIRST = {"0": "male", "1": "female"}
RACE = {name: name for name in ("asian", "black", "white")}
LANGUAGE = {name: name for name in ("english", "spanish", "other")}
PARTS = ("Training", "Validation", "Test")  # folders of the Harvard datasets
NPZ = ("{filename}", *(f"{part}/{{filename}}" for part in PARTS))

# FairSeg tells people by codes in its arrays, and in words in tables made of them.
CODED_SEX = {"0": "female", "1": "male", **SEX, "Female": "female", "Male": "male"}
CODED_RACE = {
    "0": "asian",
    "1": "black",
    "2": "white",
    **RACE,
    **{name.capitalize(): name for name in RACE},
}
CODED_LANGUAGE = {"0": "english", "1": "spanish", "2": "other", **LANGUAGE}
CODED_LANGUAGE |= {name.capitalize(): name for name in LANGUAGE}
FAIRSEG_FIELDS = {name: name for name in ("age", "race", "gender", "language")}

SPECS: Mapping[str, Spec] = {
    "papila": Spec(
        title="PAPILA",
        task="classification",
        modality="fundus photography",
        source=Derive(
            Stack(
                {
                    eye: Table(
                        tuple(
                            f"ClinicalData/patient_data_{eye.lower()}{end}"
                            for end in (".xlsx", ".csv")
                        ),
                        header_rows=3,
                        rows={"ID": r"#\d+"},
                    )
                    for eye in ("OD", "OS")
                },
                column="eye",
            ),
            {"number": ("ID", r"^#(\d+)$")},
        ),
        image=("FundusImages/RET{number}{eye}.jpg",),
        label=Label("Diagnosis", "glaucoma (suspects are left out)", ("1",), ("0",), drop=("2",)),
        attributes={"sex": Groups("Gender", SEX_MALE_FIRST), "age": Bins("Age")},
        patient="ID",
        prompt="a fundus image of a {}",
        classes=("normal", "glaucoma"),
        citation="Kovalyk et al., PAPILA: dataset with fundus images and clinical data of both "
        "eyes of the same "
        "patient for glaucoma assessment, Scientific Data 2022",
        licence="CC BY 4.0",
        access="https://doi.org/10.6084/m9.figshare.14798004",
        tree="""
            ClinicalData/patient_data_od.xlsx  right eyes; or .csv
            ClinicalData/patient_data_os.xlsx  left eyes
            FundusImages/RET002OD.jpg
        """,
        note="Both eyes of a patient are in one split.",
    ),
    "brset": Spec(
        title="BRSET",
        task="classification",
        modality="fundus photography",
        source=Table(("labels.csv",)),
        image=("fundus_photos/{image_id}.jpg",),
        label=Label("DR_ICDR", "diabetic retinopathy of any grade", ("1", "2", "3", "4"), ("0",)),
        attributes={
            "sex": Groups("patient_sex", SEX_ONE_TWO),
            "age": Bins("patient_age"),
            "camera": Values("camera"),
        },
        patient="patient_id",
        prompt="a fundus image of a {}",
        classes=("normal", "retinopathy"),
        citation="Nakayama et al., BRSET: a Brazilian multilabel ophthalmological dataset of "
        "retina fundus photos, "
        "PLOS Digital Health 2024",
        licence=PHYSIONET,
        access="https://physionet.org/content/brazilian-ophthalmological/",
        tree="""
            labels.csv
            fundus_photos/img00001.jpg
        """,
    ),
    "fairvlmed10k": Spec(
        title="FairVLMed10k",
        task="classification",
        modality="scanning laser ophthalmoscopy",
        source=Table(("data_summary.csv",)),
        image=NPZ,
        pixels=functools.partial(ArrayImages, keys=("slo_fundus",)),
        label=Label("glaucoma", "glaucoma", ("yes",), ("no",)),
        attributes={
            "sex": Groups("gender", SEX),
            "age": Bins("age"),
            "race": Groups("race", RACE, missing=("unknown",)),
            "language": Groups("language", LANGUAGE, missing=("unknown",)),
            "ethnicity": Groups(
                "ethnicity",
                {"hispanic": "hispanic", "non-hispanic": "non-hispanic"},
                missing=("unknown",),
            ),
        },
        patient="filename",
        prompt="a scanning laser ophthalmoscope fundus image of a {}",
        classes=("normal", "glaucoma"),
        citation="Luo et al., FairCLIP: harnessing fairness in vision-language learning, CVPR 2024",
        licence=HARVARD,
        access="https://github.com/Harvard-Ophthalmology-AI-Lab/FairCLIP",
        tree="""
            data_summary.csv
            data_00001.npz  or in Training/, Validation/, Test/; slo_fundus
        """,
        note="One image per patient. The split of the publishers (column `use`) is not used.",
    ),
    "gf3300": Spec(
        title="GF3300",
        task="classification",
        modality="OCT, thickness of the retinal nerve fibre layer",
        compat_grey=(0.2756, 0.1708),
        source=Table(("data_summary.csv",)),
        image=NPZ,
        pixels=functools.partial(ArrayImages, keys=("rnflt",), window=(-2.0, 350.0)),
        label=Label("glaucoma", "glaucoma", ("yes", "1"), ("no", "0")),
        attributes={
            "sex": Groups("gender", SEX),
            "age": Bins("age"),
            "race": Groups("race", RACE, missing=("unknown",)),
            "language": Groups("language", LANGUAGE, missing=("unknown",)),
        },
        patient="filename",
        prompt="a photo of a {}",
        classes=("normal", "glaucoma"),
        citation="Luo et al., Harvard glaucoma fairness: a retinal nerve disease dataset for "
        "fairness learning and "
        "fair identity normalization, IEEE TMI 2024",
        licence=HARVARD,
        access="https://ophai.hms.harvard.edu/datasets/harvard-gf3300",
        tree="""
            data_summary.csv
            data_0001.npz  or in Training/, Validation/, Test/; rnflt
        """,
        note="Pixels are (rnflt + 2) / 352 of white; rnflt is in µm, −2 where it was not measured.",
    ),
    "fairseg": Spec(
        title="FairSeg",
        task="segmentation",
        modality="scanning laser ophthalmoscopy",
        source=Either(
            (
                Derive(Table(("data_summary.csv",)), {"file": ("filename", r"^(.+)$")}),
                ArrayFiles(("*.npz", *(f"{part}/*.npz" for part in PARTS)), FAIRSEG_FIELDS),
            )
        ),
        image=("{file}", *(f"{part}/{{file}}" for part in PARTS)),
        pixels=functools.partial(ArrayImages, keys=("slo_fundus", "fundus")),
        attributes={
            "sex": Groups("gender", CODED_SEX, missing=("-1", "unknown")),
            "age": Bins("age", missing=("-1", "unknown")),
            "race": Groups("race", CODED_RACE, missing=("-1", "unknown")),
            "language": Groups("language", CODED_LANGUAGE, missing=("-1", "unknown", "Unknown")),
        },
        patient="file",
        masks=(
            MaskFile(
                ("{file}", *(f"{part}/{{file}}" for part in PARTS)),
                classes={"rim": (-1,), "cup": (-2,)},
            ),
        ),
        mask_values=functools.partial(ArrayMasks, keys=("disc_cup_borders",)),
        citation="Tian et al., FairSeg: a large-scale medical image segmentation dataset for "
        "fairness learning, "
        "ICLR 2024",
        licence=HARVARD,
        access="https://github.com/Harvard-Ophthalmology-AI-Lab/FairSeg",
        tree="""
            data_00001.npz    or in Training/, Test/; slo_fundus or fundus,
                              disc_cup_borders, and codes of the person, unless
            data_summary.csv  filename, age, race, gender, language
        """,
        note="The disc is the rim and the cup together. One image per patient.",
    ),
}

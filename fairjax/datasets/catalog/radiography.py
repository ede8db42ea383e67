"""Chest radiographs."""

from collections.abc import Mapping

from fairjax.datasets.catalog.common import PHYSIONET, SEX_LETTERS, STANFORD, YEARS
from fairjax.datasets.file_sources import TextFiles
from fairjax.datasets.masks import NONZERO
from fairjax.datasets.rules import Bins, Groups, Label
from fairjax.datasets.sources import Derive, FirstKnown, Join, Table
from fairjax.datasets.spec import MaskFile, Spec

# Parts of the race as written; a text is of the first that it contains, so that `White, Hispanic`
# is white.
RACE_PARTS = (
    "Asian",
    "Black",
    "Hispanic",
    "Native",
    "Pacific Islander",
    "American Indian",
    "Other",
)
MIMIC_RACE_PARTS = (
    "ASIAN",
    "BLACK",
    "HISPANIC",
    "NATIVE",
    "PORTUGUESE",
    "SOUTH AMERICAN",
    "MULTIPLE",
    "OTHER",
)
MIMIC_RACE_MISSING = ("UNKNOWN", "UNABLE TO OBTAIN", "PATIENT DECLINED TO ANSWER")

SPECS: Mapping[str, Spec] = {
    "chexpert": Spec(
        title="CheXpert",
        task="classification",
        modality="chest radiography",
        compat_grey=(0.5056, 0.252),
        source=Join(
            Derive(Table(("train.csv",)), {"patient": ("Path", r"(patient\d+)")}),
            Table(("CHEXPERT DEMO.xlsx",), sheet="CheXpert Demo 11-13"),
            on={"patient": "PATIENT"},
            brings=("PRIMARY_RACE",),
            needed=False,
        ),
        image=("{Path}",),
        label=Label(
            "No Finding", "no finding (blank and uncertain: not positive)", ("1",), ("0", "-1", "")
        ),
        attributes={
            "sex": Groups("Sex", {"Female": "female", "Male": "male"}, missing=("Unknown",)),
            "age": Bins("Age"),
            "race": Groups(
                "PRIMARY_RACE",
                {"White": "white", **dict.fromkeys(RACE_PARTS, "non-white")},
                missing=("Unknown", "Race and Ethnicity Unknown", "Patient Refused"),
                parts=True,
            ),
        },
        patient="patient",
        prompt="a chest X-ray of a {}",
        classes=("diseased", "normal"),
        citation="Irvin et al., CheXpert: a large chest radiograph dataset with uncertainty "
        "labels, AAAI 2019",
        licence=STANFORD,
        access="https://aimi.stanford.edu/datasets/chexpert-chest-x-rays",
        tree="""
            train.csv
            CHEXPERT DEMO.xlsx  race; without it the attribute is left out
            CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg
        """,
    ),
    "mimic_cxr": Spec(
        title="MIMIC-CXR",
        task="classification",
        modality="chest radiography",
        compat_grey=(0.5056, 0.252),
        source=Derive(
            Join(
                Join(
                    Join(
                        Table(("mimic-cxr-2.0.0-metadata.csv",)),
                        Table(("mimic-cxr-2.0.0-chexpert.csv",)),
                        on={"subject_id": "subject_id", "study_id": "study_id"},
                        brings=("No Finding",),
                    ),
                    Table(("patients.csv",)),
                    on={"subject_id": "subject_id"},
                    brings=("gender", "anchor_age"),
                ),
                FirstKnown(
                    Table(("admissions.csv",)),
                    by="subject_id",
                    column="race",
                    missing=MIMIC_RACE_MISSING,
                ),
                on={"subject_id": "subject_id"},
                brings=("race",),
            ),
            {"folder": ("subject_id", r"^(\d\d)")},
        ),
        image=(
            "files/p{folder}/p{subject_id}/s{study_id}/{dicom_id}.jpg",
            "files/p{folder}/p{subject_id}/s{study_id}/{dicom_id}.dcm",
        ),
        label=Label(
            "No Finding", "no finding (blank and uncertain: not positive)", ("1",), ("0", "-1", "")
        ),
        attributes={
            "sex": Groups("gender", SEX_LETTERS),
            "age": Bins("anchor_age"),
            "race": Groups(
                "race",
                {"WHITE": "white", **dict.fromkeys(MIMIC_RACE_PARTS, "non-white")},
                missing=MIMIC_RACE_MISSING,
                parts=True,
            ),
        },
        patient="subject_id",
        prompt="a chest X-ray of a {}",
        classes=("diseased", "normal"),
        citation="Johnson et al., MIMIC-CXR-JPG, arXiv:1901.07042; MIMIC-IV, Scientific Data 2023",
        licence=PHYSIONET,
        access="https://physionet.org/content/mimic-cxr-jpg/ and "
        "https://physionet.org/content/mimiciv/",
        tree="""
            mimic-cxr-2.0.0-metadata.csv
            mimic-cxr-2.0.0-chexpert.csv
            patients.csv                                  of MIMIC-IV, hosp/
            admissions.csv                                of MIMIC-IV, hosp/
            files/p10/p10000032/s50414267/{dicom_id}.jpg  or .dcm
        """,
    ),
    "covid_cxr": Spec(
        title="COVID-19 image data collection",
        task="classification",
        modality="chest radiography",
        source=Table(("metadata.csv",)),
        image=("images/{image}",),
        label=Label("finding", "COVID-19", contains="COVID-19"),
        attributes={"sex": Groups("sex", SEX_LETTERS), "age": Bins("age")},
        patient="patientid",
        prompt="a chest X-ray of a {}",
        classes=("patient without COVID-19", "patient with COVID-19"),
        masks=(MaskFile(("masks/{mask}",), classes={"lung": NONZERO}),),
        citation="Cohen et al., COVID-19 image data collection, 2020",
        licence="per image, see the column `license`",
        access="https://github.com/ieee8023/covid-chestxray-dataset",
        tree="""
            metadata.csv  patientid, sex, age, finding, image, mask
            images/{image}
            masks/{mask}  of some images
        """,
    ),
    "montgomery": Spec(
        title="Montgomery",
        task="segmentation",
        modality="chest radiography",
        source=Derive(
            TextFiles(
                "ClinicalReadings/*.txt",
                {"sex": r"Patient's Sex:[ \t]*(\S*)", "age": r"Patient's Age:[ \t]*(\S*)"},
            ),
            {"finding": ("stem", r"_([01])$")},
        ),
        image=("CXR_png/{stem}.png",),
        label=Label("finding", "tuberculosis", ("1",), ("0",)),
        attributes={"sex": Groups("sex", SEX_LETTERS), "age": Bins("age", pattern=YEARS)},
        patient="stem",
        prompt="a chest X-ray of a {}",
        classes=("patient without tuberculosis", "patient with tuberculosis"),
        masks=(
            MaskFile(("ManualMask/leftMask/{stem}.png",), classes={"left lung": NONZERO}),
            MaskFile(("ManualMask/rightMask/{stem}.png",), classes={"right lung": NONZERO}),
        ),
        citation="Jaeger et al., Two public chest X-ray datasets for computer-aided screening of "
        "pulmonary diseases, "
        "Quantitative Imaging in Medicine and Surgery 2014",
        licence="made available by the National Library of Medicine; cite the paper",
        access="https://lhncbc.nlm.nih.gov/LHC-downloads/downloads.html",
        tree="""
            CXR_png/MCUCXR_0001_0.png           _0 normal, _1 tuberculosis
            ManualMask/leftMask/MCUCXR_0001_0.png
            ManualMask/rightMask/MCUCXR_0001_0.png
            ClinicalReadings/MCUCXR_0001_0.txt  sex, age
        """,
    ),
}

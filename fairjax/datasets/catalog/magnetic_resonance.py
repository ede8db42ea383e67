"""Magnetic resonance imaging."""

import functools
from collections.abc import Mapping

from fairjax.datasets.catalog.common import SEX_ANY, SEX_LETTERS
from fairjax.datasets.readers.volume_files import VolumeImages, VolumeMasks
from fairjax.datasets.rules import Bins, Groups, Label, Values
from fairjax.datasets.sources import Derive, Stack, Table
from fairjax.datasets.spec import MaskFile, Spec

CANDI_COHORTS = ("BPDwithoutPsy", "BPDwithPsy", "HC", "SS")

# Labels of the Center for Morphometric Analysis, which FreeSurfer took over: left, right,
# structure.
PAIRED = {
    "cerebral white matter": (2, 41),
    "cerebral cortex": (3, 42),
    "lateral ventricle": (4, 43),
    "inferior lateral ventricle": (5, 44),
    "cerebellum white matter": (7, 46),
    "cerebellum cortex": (8, 47),
    "thalamus": ((9, 10), (48, 49)),
    "caudate": (11, 50),
    "putamen": (12, 51),
    "pallidum": (13, 52),
    "hippocampus": (17, 53),
    "amygdala": (18, 54),
    "accumbens area": (26, 58),
    "ventral diencephalon": (28, 60),
    "vessel": (30, 62),
    "choroid plexus": (31, 63),
    "white matter hypointensities": (78, 79),
}
SINGLE = {
    "third ventricle": (14,),
    "fourth ventricle": (15,),
    "brain stem": (16,),
    "cerebrospinal fluid": (24,),
    "fifth ventricle": (72,),
    "hypointensities": (77, 80, 81, 82),
    "optic chiasm": (85,),
}


def _both_sides() -> dict[str, tuple[int, ...]]:
    sides = {
        f"{side} {name}": labels if isinstance(labels, tuple) else (labels,)
        for name, pair in PAIRED.items()
        for side, labels in zip(("left", "right"), pair, strict=True)
    }
    return sides | SINGLE


SPECS: Mapping[str, Spec] = {
    "adni": Spec(
        title="ADNI-1 1.5T",
        task="classification",
        modality="brain MRI",
        compat_grey=(0.5056, 0.252),
        dimensions="2.5D",
        source=Table(("ADNI1_*.csv",)),
        image=(
            "ADNI/{Subject}/*/*/{Image Data ID}/*/*.nii",
            "ADNI/{Subject}/*/*/{Image Data ID}/*.nii",
        ),
        pixels=VolumeImages,
        label=Label(
            "Group",
            "Alzheimer's disease (mild cognitive impairment is left out)",
            ("AD",),
            ("CN",),
            drop=("MCI",),
        ),
        attributes={"sex": Groups("Sex", SEX_LETTERS), "age": Bins("Age")},
        patient="Subject",
        prompt="a brain MRI of {}",
        classes=("normal", "Alzheimer's disease"),
        citation="Jack et al., The Alzheimer's disease neuroimaging initiative (ADNI): MRI "
        "methods, JMRI 2008",
        licence="ADNI Data Use Agreement",
        access="https://adni.loni.usc.edu/data-samples/access-data/",
        tree="""
            ADNI1_*.csv                                                one collection
            ADNI/{Subject}/{description}/{date}/{Image Data ID}/*.nii  or in one more folder
        """,
    ),
    "candi": Spec(
        title="CANDI",
        task="segmentation",
        modality="brain MRI",
        dimensions="3D",
        source=Stack(
            {cohort: Table((f"{cohort}_Basic_Demographics.csv",)) for cohort in CANDI_COHORTS},
            column="cohort",
        ),
        image=("{Subject}/{Subject}_procimg.nii.gz", "{cohort}/{Subject}/{Subject}_procimg.nii.gz"),
        pixels=VolumeImages,
        attributes={
            "sex": Groups("Gender", SEX_ANY),
            "age": Bins("Age", cuts=(10.0,)),  # they are 4 to 17 years old
            "cohort": Values("cohort"),
        },
        patient="Subject",
        masks=(
            MaskFile(
                ("{Subject}/{Subject}_seg.nii.gz", "{cohort}/{Subject}/{Subject}_seg.nii.gz"),
                classes=_both_sides(),
            ),
        ),
        mask_values=VolumeMasks,
        citation="Kennedy et al., CANDIShare: a resource for pediatric neuroimaging data, "
        "Neuroinformatics 2012",
        licence="CC BY-NC",
        access="https://www.nitrc.org/projects/candi_share",
        tree="""
            {BPDwithoutPsy,BPDwithPsy,HC,SS}_Basic_Demographics.csv
            HC_001/HC_001_procimg.nii.gz  or in a folder of its cohort
            HC_001/HC_001_seg.nii.gz
        """,
        note="The patients are 4 to 17 years old, so ages are cut at 10 by default.",
    ),
    "spider": Spec(
        title="SPIDER",
        task="segmentation",
        modality="lumbar spine MRI",
        dimensions="3D",
        source=Derive(Table(("overview.csv",)), {"patient": ("new_file_name", r"^(\d+)_")}),
        image=("images/{new_file_name}.mha",),
        pixels=functools.partial(VolumeImages, axis="sagittal"),
        attributes={"sex": Groups("sex", SEX_LETTERS), "age": Bins("birth_date")},
        patient="patient",
        masks=(
            MaskFile(
                ("masks/{new_file_name}.mha",),
                classes={
                    "vertebrae": (
                        *range(1, 26),
                        *range(101, 126),
                    ),  # those above 100 are seen in part
                    "discs": tuple(range(201, 226)),
                    "canal": (100,),
                },
            ),
        ),
        mask_values=VolumeMasks,
        citation="van der Graaf et al., Lumbar spine segmentation in MR images: a dataset and a "
        "public benchmark, "
        "Scientific Data 2024",
        licence="CC BY 4.0",
        access="https://doi.org/10.5281/zenodo.8009679",
        tree="""
            overview.csv  birth_date is an age in years, of 119 volumes
            images/1_t1.mha
            masks/1_t1.mha
        """,
        note="A patient has up to three volumes (t1, t2, t2_SPACE), which are in one split.",
    ),
}

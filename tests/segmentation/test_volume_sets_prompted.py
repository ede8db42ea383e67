"""FairMedFM's volumetric datasets with masks, in their published layouts, through prompted
segmentation.
"""

import numpy as np
import pandas as pd
import pytest
from helpers.trees import records, write_csv, write_json, write_mha, write_nifti

from fairjax.configs import common
from fairjax.tasks.config import from_dict
from fairjax.tasks.segmentation import pipeline

N = 4
BLOCK = np.zeros(
    (20, 24, 28), np.uint8
)  # three slices along each axis hold a block, of one class each
BLOCK[8:11, 10:13, 12:15] = 1
RNG = np.random.default_rng(0)


def pixels():
    return (RNG.normal(size=BLOCK.shape) * 20 + 100 * BLOCK).astype(np.int16)


def kits23(root):
    cases = [
        {
            "case_id": f"case_0000{i}",
            "gender": ("male", "female")[i % 2],
            "age_at_nephrectomy": 40 + 9 * i,
        }
        for i in range(N)
    ]
    write_json(root / "kits23.json", [case | {"comorbidities": {}} for case in cases])
    for case in cases:
        write_nifti(
            root / case["case_id"] / "imaging.nii.gz", pixels(), np.diag([-0.8, -0.8, 3.0, 1.0])
        )
        write_nifti(
            root / case["case_id"] / "segmentation.nii.gz", BLOCK, np.diag([-0.8, -0.8, 3.0, 1.0])
        )


def candi(root):
    for i, cohort in enumerate(("BPDwithoutPsy", "BPDwithPsy", "HC", "SS")):
        subject = f"{cohort}_00{i}"
        row = {
            "Subject": subject,
            "Gender": ("female", "male")[i % 2],
            "Age": str(8 + i),
            "Handedness": "Right",
        }
        write_csv(root / f"{cohort}_Basic_Demographics.csv", [row])
        write_nifti(root / subject / f"{subject}_procimg.nii.gz", pixels().astype(np.float32))
        write_nifti(root / subject / f"{subject}_seg.nii.gz", (17 * BLOCK).astype(np.int16))


def ircadb(root):
    names = [f"3Dircadb1.{i + 1}" for i in range(N)]
    write_csv(
        root / "overview.csv",
        records("name|sex", *(f"{name}|{'FM'[i % 2]}" for i, name in enumerate(names))),
    )
    for name in names:
        write_nifti(root / f"{name}.nii.gz", pixels())
        write_nifti(root / f"{name}_liver.nii.gz", (255 * BLOCK.astype(int)).astype(np.int16))


def spider(root):
    rows = [f"{i + 1}_t1|7|7|{'FM'[i % 2]}|{50 + i}|training|SIEMENS" for i in range(N)]
    header = "new_file_name|num_vertebrae|num_discs|sex|birth_date|subset|Manufacturer"
    write_csv(root / "overview.csv", records(header, *rows))
    for i in range(N):
        for folder, values in (("images", pixels()), ("masks", BLOCK.astype(np.int16))):
            write_mha(root / folder / f"{i + 1}_t1.mha", values, (2.0, 0.5, 0.6))


@pytest.mark.slow
@pytest.mark.parametrize("write", [kits23, candi, ircadb, spider])
def test_a_patient_of_a_volumetric_dataset_has_one_value_per_class(write, checkpoint, tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    write(root)
    config = common.segmentation(write.__name__, "mobile_sam")
    config.model.checkpoint = str(checkpoint)
    config.dataset.root, config.attributes, config.n_boot = str(root), ("sex",), 20
    config.embedding.update({"batch_size": 2, "shard_batches": 2})
    config.evaluation.min_group = 1
    config.prompting.update({"prompts": "bbox", "cases": 1})
    pipeline.run(from_dict(config.to_dict()), tmp_path / "work", tmp_path / "cache", progress=False)
    tidy = pd.read_parquet(tmp_path / "work" / "results.parquet")
    dice = tidy[
        (tidy["metric"] == "dice")
        & (tidy["run"] == "bbox:predicted")
        & (tidy["attribute"] == "sex")
    ]
    assert dict(zip(dice["group"], dice["n"]))["overall"] == N
    assert set(dice["group"]) >= {"female", "male", "gap"}
    assert dice[dice["group"] == "overall"]["value"].between(0, 1).all()
    objects = pd.read_parquet(tmp_path / "work" / "scores" / "objects.parquet")
    assert len(objects) >= 3 * N  # slices in which there is something to segment

"""Large tables are read in bounded memory: CheXpert's 223,414 rows, of which only some images are
on disk.
"""

import csv
import json
import subprocess
import sys

from helpers.trees import write_image

ROWS = 223_414
SCRIPT = """
import json, resource, sys
from fairjax import datasets
from fairjax.datasets import splits
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
data = datasets.load("chexpert", sys.argv[1])
side = splits.split(data, method="hash")
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({
    "rows": len(data), "patients": data.n_patients, "positive": int(data.labels.sum()), "kib": after - before,
    "missing": int((data.groups("sex")[0] < 0).sum()), "share": float((side == "test").mean()),
}))
"""


def test_chexpert_of_full_size(tmp_path):
    names = [
        "Path",
        "Sex",
        "Age",
        "Frontal/Lateral",
        "AP/PA",
        "No Finding",
        *(f"finding {i}" for i in range(13)),
    ]
    folder = "CheXpert-v1.0-small/train"
    with open(tmp_path / "train.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        for i in range(ROWS):
            sex = "Unknown" if i == 9 else ("Male", "Female")[i // 4 % 2]
            path = f"{folder}/patient{i // 4:05d}/study1/view{i % 4}_frontal.jpg"
            writer.writerow(
                [
                    path,
                    sex,
                    18 + i // 4 % 73,
                    "Frontal",
                    "AP",
                    ("1.0", "", "-1.0")[i % 3],
                    *["1.0", "", "-1.0"] * 4,
                    "",
                ]
            )
    for i in range(3):
        write_image(tmp_path / f"{folder}/patient0000{i}/study1/view0_frontal.jpg")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert (found["rows"], found["missing"]) == (ROWS, 1)
    assert found["patients"] == -(-ROWS // 4)
    assert found["positive"] == -(-ROWS // 3)
    assert abs(found["share"] - 0.25) < 0.01
    assert found["kib"] < 500 * 1024

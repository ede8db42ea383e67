"""A million samples are evaluated in bounded memory, however many replicates there are."""

import subprocess
import sys

import pytest

LIMIT_MIB = 512
FEW, MANY = 32, 96  # replicates, in calls of the same compiled program

# The first run compiles; what later ones need above what is held before them is the work itself.
PROGRAM = """
import re, sys
import numpy as np
from fairjax.metrics.table import CLASSIFICATION
from fairjax.statistics.evaluation import evaluate_runs

def mib(field):
    return int(re.search(rf"{field}:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 1024

rng, n = np.random.default_rng(0), 1_000_000
labels = (rng.random(n) < 0.3).astype(int)
scores = (1 / (1 + np.exp(-rng.normal(1.5 * labels - 1, 1)))).astype(np.float32)
groups = {"site": (rng.integers(0, 8, n), [f"site {i}" for i in range(8)])}

for n_boot in (int(sys.argv[1]), *map(int, sys.argv[1:])):
    open("/proc/self/clear_refs", "w").write("5")  # the peak is counted anew
    before = mib("VmRSS")
    evaluate_runs(scores, labels, groups, 0.5, metrics=CLASSIFICATION, n_boot=n_boot)
    print(mib("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_million_samples_take_at_most_half_a_gigabyte():
    command = [sys.executable, "-c", PROGRAM, str(FEW), str(MANY)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    _, few, many = map(float, printed.split())
    assert few < LIMIT_MIB
    assert many < LIMIT_MIB
    assert many - few < LIMIT_MIB / 4  # it does not grow with the replicates, but for their values

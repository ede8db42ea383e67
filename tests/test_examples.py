"""What examples/ shows, runs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.slow
def test_the_audit_prints_its_table_and_writes_its_page(tmp_path):
    for name in ("audit.py", "predictions.csv"):
        shutil.copy(EXAMPLES / name, tmp_path)
    done = subprocess.run(
        [sys.executable, "audit.py"],
        cwd=tmp_path,
        env={**os.environ, "XLA_FLAGS": ""},  # 2,000 replicates: to be compiled well
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    for words in ("AUC", "PPV", "p (corrected)", "female", "audits/example.html"):
        assert words in done.stdout
    assert "female" in (tmp_path / "audits" / "example.html").read_text()

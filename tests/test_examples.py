"""What examples/ shows, runs."""

import shutil
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_the_audit_prints_its_table_and_writes_its_page(tmp_path):
    for name in ("audit.py", "predictions.csv"):
        shutil.copy(EXAMPLES / name, tmp_path)
    done = subprocess.run(
        [sys.executable, "audit.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "auc_low" in done.stdout
    assert "female" in done.stdout
    page = (tmp_path / "audits" / "example.html").read_text()
    assert "female" in page

"""An audit from Python: `python examples/audit.py`, the same as the command in the README.

predictions.csv has the validation and test scores of a probe on the quickstart's phantoms.
"""

from pathlib import Path

import pandas as pd

import fairjax

HERE = Path(__file__).parent

if __name__ == "__main__":
    table = pd.read_csv(HERE / "predictions.csv").groupby("split")
    test, validation = table.get_group("test"), table.get_group("validation")
    chosen_on = validation["lesion"], validation["probe"]
    report = fairjax.audit(
        test["lesion"],
        test["probe"],
        test[["sex", "age"]],
        cluster=test["patient"],
        threshold="youden",
        validation=chosen_on,
    )
    print(report)
    print(report.by_group[["n", "n_positive", "auc", "auc_low", "auc_high", "tpr", "ppv"]])
    print(report.to_html("audits/example.html"))

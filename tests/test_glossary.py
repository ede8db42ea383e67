import fnmatch
import re
from pathlib import Path

import pytest

from fairjax.training.objectives import METHODS, WRAPPERS

TEXT = (Path(__file__).parents[1] / "docs" / "glossary.md").read_text()
ROWS = dict(re.findall(r"^\| (.+?) \| (.+) \|$", TEXT, re.MULTILINE))
STRENGTHS = re.search(r"### Strength by method\n(.*?)\n## ", TEXT, re.DOTALL)[1]
PATTERNS = {
    pattern: meaning
    for names, meaning in re.findall(r"^\| (.+?) \| (.+) \|$", STRENGTHS, re.MULTILINE)
    for pattern in names.split(", ")
}


@pytest.mark.parametrize("name", METHODS)
def test_the_strength_of_every_method_is_explained(name):
    (meaning,) = {
        PATTERNS[pattern]
        for pattern in PATTERNS
        if fnmatch.fnmatch(name.removesuffix("_class"), pattern)
    }
    assert (meaning == "none") == (METHODS[name].strength is None)


def test_wrappers_and_the_columns_of_results_are_explained():
    assert all(name.upper() in ROWS["wrapper"] for name in WRAPPERS)
    columns = {"usage", "method", "sensitive attribute", "strength", "policy", "gap", "worst"}
    assert columns <= set(ROWS)

"""Tables as they come: marks, title lines, ragged rows, and files that are no tables."""

import json
import subprocess
import sys
import zipfile

import pandas as pd
import pytest
from helpers.trees import write_json, write_xlsx

from fairjax.datasets.tables import read_table
from fairjax.utils.errors import UserError


def table(tmp_path, text, name="t.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return path


def test_cells_are_text_without_blanks_whatever_the_format(tmp_path):
    columns = {"id": ["#001", "2.0", "NA"], "sex": ["F ", "M", None], "unused": ["x", "y", "z"]}
    expected = {"sex": ["F", "M", ""], "id": ["#001", "2", "NA"]}
    pd.DataFrame(columns).to_csv(tmp_path / "t.csv", index=False)
    pd.DataFrame(columns).to_csv(tmp_path / "t.tsv", index=False, sep="\t")
    pd.DataFrame(columns).to_csv(tmp_path / "t", index=False)
    pd.DataFrame(columns).to_parquet(tmp_path / "t.parquet")
    write_xlsx(tmp_path / "t.xlsx", [list(columns), *map(list, zip(*columns.values()))])
    write_json(tmp_path / "t.json", [dict(zip(columns, row)) for row in zip(*columns.values())])
    for name in ("t.csv", "t.tsv", "t", "t.parquet", "t.xlsx", "t.json"):
        assert read_table(tmp_path / name, ("sex", "id")).to_dict("list") == expected, name


def test_a_mark_a_title_line_and_blanks_about_names_are_no_part_of_them(tmp_path):
    path = table(
        tmp_path, "\ufeffA title, of two cells\r\nage , sex\r\n039Y,M\r\n", encoding="utf-8"
    )
    assert read_table(path, ("age", "sex"), header_rows=2).to_dict("list") == {
        "age": ["039Y"],
        "sex": ["M"],
    }
    assert read_table(table(tmp_path, "\ufeffage,sex\n039Y,M\n"), ("age",), header_rows=2)[
        "age"
    ].tolist() == ["039Y"]


def test_quotes_blank_lines_and_lines_within_a_cell(tmp_path):
    path = table(tmp_path, 'a,note,b\n1,"two\nlines, ""quoted""",x\n\n,,\n2,,y\n')
    frame = read_table(path, ("a", "note"))
    assert frame["note"].tolist() == ['two\nlines, "quoted"', "", ""]
    assert frame["a"].tolist() == ["1", "", "2"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has no column 'a'"),
        ("b\n1\n", "has no column 'a'; there are: b"),
        ("a\n", "has no rows"),
        ("a,a\n1,2\n", "has 2 columns 'a'; rename all but one"),
        ("a,b\n1,2\n1,2,3\n", "row 2 has 3 columns, not 2"),
        ("a,b\n" + "x" * 2**24 + ",1\n", "has a row of more than"),
    ],
)
def test_what_is_no_table_gets_one_line(tmp_path, text, says):
    with pytest.raises(UserError, match=says):
        read_table(table(tmp_path, text), ("a",))


def test_other_encodings_are_named(tmp_path):
    with pytest.raises(UserError, match="not in UTF-8; save it as such"):
        read_table(table(tmp_path, "a\nMünchen\n", encoding="latin-1"), ("a",))


def test_damaged_files_of_every_kind_get_one_line(tmp_path):
    for name in ("t.xlsx", "t.parquet", "t.json"):
        with pytest.raises(UserError, match=f"cannot read table .*{name}"):
            read_table(table(tmp_path, "PK not what it seems", name), ("a",))
    for text in ("[" * 100_000, '[{"a": 1}'):
        with pytest.raises(UserError, match="cannot read table"):
            read_table(table(tmp_path, text, "t.json"), ("a",))
    with pytest.raises(UserError, match="holds no list of records"):
        read_table(table(tmp_path, '{"a": 1}', "t.json"), ("a",))
    with pytest.raises(UserError, match="cannot read table"):
        read_table(tmp_path / "absent.csv", ("a",))


def test_a_spreadsheet_that_would_inflate_to_more_than_is_read_is_refused(tmp_path):
    with (
        zipfile.ZipFile(tmp_path / "t.xlsx", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("xl/a.xml", "w") as file,
    ):
        for _ in range(257):
            file.write(bytes(2**20))
    assert (tmp_path / "t.xlsx").stat().st_size < 2**20
    with pytest.raises(UserError, match="would take 269484032 bytes"):
        read_table(tmp_path / "t.xlsx", ("a",))


def test_a_million_columns_are_refused_in_bounded_memory(tmp_path):
    """In a process of its own, whose memory is its own."""
    narrow = ",".join(f"c{i}" for i in range(10**5))
    wide = ",".join(f"c{i}" for i in range(10**6))
    paths = [
        str(table(tmp_path, f"{text}\n{text}\n", f"{len(text)}.csv")) for text in (narrow, wide)
    ]
    script = """
import json, resource, sys
from pathlib import Path
from fairjax.datasets.tables import read_table
from fairjax.utils.errors import UserError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
said = []
for path in sys.argv[1:]:
    try:
        read_table(Path(path), ("c1",))
    except UserError as error:
        said.append(str(error))
print(json.dumps([said, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, *paths], capture_output=True, text=True, check=True
    )
    said, kib = json.loads(done.stdout)
    assert "has 100000 columns, more than the 4096 that are read" in said[0]
    assert "has a header of more than 1048576 characters" in said[1]
    assert kib < 100 * 1024

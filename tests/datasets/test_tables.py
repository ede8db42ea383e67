"""Tables as they come: marks, title lines, ragged rows, and files that are no tables."""

import csv
import gzip
import json
import subprocess
import sys
import zipfile

import pandas as pd
import pytest
from helpers.trees import write_json, write_xlsx

from fairjax.datasets import table_files
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
        ("", "is empty"),
        ("b\n1\n", "has no column 'a'; there are: b"),
        ("a\n", "has no rows"),
        ("a,a\n1,2\n", "has 2 columns 'a'; rename all but one"),
        ("a,b\n1,2\n1,2,3\n", "row 2 has 3 cells, the header 2"),
        ("a,b\n" + "x" * 2**24 + ",1\n", "has a row of more than"),
    ],
)
def test_what_is_no_table_gets_one_line(tmp_path, text, says):
    with pytest.raises(UserError, match=says):
        read_table(table(tmp_path, text), ("a",))


FRAME = pd.DataFrame(
    {
        "patient": ["007", "7", "8.50"],
        "sex": ["F", "M ", "NA"],
        "city": ["Köln", "a, b", "x;y"],
        "score": [0.35, 0.5, 0.25],
        "age": [40, 50, 1060],
    }
)
CELLS = {
    "patient": ["007", "7", "8.50"],
    "sex": ["F", "M", "NA"],
    "city": ["Köln", "a, b", "x;y"],
    "score": ["0.35", "0.5", "0.25"],
    "age": ["40", "50", "1060"],
}
WRITTEN = {
    "comma.csv": lambda f, p: f.to_csv(p, index=False),
    "european.csv": lambda f, p: f.to_csv(p, index=False, sep=";", decimal=","),
    "quoted.csv": lambda f, p: f.to_csv(p, index=False, decimal=","),
    "pipe.txt": lambda f, p: f.to_csv(p, index=False, sep="|"),
    "tab.tsv": lambda f, p: f.to_csv(p, index=False, sep="\t"),
    "tabs.csv": lambda f, p: f.to_csv(p, index=False, sep="\t"),
    "excel.csv": lambda f, p: p.write_text("sep=;\n" + f.to_csv(index=False, sep=";")),
    "mark.csv": lambda f, p: f.to_csv(p, index=False, encoding="utf-8-sig"),
    "utf16.csv": lambda f, p: f.to_csv(p, index=False, encoding="utf-16", sep="\t"),
    "utf16be.csv": lambda f, p: f.to_csv(p, index=False, encoding="utf-16-be"),
    "latin.csv": lambda f, p: f.to_csv(p, index=False, encoding="latin-1", sep=";"),
    "index.csv": lambda f, p: f.to_csv(p),
    "names.csv": lambda f, p: f.to_csv(p, index_label=False),
    "r.csv": lambda f, p: f.to_csv(p, index_label=False, sep=" ", quoting=csv.QUOTE_NONNUMERIC),
    "t.csv.gz": lambda f, p: f.to_csv(p, index=False),
    "t.csv.zip": lambda f, p: f.to_csv(p, index=False),
    "t.zip": lambda f, p: f.to_csv(p, index=False),
    "t.xlsx": lambda f, p: f.to_excel(p, index=False),
    "t_index.xlsx": lambda f, p: f.to_excel(p),
    "t.parquet": lambda f, p: f.to_parquet(p),
    "by.parquet": lambda f, p: f.set_index("patient").to_parquet(p),
    "two.parquet": lambda f, p: f.set_index(["sex", "patient"]).to_parquet(p),
    "t.feather": lambda f, p: f.to_feather(p),
    "records.json": lambda f, p: f.to_json(p, orient="records"),
    "columns.json": lambda f, p: f.to_json(p),
    "split.json": lambda f, p: f.to_json(p, orient="split"),
    "rows.json": lambda f, p: f.to_json(p, orient="index"),
    "schema.json": lambda f, p: f.to_json(p, orient="table", index=False),
    "lists.json": lambda f, p: p.write_text(json.dumps(f.to_dict("list"))),
    "t.jsonl": lambda f, p: f.to_json(p, orient="records", lines=True),
    "lines.json": lambda f, p: f.to_json(p, orient="records", lines=True),
    "t.json.gz": lambda f, p: f.to_json(p),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_a_table_is_the_same_however_it_was_written(tmp_path, name):
    WRITTEN[name](FRAME, tmp_path / name)
    assert read_table(tmp_path / name, tuple(CELLS)).to_dict("list") == CELLS
    frame = read_table(tmp_path / name, text=False)
    assert set(CELLS) == set(frame.columns)
    assert pd.to_numeric(frame["score"]).tolist() == FRAME["score"].tolist()


def test_an_index_that_pandas_writes_as_a_range_is_a_column(tmp_path):
    FRAME.rename_axis("row").to_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet", ("row", "age"))["row"].tolist() == ["0", "1", "2"]


def test_what_was_chosen_in_reading_is_noted(tmp_path):
    def notes(name):
        WRITTEN[name](FRAME, tmp_path / name)
        return read_table(tmp_path / name, ("score", "age")).attrs["notes"]

    assert notes("comma.csv") == notes("t.xlsx") == []
    assert notes("latin.csv") == [
        "latin.csv: not in UTF-8, read as Latin-1; look at names with accents"
    ]
    assert notes("european.csv") == ["european.csv: ',' is read as the decimal sign of score"]
    assert "the first is read as the index" in notes("names.csv")[0]


def test_grouped_and_decimal_digits_are_told_apart(tmp_path):
    european = table(tmp_path, "a;b\n1.234,5;1\n12,25;2\nNA;3\n")
    assert read_table(european, ("a",))["a"].tolist() == ["1234.5", "12.25", "NA"]
    american = table(tmp_path, 'a,b\n"1,234",1\n"12,250",2\n', "us.csv")
    assert read_table(american, ("a",))["a"].tolist() == ["1,234", "12,250"]
    texts = table(tmp_path, "a;b\n1,2;x, y\nno;3\n", "texts.csv")
    assert read_table(texts, ("a", "b")).to_dict("list") == {"a": ["1,2", "no"], "b": ["x, y", "3"]}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,b\n1,2,\n3,4,\n", "every row has 3 cells, the last of them blank, and the header 2"),
        ("a,b\nx,1,2\ny,1\nz,3,4\n", "row 1 has 3 cells, the header 2"),
        ("a,b\n1,2\n" * 60 + "x,1,2\n", "row 120 has 3 cells, the header 2"),
        ("a,b,a\n1,2,3\n", "has 2 columns 'a'; rename all but one"),
    ],
)
def test_columns_are_never_shifted(tmp_path, text, says):
    with pytest.raises(UserError, match=says):
        read_table(table(tmp_path, text))


def test_an_archive_holds_one_table(tmp_path):
    with zipfile.ZipFile(tmp_path / "mac.zip", "w") as archive:
        archive.writestr("t.csv", "a\n1\n")
        archive.writestr("__MACOSX/._t.csv", "x")
    assert read_table(tmp_path / "mac.zip", ("a",))["a"].tolist() == ["1"]
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("t.csv", "a\n1\n")
        archive.writestr("u.csv", "a\n1\n")
    with pytest.raises(UserError, match=r"holds 2 files \(t.csv, u.csv\); give an archive of one"):
        read_table(tmp_path / "two.zip")


def test_a_compressed_table_is_inflated_in_bounds(tmp_path, monkeypatch):
    monkeypatch.setattr(table_files, "MAX_INFLATED", 1000)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 1000))
    with pytest.raises(UserError, match="inflates to more than the 1000 bytes"):
        read_table(tmp_path / "t.csv.gz", ("a",))


def test_a_row_of_zeros_in_a_spreadsheet_is_a_row(tmp_path):
    pd.DataFrame({"label": [0, 1], "score": [0, 0.5]}).to_excel(tmp_path / "t.xlsx", index=False)
    assert read_table(tmp_path / "t.xlsx", ("label",))["label"].tolist() == ["0", "1"]


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
        read_table(table(tmp_path, "not gzip", "t.csv.gz"), ("a",))
    with pytest.raises(UserError, match="there is no table"):
        read_table(tmp_path / "absent.csv", ("a",))
    with pytest.raises(UserError, match=r"cannot read this kind of table; give one of \.csv"):
        read_table(table(tmp_path, "", "t.xls"), ("a",))


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

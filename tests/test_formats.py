"""One table in many formats: the same rows, the same bytes, and what is said of a wrong format."""

import gzip
import math
import tracemalloc
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from ridgeline import config, init
from ridgeline.config import DEFAULT_CSV, Csv
from ridgeline.errors import DataError, SettingsError
from ridgeline.tables import dialect, reading
from ridgeline.tables.reading import open_table
from stages import prepare

ROWS = 60
TABLE = pd.DataFrame(
    {
        "id": [f"n{i}" for i in range(ROWS)],
        "Größe": [None if i == 7 else round(math.sin(i) * 1e3, 4) for i in range(ROWS)],
        "Ort": [("Köln", 'a "b"', "x, y; z", "é|è")[i % 4] for i in range(ROWS)],
        "y": [i / 8 for i in range(ROWS)],
    }
)
GERMAN = Csv(delimiter=";", decimal=",", encoding="cp1252")
UTF16 = Csv(encoding="utf-16")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def zipped(content: bytes) -> bytes:
    return gzip.compress(content, 1, mtime=0)  # the same bytes in each process, for pytest's ids


def put(name: str, options: Csv = DEFAULT_CSV, frame: pd.DataFrame = TABLE) -> str:
    """Write a table to a file of the kind that its name says."""
    if name.endswith(".parquet"):
        frame.to_parquet(name, index=False)
    else:
        text = frame.to_csv(
            index=False, sep=dialect.delimiter(name, options), decimal=options.decimal
        )
        content = text.encode(options.encoding)
        Path(name).write_bytes(zipped(content) if name.endswith(".gz") else content)
    return name


def table(source: str, options: Csv = DEFAULT_CSV, **how: Any) -> reading.Table:
    numeric, columns = ("Größe", "y"), ("id", "Größe", "Ort", "y")
    return open_table(source, columns, numeric, csv_options=options, **how)


def rows(source: str, options: Csv = DEFAULT_CSV, **how: Any) -> pa.Table:
    return pa.concat_tables([part.table() for part in table(source, options, **how).parts()])


def prepared(source: str, options: Csv, key: str | None = "id") -> dict[str, bytes]:
    """Return the files that prepare writes for a table."""
    data = config.Data(
        path=source, csv=options, key=key, target="y", categorical=("Ort",), numeric=("Größe",)
    )
    params = config.load(Path(__file__).parent.parent / "params.yaml")
    prepare.main(config.Settings(**{**vars(params), "data": data}))
    return {str(file): file.read_bytes() for file in Path("data/prepared").rglob("*.parquet")}


FORMATS = {
    "t.tsv": DEFAULT_CSV,
    "t.csv.gz": DEFAULT_CSV,
    "t.tsv.gz": GERMAN,
    "t.CSV": GERMAN,
    "utf16.csv": UTF16,
    "pipes.csv": Csv(delimiter="|", encoding="utf-8-sig"),
    "t.parquet": DEFAULT_CSV,
}


@pytest.mark.parametrize("key", ["id", None])
@pytest.mark.parametrize("name", FORMATS)
def test_prepare_writes_the_same_bytes_for_each_format(name: str, key: str | None) -> None:
    expected = prepared(put("t.csv"), DEFAULT_CSV, key)
    assert len(expected) == 3
    assert prepared(put(name, FORMATS[name]), FORMATS[name], key) == expected


@pytest.mark.parametrize(
    ("name", "options", "cut"),
    [
        ("t.csv", DEFAULT_CSV, True),
        ("t.tsv", DEFAULT_CSV, True),
        ("t.csv", GERMAN, True),
        ("t.csv", Csv(encoding="latin-1"), True),
        ("t.csv.gz", DEFAULT_CSV, False),
        ("t.csv", UTF16, False),
        ("t.csv", Csv(encoding="iso2022_jp"), False),  # with quotes and commas inside characters
    ],
)
@pytest.mark.parametrize("block_bytes", [1, 100, 1000])
def test_a_file_is_cut_into_parts_if_its_bytes_can_be_counted_on(
    name: str, options: Csv, cut: bool, block_bytes: int
) -> None:
    frame = TABLE
    if options.encoding == "iso2022_jp":
        frame = TABLE.rename(columns={"Größe": "size"}).assign(Ort='"東京, 大阪"')
    path = put(name, options, frame)
    columns = tuple(frame.columns)
    opened = open_table(path, columns, csv_options=options, block_bytes=block_bytes)
    parts = [*opened.parts()]
    assert (len(parts) > 1) == cut
    assert sum(part.size for part in parts) == opened.size == Path(path).stat().st_size
    got = pd.concat(part.frame() for part in parts)
    assert [*got["Ort"]] == [*frame["Ort"]]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text("a;\"\n', ü|", max_size=6), min_size=1, max_size=12),
    st.integers(1, 30),
    st.sampled_from([";", "\t", "|"]),
)
def test_where_a_file_is_cut_makes_no_difference(
    cells: list[str], block_bytes: int, delimiter: str
) -> None:
    frame = pd.DataFrame({"a": [f"x{cell}" for cell in cells], "b": "y"})
    options = Csv(delimiter=delimiter, encoding="latin-1")
    put("t.csv", options, frame)

    def read(size: int) -> list[str]:
        opened = open_table("t.csv", ("a", "b"), csv_options=options, block_bytes=size)
        return [text for part in opened.parts() for text in part.table()["a"].to_pylist()]

    assert read(block_bytes) == read(1 << 20)


@pytest.mark.parametrize("name", ["t.csv.gz", "utf16.csv"])
def test_the_rows_of_a_stream_are_numbered_and_come_a_few_at_a_time(name: str) -> None:
    options = UTF16 if name == "utf16.csv" else DEFAULT_CSV
    put(name, options)
    numbered = open_table(name, ("row", "y"), ("y",), 7, csv_options=options, numbering=map)
    [part] = numbered.parts()
    assert {len(rows) for rows in part.tables()} == {7, ROWS % 7}
    assert part.table()["row"].to_pylist() == [*range(1, ROWS + 1)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["t.csv.gz", "utf16.csv"])
def test_memory_does_not_grow_with_a_stream(name: str) -> None:
    options = UTF16 if name == "utf16.csv" else DEFAULT_CSV
    text = "y,Ort\n" + f"1.5,{'x' * 500}\n" * 300_000
    content = text.encode(options.encoding)
    Path(name).write_bytes(zipped(content) if name.endswith("gz") else content)
    [part] = open_table(name, ("y", "Ort"), ("y",), 1000, csv_options=options).parts()
    pool = pa.default_memory_pool()
    before, highest = pool.bytes_allocated(), 0
    tracemalloc.start()
    for _ in part.tables():
        highest = max(highest, pool.bytes_allocated() - before)
    highest += tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert highest < len(text) / 3


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_numbers_have_the_decimal_that_is_set(name: str) -> None:
    frame = pd.DataFrame({"id": "ab", "y": ["1,5", " -2,5e3 "], "Größe": ["nan", "7"], "Ort": "x"})
    got = rows(put(name, GERMAN, frame), GERMAN)
    assert got["y"].to_pylist() == [1.5, -2500.0]
    assert got["Größe"].to_pylist() == [None, 7.0]


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
@pytest.mark.parametrize(("decimal", "wrong"), [(".", "1,5"), (",", "1.5"), (",", "1.000,5")])
def test_a_cell_with_another_decimal_is_reported_as_it_stands(
    name: str, decimal: str, wrong: str
) -> None:
    options = Csv(delimiter=";", decimal=decimal)
    texts = [str(value).replace(".", decimal) for value in TABLE["y"]]
    frame = TABLE.assign(y=[texts[0], wrong, *texts[2:]])
    with pytest.raises(DataError) as error:
        prepared(put(name, options, frame), options)
    assert str(error.value).splitlines()[1:] == [f"  y is not a number in 1 row: id n1 = {wrong!r}"]


def test_texts_in_parquet_have_a_decimal_point_whatever_is_set_for_csv() -> None:
    frame = TABLE.assign(y=TABLE["y"].astype("str"))
    assert len(prepared(put("t.parquet", frame=frame), GERMAN)) == 3


CSV = TABLE.to_csv(index=False).encode()
SEMICOLONS = TABLE.to_csv(index=False, sep=";").encode("cp1252")
SUCH = "set data.csv.{} in params.yaml"


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        (
            "t.csv",
            CSV.replace(b",", b";"),
            {},
            f"t.csv: its delimiter is likely ';', not ','; {SUCH}",
        ),
        ("t.csv", CSV, {"delimiter": "|"}, f"t.csv: its delimiter is likely ',', not '|'; {SUCH}"),
        ("t.tsv", CSV, {}, f"t.tsv: its delimiter is likely ',', not '\\t'; {SUCH}"),
        (
            "t.csv.gz",
            zipped(CSV.replace(b",", b"\t")),
            {},
            f"t.csv.gz: its delimiter is likely '\\t', not ','; {SUCH}",
        ),
        (
            "t.csv",
            "id;Größe;Ort;y\na;1,5;x;2,5\na;1,5;x;2\n".encode(),  # not even ragged with commas
            {},
            f"t.csv: its delimiter is likely ';', not ','; {SUCH}",
        ),
        (
            "t.csv",
            CSV,
            {"encoding": "cp1252"},
            "t.csv: its encoding is likely 'utf-8', not 'cp1252'; set data.csv.encoding in "
            "params.yaml",
        ),
    ],
)
def test_columns_that_another_setting_would_find(
    name: str, content: bytes, options: dict[str, Any], message: str
) -> None:
    Path(name).write_bytes(content)
    with pytest.raises(DataError) as error:
        rows(name, Csv(**options))
    assert str(error.value) == message.format("delimiter")


@pytest.mark.parametrize(
    ("name", "content", "options", "reason"),
    [
        (
            "t.csv",
            b"id,y\n1,M\xfcnchen\n",
            {},
            "byte 8, in line 2, is not utf-8; fix it, or set data.csv.encoding in params.yaml, "
            "perhaps to cp1252",
        ),
        (
            "t.csv",
            b"id,y\xfc\n1,2\n",
            {},
            "byte 4, in line 1, is not utf-8; fix it, or set data.csv.encoding in params.yaml, "
            "perhaps to cp1252",
        ),
        (
            "t.csv",
            b"id,y\n" + b"1,2\n" * 200_000 + b"1,\xfc\n",
            {},
            "byte 800007, in line 200002, is not utf-8; fix it, or set data.csv.encoding in "
            "params.yaml, perhaps to cp1252",
        ),
        (
            "t.csv",
            "id,y\n1,2\n".encode("utf-16"),
            {},
            "byte 0, in line 1, is not utf-8; fix it, or set data.csv.encoding in params.yaml, "
            "perhaps to utf-16",
        ),
        (
            "t.csv",
            b"id,y\n1,2\n",
            {"encoding": "utf-16"},
            "byte 0, in line 1, is not utf-16; fix it, or set data.csv.encoding in params.yaml, "
            "perhaps to utf-8",
        ),
        (
            "t.csv",
            "id,y\n1,2\n".encode("utf-16")[:-1],
            {"encoding": "utf-16"},
            "byte 18, in line 2, is not utf-16; fix it, or set data.csv.encoding in params.yaml",
        ),
        (
            "t.csv",
            b"id,y\n1,\xfc\x81\n",
            {"encoding": "cp1252"},
            "byte 8, in line 2, is not cp1252; fix it, or set data.csv.encoding in params.yaml",
        ),
        (
            "t.csv.gz",
            zipped(b"id,y\n1,\xfc\n"),
            {},
            "byte 7, in line 2, is not utf-8; fix it, or set data.csv.encoding in params.yaml, "
            "perhaps to cp1252",
        ),
        ("t.csv.gz", zipped(CSV)[:-9], {}, "its gzip data is cut off; copy the file again"),
        (
            "t.csv.gz",
            zipped(CSV)[:-6] + b"xxxxxx",
            {},
            "its gzip data is damaged; copy the file again",
        ),
        ("t.csv", zipped(CSV), {}, "it is gzip data; add .gz to its name"),
        (
            "t.csv",
            b"PK\x03\x04\x14\x00\x06\x00\x08\x00\xff\xfe\n",
            {},
            "it is a zip archive or an Excel workbook; export it as CSV",
        ),
    ],
)
def test_a_file_that_is_not_what_it_should_be(
    name: str, content: bytes, options: dict[str, Any], reason: str
) -> None:
    Path(name).write_bytes(content)
    with pytest.raises(DataError) as error:
        list(open_table(name, ("id", "y"), csv_options=Csv(**options)))
    assert str(error.value) == f"{name} can't be read: {reason}"


@pytest.mark.parametrize(
    ("name", "content", "options", "reason"),
    [
        ("t.csv.gz", b"", {}, "Empty CSV file"),
        ("t.csv.gz", CSV, {}, "it does not hold gzip data, although its name ends with .gz"),
        ("t.csv.gz", zipped(b"a,b\n1,2\n1\n"), {}, "Row #3: Expected 2 columns, got 1: 1"),
        (
            "t.csv",
            "a,b\n1,2\n1\n".encode("utf-16"),
            {"encoding": "utf-16"},
            "Row #3: Expected 2 columns, got 1: 1",
        ),
        (
            "t.csv",
            b"a;b\n1;2\n1,2\n",
            {"delimiter": ";"},
            "Row #3: Expected 2 columns, got 1: 1,2",
        ),
        (
            "t.csv.gz",
            zipped(b'a,b\n1,"2\n'),
            {},
            "a quote that begins around byte 6 is not closed",
        ),
    ],
)
def test_rows_that_are_wrong_are_reported_as_in_any_csv(
    name: str, content: bytes, options: dict[str, Any], reason: str
) -> None:
    Path(name).write_bytes(content)
    with pytest.raises(DataError) as error:
        list(open_table(name, ("a", "b"), csv_options=Csv(**options)))
    assert str(error.value).startswith(f"{name} can't be read; fix or remove it: ")
    assert str(error.value).endswith(reason)


def test_a_folder_holds_one_kind_of_files() -> None:
    Path("d").mkdir()
    put("d/1.csv")
    put("d/2.csv.gz")
    with pytest.raises(DataError) as error:
        table("d")
    assert str(error.value) == (
        "d holds .csv and .csv.gz files; name a .csv, .tsv, .csv.gz, .tsv.gz or .parquet file, or "
        "a folder or glob of only one kind"
    )


def test_a_folder_of_compressed_files_is_a_table() -> None:
    Path("d").mkdir()
    put("d/1.csv.gz")
    put("d/2.csv.gz")
    assert len(rows("d")) == 2 * ROWS


A_CHARACTER = "it should be one ASCII character, and not a quote or a line break"
AN_ENCODING = "it should be an encoding that Python knows, such as utf-8, cp1252 or utf-16"
WRONG = {
    "{delimiter: ';;'}": f"delimiter is ';;'; {A_CHARACTER}",
    "{delimiter: '\"'}": f"delimiter is '\"'; {A_CHARACTER}",
    "{delimiter: 7}": "delimiter is 7; it should be a valid string",
    "{decimal: ';'}": "decimal is ';'; it should be '.' or ','",
    "{encoding: utf-9}": f"encoding is 'utf-9'; {AN_ENCODING}",
    "{encoding: base64}": f"encoding is 'base64'; {AN_ENCODING}",
    "{quote: x}": "quote is not a setting; allowed here: delimiter, decimal, encoding",
}


@pytest.mark.parametrize("value", WRONG)
def test_a_setting_that_is_not_allowed_is_one_sentence(value: str) -> None:
    assert mistakes(value) == [f"params.yaml: data.csv.{WRONG[value]}"]


@pytest.mark.parametrize("value", ["{decimal: ','}", "{delimiter: ',', decimal: ','}"])
def test_a_decimal_that_is_also_the_delimiter_is_one_sentence(value: str) -> None:
    assert mistakes(value) == [
        "params.yaml: data.csv: decimal ',' is also the delimiter; set delimiter to another "
        "character, such as ';'"
    ]


def mistakes(value: str) -> list[str]:
    params = YAML(typ="safe").load(Path(__file__).parent.parent / "params.yaml")
    params["data"]["csv"] = YAML(typ="safe").load(value)
    with Path("params.yaml").open("w") as file:
        YAML().dump(params, file)
    with pytest.raises(SettingsError) as error:
        config.load()
    return str(error.value).splitlines()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b\n1,2\n", ","),
        ("a;b\n1,5;2,5\n3;4,5\n", ";"),
        ("a;b\n1,5;2,5\n3,5;4,5\n", ";"),  # two commas in each row, but not in the first
        ("a;b;c\nx, y;1;2\nz;1;2\n", ";"),
        ('a;b\n"1;2";3\n', ";"),
        ('a,b\n"x;y",1\n"z;w",2\n', ","),
        ("a\tb\n1 2\t3\n", "\t"),
        ("a|b\n1|2\n", "|"),
        ('\ufeff"a,b";c\n1;2\n', ";"),
        ("a b\n1 2\n", None),
        ("a,b\n1,2,3\n", None),
        ("", None),
    ],
)
def test_the_delimiter_gives_each_row_the_same_number_of_fields(
    text: str, expected: str | None
) -> None:
    assert dialect.guess_delimiter(text) == expected


def test_a_row_that_is_cut_off_does_not_count() -> None:
    assert dialect.guess_delimiter('a,b\n1,2\n3,"4', whole=False) == ","


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("t.csv", {}),
        ("t.tsv", {}),
        ("t.csv.gz", {}),
        ("t.csv", {"encoding": "cp1252"}),
        ("t.csv", {"delimiter": ";", "decimal": ",", "encoding": "cp1252"}),
        ("t.tsv", {"delimiter": "\t", "decimal": ","}),
        ("t.tsv.gz", {"delimiter": "|"}),
        ("t.csv", {"delimiter": ";"}),
        ("t.csv", {"delimiter": "\t", "encoding": "utf-16"}),
        ("t.parquet", {}),
    ],
)
def test_init_recognizes_how_a_table_is_written(
    name: str, options: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = TABLE.assign(Ort=TABLE["Ort"].str.replace('"', "")) if options else TABLE
    table, guessed = init._head(put(name, Csv(**options), frame))
    assert guessed == Csv(**options)
    roles = {role.column: role.role for role in init.propose(table, "y", "id", guessed.decimal)}
    assert roles == {"id": "key", "Größe": "numeric", "Ort": "categorical", "y": "target"}


def test_init_reads_all_of_a_file_for_its_encoding() -> None:
    Path("t.csv").write_bytes(b"x,y\n" + b"1,2\n" * 500_000 + b"\xfc,2\n")
    assert init._head("t.csv")[1] == Csv(encoding="cp1252")


@pytest.mark.parametrize(
    "written",
    [
        {},
        {"delimiter": ";", "decimal": ",", "encoding": "cp1252"},
        {"encoding": "utf-16"},
        {"delimiter": "\t"},
        {"delimiter": "|"},
    ],
)
def test_init_writes_only_what_is_not_the_default(written: dict[str, str]) -> None:
    example = (Path(__file__).parent.parent / "params.yaml").read_text(encoding="utf-8")
    Path("params.yaml").write_text(example.replace("  key:", "  csv: {delimiter: x}\n  key:"))
    data = pa.Table.from_pandas(TABLE)
    roles = init.propose(data, "y", "id")
    init._write(Path("params.yaml"), roles, data, "t.csv", Csv(**written), "t")
    assert YAML(typ="safe").load(Path("params.yaml"))["data"].get("csv", {}) == written
    assert config.load().data.csv == Csv(**written)

import csv
import io
import math
import tracemalloc
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ridgeline import config
from ridgeline.errors import DataError
from ridgeline.tables import reading, writing
from ridgeline.tables.reading import arrays, column_names, open_table

SUFFIXES = ("csv", "parquet")
each_kind = pytest.mark.parametrize("kind", SUFFIXES)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def put(name: str, columns: dict[str, list[Any]]) -> Path:
    """Write text columns to a CSV or Parquet file, by its name."""
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.table(columns), path)
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, quoting=csv.QUOTE_ALL)
            writer.writerows([list(columns), *zip(*columns.values(), strict=True)])
    return path


def read(
    source: str | Path, columns: tuple[str, ...] = ("a", "b"), part_rows: int = 100
) -> list[dict[str, list[Any]]]:
    """Read a table's parts as lists, with None for what is missing."""
    frames = open_table(source, columns, part_rows=part_rows)
    return [
        {name: [None if pd.isna(v) else v for v in frame[name]] for name in frame}
        for frame in frames
    ]


def read_csv(content: str | bytes, columns: tuple[str, ...] = ("a", "b")) -> dict[str, list[Any]]:
    content = content.encode() if isinstance(content, str) else content
    Path("t.csv").write_bytes(content)
    [part] = read("t.csv", columns)
    return part


def refusal(source: str | Path, columns: tuple[str, ...] = ("a", "b")) -> str:
    with pytest.raises(DataError) as error:
        read(source, columns)
    return str(error.value)


@each_kind
@pytest.mark.parametrize("source", ["d/{}.{}", "d", "d/*.{1}", "*/o?e.{1}"])
def test_a_table_is_a_file_a_folder_or_a_glob(kind: str, source: str) -> None:
    put(f"d/one.{kind}", {"a": ["1"], "b": ["x"]})
    assert read(source.format("one", kind)) == [{"a": ["1"], "b": ["x"]}]


def test_a_source_may_be_absolute(tmp_path: Path) -> None:
    put("d/one.csv", {"a": ["1"], "b": ["x"]})
    assert read(f"{tmp_path}/d/*.csv") == [{"a": ["1"], "b": ["x"]}]


def test_a_files_name_may_look_like_a_glob() -> None:
    put("t[1].csv", {"a": ["1"], "b": ["x"]})
    assert read("t[1].csv") == [{"a": ["1"], "b": ["x"]}]


@each_kind
@pytest.mark.parametrize("source", ["d", "d/*"])
def test_files_are_read_in_the_order_of_their_names(kind: str, source: str) -> None:
    for name in ("part-2", "part-10", "part-1"):
        put(f"d/{name}.{kind}", {"a": [name]})
    assert [part["a"] for part in read(source, ("a",))] == [["part-1"], ["part-10"], ["part-2"]]


def test_a_folders_other_files_and_folders_are_left_out() -> None:
    put("d/t.csv", {"a": ["1"]})
    put("d/below/u.csv", {"a": ["2"]})
    put("d/folder.csv/u.csv", {"a": ["3"]})
    Path("d/README.md").write_text("a\n")
    assert open_table("d", ("a",)).files == ("d/t.csv",)


@each_kind
def test_columns_come_in_the_order_wanted(kind: str) -> None:
    put(f"t.{kind}", {"a": ["1"], "b": ["2"], "c": ["3"]})
    [part] = read(f"t.{kind}", ("c", "a"))
    assert list(part.items()) == [("c", ["3"]), ("a", ["1"])]


@each_kind
def test_a_wanted_column_that_is_absent_is_absent_from_the_part(kind: str) -> None:
    put(f"t.{kind}", {"a": ["1"]})
    assert read(f"t.{kind}") == [{"a": ["1"]}]


@each_kind
def test_when_every_wanted_column_is_absent_no_other_is_read(kind: str) -> None:
    put(f"t.{kind}", {"z": ["1"]})
    assert [part for part in read(f"t.{kind}") if part] == []


@each_kind
def test_a_column_is_absent_only_from_the_files_that_lack_it(kind: str) -> None:
    put(f"d/1.{kind}", {"a": ["1"], "b": ["x"]})
    put(f"d/2.{kind}", {"a": ["2"]})
    assert read("d") == [{"a": ["1"], "b": ["x"]}, {"a": ["2"]}]


@each_kind
def test_a_table_can_be_read_again(kind: str) -> None:
    put(f"t.{kind}", {"a": ["1", "2"]})
    table = open_table(f"t.{kind}", ("a",), part_rows=1)
    assert [list(f["a"]) for f in table] == [list(f["a"]) for f in table] == [["1"], ["2"]]


@each_kind
def test_a_part_tells_its_file_and_number(kind: str) -> None:
    put(f"d/1.{kind}", {"a": ["1", "2", "3"]})
    put(f"d/2.{kind}", {"a": ["4"]})
    table = open_table("d", ("a",), block_bytes=12, part_rows=1)
    places = [(part.file, part.number, part.begins) for part in table.parts()]
    cut = [("d/1.csv", 1, False)] if kind == "csv" else []
    second = len(cut) + 1
    assert places == [(f"d/1.{kind}", 0, True), *cut, (f"d/2.{kind}", second, True)]


@settings(max_examples=25, deadline=None)
@given(
    files=st.lists(st.lists(texts.map("x".__add__), max_size=12), min_size=1, max_size=3),
    part_rows=st.integers(1, 14),
    kind=st.sampled_from(SUFFIXES),
    group_rows=st.integers(1, 14),
    block_bytes=st.integers(1, 60),
)
def test_parts_put_together_are_the_table_whatever_their_size(
    tmp_path_factory: pytest.TempPathFactory,
    files: list[list[str]],
    part_rows: int,
    kind: str,
    group_rows: int,
    block_bytes: int,
) -> None:
    folder = tmp_path_factory.mktemp("table")
    for place, cells in enumerate(files):
        path = put(f"{folder}/{place}.{kind}", {"a": cells})
        if kind == "parquet":
            columns = {"a": pa.array(cells, pa.string())}
            pq.write_table(pa.table(columns), path, row_group_size=group_rows)
    table = open_table(folder, ("a",), part_rows=part_rows, block_bytes=block_bytes)
    parts = [[list(rows["a"].to_pylist()) for rows in part.tables()] for part in table.parts()]
    assert [*chain(*chain(*parts))] == [*chain(*files)]
    assert max(len(rows) for part in parts for rows in part) <= part_rows
    assert sum(part.size for part in table.parts()) == table.size


def test_rows_are_whole_across_the_readers_blocks() -> None:
    cells = [f"{i},\n" * 40 for i in range(10_000)]
    put("t.csv", {"a": cells})
    assert [*chain(*(part["a"] for part in read("t.csv", ("a",), 999)))] == cells


pieces = st.sampled_from(["a", ",", '"', '""', "\n", "\r\n", '","', '"\n"', "5"])


@settings(max_examples=150, deadline=None)
@given(st.lists(pieces, max_size=40).map("".join), st.integers(1, 20), st.booleans())
def test_where_csv_is_cut_makes_no_difference(
    tmp_path_factory: pytest.TempPathFactory, text: str, block_bytes: int, mark: bool
) -> None:
    path = tmp_path_factory.mktemp("table") / "t.csv"
    path.write_bytes(b"\xef\xbb\xbf" * mark + b"n,m\n" + text.encode())

    def rows(block_bytes: int) -> Any:
        try:
            frames = [*open_table(path, ("n", "m"), block_bytes=block_bytes)]
        except DataError as error:
            return str(error)
        return pd.concat(frames).astype(object).fillna("missing").values.tolist()

    assert rows(block_bytes) == rows(1 << 20)


@pytest.mark.parametrize("block_bytes", [1, 10, 1000])
def test_numbers_are_float64_where_all_of_a_block_are(block_bytes: int) -> None:
    Path("t.csv").write_text("a,b\n1,x\n2.5,y\nNA,z\n?,z\n", encoding="utf-8")
    parts = open_table("t.csv", ("a", "b"), numeric=("a",), block_bytes=block_bytes).parts()
    tables = [table for part in parts for table in part.tables() if len(table)]
    types = [str(table["a"].type) for table in tables]
    assert types[-1] == "string"
    assert set(types[:-1]) == (set() if block_bytes == 1000 else {"double"})


def test_the_row_that_is_wrong_is_counted_from_the_files_beginning() -> None:
    Path("t.csv").write_text("a,b\n" + "1,2\n" * 20 + "1\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"Row #22: Expected 2 columns, got 1"):
        list(open_table("t.csv", ("a", "b"), block_bytes=10))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(texts.map("x".__add__), texts.map("y".__add__)), min_size=1, max_size=5))
def test_any_text_survives_csv(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows([("a", "b"), *rows])
    path = tmp_path_factory.mktemp("table") / "t.csv"
    path.write_bytes(buffer.getvalue().encode())
    [part] = read(path)
    assert list(zip(part["a"], part["b"], strict=True)) == rows


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('a,b\n"1\n2",x\n', {"a": ["1\n2"], "b": ["x"]}),
        ('a,b\n"1,2",x\n', {"a": ["1,2"], "b": ["x"]}),
        ('a,b\n"1""2",x\n', {"a": ['1"2'], "b": ["x"]}),
        ('"a","b"\n1,x\n', {"a": ["1"], "b": ["x"]}),
        ("\ufeffa,b\n1,x\n", {"a": ["1"], "b": ["x"]}),
        ("a,b\r\n1,x\r\n2,y\r\n", {"a": ["1", "2"], "b": ["x", "y"]}),
        ("a,b\n1,x", {"a": ["1"], "b": ["x"]}),
        ("a,b\n\n1,x\n\n", {"a": ["1"], "b": ["x"]}),
        ("a,b\n007,1.50\n", {"a": ["007"], "b": ["1.50"]}),
        ("a,b\ntrue,2020-01-01\n", {"a": ["true"], "b": ["2020-01-01"]}),
        ("b,z,a\nx,?,1\n", {"a": ["1"], "b": ["x"]}),
        ("a,z,z,b\n1,2,3,x\n", {"a": ["1"], "b": ["x"]}),
    ],
    ids=[
        "newline in quotes",
        "comma in quotes",
        "quote in quotes",
        "quoted header",
        "byte order mark",
        "CRLF",
        "no last newline",
        "empty lines",
        "leading and trailing zeros",
        "no types are guessed",
        "extra column",
        "extra column twice",
    ],
)
def test_csv_cells_are_text(content: str, expected: dict[str, list[str]]) -> None:
    assert read_csv(content) == expected


@pytest.mark.parametrize("token", ["", '""', "NA", "N/A", "#N/A", "NaN", "nan", "NULL", "null"])
def test_a_missing_token_is_null(token: str) -> None:
    assert read_csv(f"a,b\n{token},x\n") == {"a": [None], "b": ["x"]}


@pytest.mark.parametrize("text", ["None", "?", "-", " ", "0", "na ", "Nana"])
def test_other_text_is_not_missing(text: str) -> None:
    assert read_csv(f"a,b\n{text},x\n")["a"] == [text]


def test_bad_bytes_in_a_column_that_is_not_wanted_do_no_harm() -> None:
    assert read_csv(b"a,b,c\n1,x,\xff\n") == {"a": ["1"], "b": ["x"]}


@pytest.mark.parametrize("content", ["a,b\n", "a,b\r\n"])
def test_a_header_alone_is_a_part_without_rows(content: str) -> None:
    Path("t.csv").write_bytes(content.encode())
    assert read("t.csv") == [{"a": [], "b": []}]


def test_parquet_without_rows_is_a_part_without_rows() -> None:
    pq.write_table(pa.table({"a": pa.array([], pa.string())}), "t.parquet")
    assert read("t.parquet", ("a",)) == [{"a": []}]


def test_parquet_cells_have_their_types() -> None:
    pq.write_table(pa.table({"a": [1, 2], "b": [True, False], "c": [0.5, None]}), "t.parquet")
    assert read("t.parquet", ("a", "b", "c")) == [
        {"a": [1, 2], "b": [True, False], "c": [0.5, None]}
    ]


def test_a_parquet_columns_name_may_have_a_dot() -> None:
    pq.write_table(pa.table({"a.b": [1], "a": [2]}), "t.parquet")
    assert read("t.parquet", ("a", "a.b")) == [{"a": [2], "a.b": [1]}]


def test_a_parquet_column_that_pandas_calls_its_index_is_a_column() -> None:
    frame = pd.DataFrame({"a": ["x", "y"]}, index=pd.Index(["1", "2"], name="b"))
    frame.to_parquet("t.parquet")
    assert read("t.parquet") == [{"a": ["x", "y"], "b": ["1", "2"]}]


@pytest.mark.parametrize("rows", [slice(2, None), [0, 3], [3, 1, 0]])
def test_a_parts_rows_are_numbered_from_0_whatever_index_pandas_wrote(rows: Any) -> None:
    pd.DataFrame({"a": list("wxyz")}).iloc[rows].to_parquet("t.parquet")
    for part in open_table("t.parquet", ("a",)):
        assert list(part.index) == list(range(len(part)))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "Empty CSV file"),
        (b"\n", "Empty CSV file"),
        (b"a,b\n1,2\n1,2,3\n", "Expected 2 columns, got 3"),
        (b"a,b\n1,2\n1\n", "Expected 2 columns, got 1"),
    ],
    ids=["0 bytes", "empty line", "a cell more", "a cell less"],
)
def test_a_csv_file_that_cant_be_read_is_named(content: bytes, reason: str) -> None:
    Path("t.csv").write_bytes(content)
    text = refusal("t.csv")
    assert text.startswith("t.csv can't be read; fix or remove it: ")
    assert reason in text


UNCLOSED = "t.csv can't be read; fix or remove it: a quote that begins around byte {} is not closed"


@pytest.mark.slow
@pytest.mark.parametrize("behind", [0, 10, 400_000, 600_000])
@pytest.mark.parametrize("before", [0, 10, 600_000])
@pytest.mark.parametrize("block_bytes", [100_000, 1 << 24])
def test_a_quote_that_is_not_closed_is_told_with_its_place(
    before: int, behind: int, block_bytes: int
) -> None:
    text = "a,b\n" + "1,2\n" * before + '1,"'
    Path("t.csv").write_text(text + "2\n" + "1,2\n" * behind, encoding="utf-8")
    with pytest.raises(DataError) as error:
        list(open_table("t.csv", ("a", "b"), block_bytes=block_bytes))
    assert str(error.value) == UNCLOSED.format(len(text) - 1)


def test_a_quote_that_is_not_closed_behind_a_byte_order_mark_is_told() -> None:
    Path("t.csv").write_bytes(b'\xef\xbb\xbf"a","b"\n1,"2\n')
    assert refusal("t.csv") == UNCLOSED.format(13)


def test_a_quote_inside_of_a_cell_needs_no_other() -> None:
    assert read_csv('a,b\n5" pipe,x\n') == {"a": ['5" pipe'], "b": ["x"]}


@pytest.mark.parametrize("quote", ["", '"'])
def test_a_row_too_long_to_be_read_is_told(quote: str) -> None:
    text = "a,b\n1,2\n1," + quote + "x" * 5_000_000 + quote + "\n"
    Path("t.csv").write_text(text, encoding="utf-8")
    assert refusal("t.csv") == (
        "t.csv can't be read; fix or remove it: a row that begins at or after byte 0 is longer "
        "than 1 MB; the usual cause is a quote that is not closed"
    )


def test_a_wrong_row_behind_a_quote_inside_of_a_cell_is_counted_from_the_beginning() -> None:
    rows = "1,2\n" * 300_000 + '5",2\n' + "1,2\n" * 300_000
    Path("t.csv").write_text("a,b\n" + rows + "1\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"Row #600003: Expected 2 columns, got 1"):
        list(open_table("t.csv", ("a", "b"), block_bytes=100_000))


def test_finding_where_to_cut_holds_a_block_however_far_the_next_row_is() -> None:
    Path("t.csv").write_text("a,b\r" + "1,2\r" * 1_000_000, encoding="utf-8")
    table = open_table("t.csv", ("a", "b"), block_bytes=10_000)
    tracemalloc.start()
    [part] = table.parts()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (part.first, part.last) == (0, None)
    assert peak < 200_000
    assert sum(map(len, table)) == 1_000_000


def test_a_ragged_row_far_down_the_file_is_found() -> None:
    Path("t.csv").write_text("a,b\n" + "1,2\n" * 500_000 + "1\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"^t\.csv can't be read"):
        list(open_table("t.csv", ("a", "b")))


@pytest.mark.parametrize("damage", ["0 bytes", "text", "cut off", "damaged data"])
def test_a_parquet_file_that_cant_be_read_is_named(damage: str) -> None:
    whole = put("t.parquet", {"a": ["1", "2"], "b": ["x", "y"]}).read_bytes()
    damaged = {
        "0 bytes": b"",
        "text": b"a,b\n1,2\n",
        "cut off": whole[:-20],
        "damaged data": whole[:4] + b"\xff" * 60 + whole[64:],
    }
    Path("t.parquet").write_bytes(damaged[damage])
    assert refusal("t.parquet").startswith("t.parquet can't be read; fix or remove it: ")


def test_the_bad_file_among_good_ones_is_named() -> None:
    put("d/1.csv", {"a": ["1"], "b": ["x"]})
    Path("d/2.csv").write_bytes(b"")
    assert refusal("d").startswith("d/2.csv ")


@each_kind
def test_a_wanted_column_that_is_there_twice_is_named_with_its_file(kind: str) -> None:
    if kind == "csv":
        Path("t.csv").write_text("a,b,a\n1,2,3\n", encoding="utf-8")
    else:
        pq.write_table(pa.table([pa.array([1])] * 3, names=["a", "b", "a"]), "t.parquet")
    assert refusal(f"t.{kind}") == f"t.{kind} has two columns called 'a'; rename or remove one"


@pytest.mark.parametrize("source", ["nothing.csv", "nothing", "*.csv", "empty", "d/*.parquet"])
def test_a_source_without_files_is_named(source: str) -> None:
    Path("empty").mkdir()
    put("d/t.csv", {"a": ["1"]})
    assert refusal(source).startswith(f"{source} is missing or empty; name a .csv, ")


@pytest.mark.parametrize("source", ["d", "d/*"])
def test_csv_and_parquet_together_are_refused(source: str) -> None:
    put("d/1.csv", {"a": ["1"]})
    put("d/2.parquet", {"a": ["2"]})
    assert refusal(source).startswith(f"{source} holds .csv and .parquet files; name ")


@pytest.mark.parametrize("name", ["t.txt", "t.json.gz", "t"])
def test_a_file_of_another_kind_is_refused(name: str) -> None:
    Path(name).write_text("a\n1\n", encoding="utf-8")
    assert refusal(name).startswith(f"{name} holds {Path(name).suffix} files; name ")


@each_kind
def test_column_names_are_those_of_the_file(kind: str) -> None:
    assert column_names(put(f"t.{kind}", {"b": ["1"], "a": ["2"]})) == ["b", "a"]


def save(*frames: pd.DataFrame) -> Path:
    with writing.parquet(Path("table")) as folder:
        for number, frame in enumerate(frames):
            save_part(folder, number, frame)
    return Path("table")


def save_part(folder: Path, number: int, *frames: pd.DataFrame) -> None:
    with writing.parquet_part(folder, number) as write:
        for frame in frames:
            write(writing.as_table(frame))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


ONE = pd.DataFrame({"id": ["1", None], "x": [0.5, math.nan]})
TWO = pd.DataFrame({"id": ["3"], "x": [1.5]})


def test_each_part_is_a_file_with_its_number() -> None:
    assert sorted(contents(save(ONE, TWO))) == ["part-00000.parquet", "part-00001.parquet"]


def test_a_part_without_rows_is_no_file() -> None:
    assert sorted(contents(save(ONE[:0], ONE, ONE[:0], TWO))) == [
        "part-00001.parquet",
        "part-00003.parquet",
    ]


def test_a_part_may_be_written_a_few_rows_at_a_time() -> None:
    with writing.parquet(Path("table")) as folder:
        save_part(folder, 0, ONE[:0], ONE, TWO)
    assert read("table", ("id",)) == [{"id": ["1", None, "3"]}]


def test_a_part_that_is_written_twice_is_there_once() -> None:
    with writing.parquet(Path("table")) as folder:
        for _ in range(2):
            save_part(folder, 0, TWO)
    assert contents(Path("table")) == contents(save(TWO))


def test_a_table_without_parts_is_an_empty_folder() -> None:
    assert contents(save()) == {}


def test_what_was_written_is_read_back() -> None:
    parts = list(open_table(save(ONE, TWO), ("id", "x")))
    pd.testing.assert_frame_equal(pd.concat(parts), pd.concat([ONE, TWO]), check_dtype=False)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0.5, None], "double"),
        (np.array([0.5, 1], "float32"), "double"),
        (["a", None], "string"),
        (pd.Categorical(["a", "b"]), "string"),
        (pd.Series([None, None], dtype="str"), "string"),
    ],
    ids=["float64", "float32", "text", "categories", "missing text"],
)
def test_float_columns_are_float64_and_text_is_text(values: Any, kind: str) -> None:
    folder = save(pd.DataFrame({"a": values}))
    assert str(pq.read_schema(folder / "part-00000.parquet").field("a").type) == kind


def test_the_index_is_not_written() -> None:
    folder = save(ONE.set_axis([7, 8]).rename_axis("n"))
    assert pq.read_schema(folder / "part-00000.parquet").names == ["id", "x"]


def test_no_version_of_pandas_is_written() -> None:
    assert b"pandas" not in contents(save(ONE))["part-00000.parquet"]


def test_writing_twice_gives_the_same_bytes() -> None:
    assert contents(save(ONE, TWO)) == contents(save(ONE, TWO))


def test_the_bytes_do_not_depend_on_the_index() -> None:
    assert contents(save(ONE.set_axis([7, 8]))) == contents(save(ONE))


def test_the_old_table_is_replaced_whole() -> None:
    save(ONE, TWO)
    assert contents(save(TWO)).keys() == {"part-00000.parquet"}
    assert read("table", ("id",)) == [{"id": ["3"]}]


def test_the_old_table_stands_until_the_block_ends() -> None:
    before = contents(save(ONE))
    with writing.parquet(Path("table")) as folder:
        save_part(folder, 0, TWO)
        assert contents(Path("table")) == before


def test_a_part_that_two_workers_write_at_once_is_whole() -> None:
    with writing.parquet(Path("table")) as folder, writing.parquet_part(folder, 0) as one:
        one(writing.as_table(TWO))
        with writing.parquet_part(folder, 0) as other:
            other(writing.as_table(TWO))
    assert contents(Path("table")) == contents(save(TWO))


def test_what_a_killed_worker_left_is_no_part_of_the_table() -> None:
    with writing.parquet(Path("table")) as folder:
        save_part(folder, 0, ONE)
        killed = writing.parquet_part(folder, 1)
        killed.__enter__()(writing.as_table(TWO))
    assert [path.name for path in Path().iterdir()] == ["table"]
    assert contents(Path("table")) == contents(save(ONE))


def test_a_worker_that_is_given_up_adds_nothing_to_the_table() -> None:
    with writing.parquet(Path("table")) as folder:
        save_part(folder, 0, ONE)
        late = writing.parquet_part(folder, 0)
        late.__enter__()(writing.as_table(TWO))
    with pytest.raises(FileNotFoundError):
        late.__exit__(None, None, None)
    assert contents(Path("table")) == contents(save(ONE))


def test_what_a_killed_worker_left_is_no_part_of_a_csv_file() -> None:
    with writing.csv(Path("t.csv")) as folder:
        with writing.csv_part(folder, 0) as write:
            write(writing.as_table(TWO))
        killed = writing.csv_part(folder, 1)
        killed.__enter__()(writing.as_table(TWO))
        # as much as its buffer holds would only be written at its end
        next(folder.glob(".*")).write_text("left", encoding="utf-8")
    assert Path("t.csv").read_text() == "id,x\n3,1.5\n"
    assert [path.name for path in Path().iterdir()] == ["t.csv"]


def fail_to_save(frame: pd.DataFrame) -> None:
    with writing.parquet(Path("table")) as folder:
        save_part(folder, 0, frame)
        raise KeyError


def test_an_exception_leaves_the_old_table_and_nothing_else() -> None:
    before = contents(save(ONE))
    with pytest.raises(KeyError):
        fail_to_save(TWO)
    assert contents(Path("table")) == before
    assert [path.name for path in Path().iterdir()] == ["table"]


def test_an_exception_leaves_nothing_where_no_table_was() -> None:
    with pytest.raises(KeyError):
        fail_to_save(TWO)
    assert list(Path().iterdir()) == []


def test_arrays_are_the_features_and_the_target_of_each_part() -> None:
    columns = {"y": [1.0, 2.0, 3.0], "b": [4.0, 5.0, 6.0], "a": [7.0, 8.0, 9.0]}
    frame = pd.DataFrame(columns)
    table = open_table(save(frame[:2], frame[2:]), tuple(columns))
    parts = [arrays(("a", "b"), "y", part) for part in table.parts()]
    assert [(X.tolist(), y.tolist()) for X, y in parts] == [
        ([[7, 4], [8, 5]], [1, 2]),
        ([[9, 6]], [3]),
    ]


MISSING = "a,n\nNA,1\nnull,2\n-,NA\nx,\n,4\n"


def read_with(missing_values: tuple[str, ...] | None) -> list[str | None]:
    Path("t.csv").write_text(MISSING, encoding="utf-8")
    table = open_table("t.csv", ("a", "n"), ("n",), missing_values=missing_values)
    [part] = table.parts()
    return part.table().to_pydict()["a"]


def test_the_default_texts_that_mean_missing_are_pyarrows() -> None:
    assert list(config.MISSING_VALUES) == pyarrow.csv.ConvertOptions().null_values
    assert read_with(config.MISSING_VALUES) == read_with(None) == [None, None, "-", "x", None]


def test_only_the_texts_that_are_named_mean_missing() -> None:
    assert read_with(("", "-")) == ["NA", "null", None, "x", None]
    assert read_with(()) == ["NA", "null", "-", "x", ""]


@pytest.mark.parametrize("block_bytes", [1, 1000])
def test_texts_that_mean_missing_are_counted_by_column(block_bytes: int) -> None:
    Path("t.csv").write_text(MISSING, encoding="utf-8")
    found: Counter[tuple[str, str]] = Counter()
    for part in open_table("t.csv", ("a", "n"), block_bytes=block_bytes).parts():
        found.update(reading.missing_texts(("a", "n"), config.MISSING_VALUES, part))
    assert found == {("a", "NA"): 1, ("a", "null"): 1, ("n", "NA"): 1}


def test_in_parquet_a_text_is_what_it_says() -> None:
    pq.write_table(pa.table({"a": ["NA", None]}), "t.parquet")
    [part] = open_table("t.parquet", ("a",), missing_values=("NA",)).parts()
    assert part.table().to_pydict()["a"] == ["NA", None]
    assert not reading.missing_texts(("a",), ("NA",), part)


@pytest.mark.parametrize("block_bytes", [10, 1000])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_rows_are_numbered_over_all_files_and_parts(kind: str, block_bytes: int) -> None:
    frame = pd.DataFrame({"a": range(7), "b": ["x", 'y"\n"', "z", "x", "y", "z", "w"]})
    Path("t").mkdir()
    for number, rows in enumerate((frame[:4], frame[4:4], frame[4:])):
        if kind == "csv":
            rows.to_csv(f"t/{number}.csv", index=False)
        else:
            rows.to_parquet(f"t/{number}.parquet", index=False, row_group_size=2)
    table = open_table(
        "t", ("a", "row"), ("a",), part_rows=2, block_bytes=block_bytes, numbering=map
    )
    numbered = pd.concat([part.frame() for part in table.parts()])
    assert numbered["a"].astype(int).tolist() == [*range(7)]
    assert numbered["row"].tolist() == [*range(1, 8)]


def test_rows_of_which_only_some_files_have_numbers_are_numbered_anew() -> None:
    Path("t").mkdir()
    pd.DataFrame({"a": [1.0, 2.0], "row": ["7", "9"]}).to_parquet("t/0.parquet", index=False)
    pd.DataFrame({"a": [3.0]}).to_parquet("t/1.parquet", index=False)
    table = open_table("t", ("a", "row"), numbering=map)
    assert pd.concat([part.frame() for part in table.parts()])["row"].tolist() == [1, 2, 3]


def test_rows_that_have_numbers_keep_them() -> None:
    pd.DataFrame({"a": [1.0, 2.0], "row": ["7", "9"]}).to_parquet("t.parquet", index=False)
    table = open_table("t.parquet", ("a", "row"), numbering=map)
    [part] = table.parts()
    assert part.frame()["row"].tolist() == ["7", "9"]

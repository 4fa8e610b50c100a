import datetime
import math
import tempfile
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ridgeline.errors import DataError
from ridgeline.intake import unique
from ridgeline.intake.contract import Contract
from ridgeline.intake.contract import check as contract_check
from ridgeline.intake.findings import Findings
from ridgeline.tables.reading import open_table

CONTRACT = Contract("id", "y", ("color",), ("size",))
NO_TARGET = Contract("id", None, ("color",), ("size",))
HEADER = "id,y,size,color\n"
GOOD = {"id": ["a", "b"], "y": [1.0, 2.0], "size": [3.0, 4.0], "color": ["red", "blue"]}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def check(
    source: str,
    contract: Contract = CONTRACT,
    part_rows: int = 100,
    missing_values: Sequence[str] | None = None,
) -> tuple[list[pd.DataFrame], list[str]]:
    """Return the rows that keep the contract, and the lines of the error that tells of others.

    For `part_rows` of 1, each row of CSV is a part.
    """
    block_bytes = 1 if part_rows == 1 else 1 << 20
    folder = Path(tempfile.mkdtemp(dir="."))
    table = open_table(
        source, contract.columns, contract.numbers, part_rows, block_bytes, missing_values
    )
    frames, findings = [], Findings(contract, table)
    for part in table.parts():
        found = [*contract_check(part, contract)]
        frames += [rows.table.to_pandas() for rows in found if rows.table is not None]
        hashes = [unique.hashes(rows.keys, 0) for rows in found]
        unique.spill(folder, part.number, np.concatenate(hashes))
        findings.add(part, [rows.breaches for rows in found], sum(rows.rows for rows in found))
    findings.add_repeated_keys(folder, 0, map)
    try:
        findings.raise_if_any()
    except DataError as error:
        first, *lines = str(error).split("\n")
        assert first == (
            f"{source} breaks the data contract; fix the rows, or the columns that params.yaml "
            "names under data:"
        )
        return frames, [line.strip() for line in lines]
    return frames, []


def check_csv(
    text: str,
    contract: Contract = CONTRACT,
    part_rows: int = 100,
    missing_values: Sequence[str] | None = None,
) -> tuple[list[pd.DataFrame], list[str]]:
    Path("t.csv").write_text(text, encoding="utf-8")
    return check("t.csv", contract, part_rows, missing_values)


def check_parquet(
    columns: dict[str, Any], part_rows: int = 100
) -> tuple[list[pd.DataFrame], list[str]]:
    """Check `GOOD` with other values for some columns."""
    pq.write_table(pa.table({**GOOD, **columns}), "t.parquet")
    return check("t.parquet", part_rows=part_rows)


def cells(frames: list[pd.DataFrame], column: str) -> list[Any]:
    return [None if pd.isna(value) else value for frame in frames for value in frame[column]]


def test_a_contracts_columns_are_key_target_numeric_categorical() -> None:
    assert Contract("k", "t", ("c", "d"), ("n", "m")).columns == ("k", "t", "n", "m", "c", "d")


def test_without_a_target_the_columns_are_key_numeric_categorical() -> None:
    assert Contract("k", None, ("c",), ("n",)).columns == ("k", "n", "c")


def test_parts_have_the_contracts_columns_in_its_order() -> None:
    [frame], _ = check_csv("extra,color,size,y,id\n?,red,3,1,a\n")
    assert list(frame) == ["id", "y", "size", "color"]


def test_key_and_categories_are_text_target_and_numbers_float64() -> None:
    [frame], _ = check_csv(HEADER + "1,2,3,4\n")
    assert [str(dtype) for dtype in frame.dtypes] == ["str", "float64", "float64", "str"]


def test_leading_zeros_of_a_key_are_kept() -> None:
    frames, _ = check_csv(HEADER + "007,1,1,01\n")
    assert (cells(frames, "id"), cells(frames, "color")) == (["007"], ["01"])


def test_numbers_are_read_to_the_last_bit() -> None:
    frames, _ = check_csv(HEADER + "a,0.30000000000000004,1e-300,red\n")
    assert (cells(frames, "y"), cells(frames, "size")) == ([0.30000000000000004], [1e-300])


def test_numeric_and_categorical_values_may_be_missing() -> None:
    frames, lines = check_csv(HEADER + "a,1,,\nb,1,NA,null\n")
    assert lines == []
    assert (cells(frames, "size"), cells(frames, "color")) == ([None, None], [None, None])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2], ["1", "2"]),
        ([-1, 0], ["-1", "0"]),
        ([True, False], ["True", "False"]),
        ([1.0, 2.0], ["1", "2"]),
        ([1.5, 2.25], ["1.5", "2.25"]),
        (["1", "01"], ["1", "01"]),
        (pa.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
        (pa.array([2**63 + 1, 2], pa.uint64()), [str(2**63 + 1), "2"]),
        ([datetime.date(2020, 1, 31), datetime.date(1999, 1, 1)], ["2020-01-31", "1999-01-01"]),
    ],
    ids=["int", "signed", "bool", "whole", "float", "text", "dictionary", "uint64", "date"],
)
@pytest.mark.parametrize("column", ["id", "color"])
def test_keys_and_categories_of_any_type_are_text(
    column: str, values: Any, expected: list[str]
) -> None:
    frames, lines = check_parquet({column: values})
    assert lines == []
    assert cells(frames, column) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, None], ["1", None]),
        ([1.0, None], ["1", None]),
        ([1.0, math.nan], ["1", None]),
        ([1.5, None], ["1.5", None]),
        ([True, None], ["True", None]),
        (["a", None], ["a", None]),
        (pa.array(["a", None]).dictionary_encode(), ["a", None]),
        (pa.nulls(2), [None, None]),
    ],
    ids=["int", "whole", "nan", "float", "bool", "text", "dictionary", "nulls"],
)
def test_a_missing_category_stays_missing_whatever_its_type(
    values: Any, expected: list[str | None]
) -> None:
    frames, lines = check_parquet({"color": values})
    assert lines == []
    assert cells(frames, "color") == expected


@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())],
    ids=str,
)
def test_good_text_of_any_type_is_not_looked_at_cell_by_cell(
    kind: pa.DataType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("ridgeline.intake.contract._full_check")
    table = pa.table({**GOOD, "color": pa.array(["red", None], kind)})
    pq.write_table(table, "t.parquet")
    frames, errors = check("t.parquet")
    assert errors == []
    assert frames[0]["color"].dropna().tolist() == ["red"]


def test_a_large_integer_beside_a_null_keeps_its_digits() -> None:
    frames, _ = check_parquet({"color": pa.array([2**53 + 1, None])})
    assert cells(frames, "color") == [str(2**53 + 1), None]


@pytest.mark.parametrize("part_rows", [1, 2, 3])
def test_a_categorys_text_does_not_depend_on_the_rows_beside_it(part_rows: int) -> None:
    rows = {"id": ["a", "b", "c"], "y": [1.0] * 3, "size": [1.0] * 3, "color": [1.0, 2.0, 2.5]}
    frames, _ = check_parquet(rows, part_rows)
    assert cells(frames, "color") == ["1", "2", "2.5"]


def test_a_large_float_is_a_category() -> None:
    frames, _ = check_parquet({"color": [1e20, 2.0]})
    assert len(set(cells(frames, "color"))) == 2


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2], [1.0, 2.0]),
        ([1, None], [1.0, None]),
        ([True, None], [1.0, None]),
        (["1", "2.5"], [1.0, 2.5]),
        (pa.array([1, 2], pa.int8()), [1.0, 2.0]),
        (pa.array([1.5, 2], pa.float32()), [1.5, 2.0]),
        ([Decimal("1.5"), None], [1.5, None]),
        (pa.nulls(2), [None, None]),
    ],
    ids=["int", "int and null", "bool", "text", "int8", "float32", "decimal", "nulls"],
)
def test_numbers_of_any_type_are_float64(values: Any, expected: list[float | None]) -> None:
    [frame], lines = check_parquet({"size": values})
    assert lines == []
    assert str(frame["size"].dtype) == "float64"
    assert cells([frame], "size") == expected


@pytest.mark.parametrize("column", ["y", "size"])
def test_text_in_a_number_column_is_told_by_key_and_value(column: str) -> None:
    good = {"id": "7", "y": "1", "size": "2", "color": "red"}
    row = ",".join({**good, column: "foo"}.values())
    _, lines = check_csv(f"{HEADER}{row}\n")
    assert lines == [f"{column} is not a number in 1 row: id 7 = 'foo'"]


@pytest.mark.parametrize("text", ["1;5", "0x10", "1 2", "-", "?", "true"])
def test_what_is_not_a_number(text: str) -> None:
    _, lines = check_csv(f"{HEADER}7,1,{text},red\n")
    assert lines == [f"size is not a number in 1 row: id 7 = {text!r}"]


@pytest.mark.parametrize("column", ["y", "size"])
@pytest.mark.parametrize(
    ("text", "shown"), [("inf", "inf"), ("-inf", "-inf"), ("Infinity", "inf"), ("1e999", "inf")]
)
def test_an_infinite_number_is_told_by_key_and_value(column: str, text: str, shown: str) -> None:
    good = {"id": "7", "y": "1", "size": "2", "color": "red"}
    row = ",".join({**good, column: text}.values())
    _, lines = check_csv(f"{HEADER}{row}\n")
    assert lines == [f"{column} is not finite in 1 row: id 7 = {shown}"]


def test_an_infinite_number_in_parquet_is_told() -> None:
    _, lines = check_parquet({"size": [1.0, -math.inf]})
    assert lines == ["size is not finite in 1 row: id b = -inf"]


@pytest.mark.parametrize("column", ["y", "size"])
@pytest.mark.parametrize(("text", "shown"), [("1e308", "1e+308"), ("-1.1e150", "-1.1e+150")])
def test_a_number_too_large_to_be_squared_is_told_by_key_and_value(
    column: str, text: str, shown: str
) -> None:
    good = {"id": "7", "y": "1", "size": "2", "color": "red"}
    row = ",".join({**good, column: text}.values())
    _, lines = check_csv(f"{HEADER}{row}\n")
    assert lines == [
        f"{column} is too large (above 1e+150 in absolute value) in 1 row: id 7 = {shown}"
    ]


def test_the_largest_number_allowed_keeps_the_contract() -> None:
    frames, lines = check_csv(f"{HEADER}7,1e150,-1e150,red\n")
    assert lines == []
    assert frames[0]["size"].tolist() == [-1e150]


def test_nan_in_a_number_column_is_missing_whether_or_not_its_block_is_all_numbers() -> None:
    for other in ("", "8,1,foo,red\n"):
        _, lines = check_csv(f"{HEADER}7,1,NaN,red\n{other}", missing_values=("",))
        assert [line for line in lines if "id 7" in line] == []


def test_a_missing_target_is_told_by_key() -> None:
    _, lines = check_csv(HEADER + "7,,2,red\n8,NA,2,red\n")
    assert lines == ["y is missing in 2 rows: id 7, id 8"]


def test_a_missing_key_is_told_by_its_row_in_its_file() -> None:
    _, lines = check_csv(HEADER + "7,1,2,red\n,1,2,red\nNA,1,2,red\n")
    assert lines == ["id is missing in 2 rows: row 2 of t.csv, row 3 of t.csv"]


@pytest.mark.parametrize("part_rows", [1, 2, 5])
def test_a_rows_number_counts_from_the_files_start(part_rows: int) -> None:
    rows = "".join(f"{key},1,2,red\n" for key in ("a", "b", "c", "", "d"))
    _, lines = check_csv(HEADER + rows, part_rows=part_rows)
    assert lines == ["id is missing in 1 row: row 4 of t.csv"]


def test_a_rows_number_starts_anew_in_each_file() -> None:
    Path("d").mkdir()
    Path("d/1.csv").write_text(HEADER + "a,1,2,red\nb,1,2,red\n", encoding="utf-8")
    Path("d/2.csv").write_text(HEADER + ",1,2,red\n", encoding="utf-8")
    assert check("d")[1] == ["id is missing in 1 row: row 1 of d/2.csv"]


def test_a_bad_value_without_a_key_is_told_by_its_row() -> None:
    _, lines = check_csv(HEADER + ",foo,2,red\n")
    assert "y is not a number in 1 row: row 1 of t.csv = 'foo'" in lines


@pytest.mark.parametrize("part_rows", [1, 3, 100])
def test_all_rows_are_counted_and_five_are_shown(part_rows: int) -> None:
    rows = "".join(f"{key},foo,2,red\n" for key in range(8))
    _, lines = check_csv(HEADER + rows, part_rows=part_rows)
    shown = ", ".join(f"id {key} = 'foo'" for key in range(5))
    assert lines == [f"y is not a number in 8 rows: {shown}, …"]


def test_five_rows_are_shown_without_an_ellipsis() -> None:
    rows = "".join(f"{key},,2,red\n" for key in range(5))
    _, lines = check_csv(HEADER + rows)
    assert lines == ["y is missing in 5 rows: id 0, id 1, id 2, id 3, id 4"]


def test_one_error_tells_of_all_columns() -> None:
    _, lines = check_csv(
        HEADER + "1,foo,bar,red\n2,1,inf,red\n,1,2,red\n3,1,2,red\n3,1,2,red\n", part_rows=1
    )
    assert sorted(lines) == [
        "id is missing in 1 row: row 3 of t.csv",
        "id is not unique in 2 rows: id 3 (2 rows)",
        "size is not a number in 1 row: id 1 = 'bar'",
        "size is not finite in 1 row: id 2 = inf",
        "y is not a number in 1 row: id 1 = 'foo'",
    ]


@pytest.mark.parametrize("part_rows", [1, 2])
def test_one_error_tells_of_all_rules_that_a_column_breaks(part_rows: int) -> None:
    _, lines = check_csv(HEADER + "1,1,foo,red\n2,1,inf,red\n", part_rows=part_rows)
    assert lines == [
        "size is not a number in 1 row: id 1 = 'foo'",
        "size is not finite in 1 row: id 2 = inf",
    ]


def test_a_null_is_not_counted_among_what_is_not_a_number() -> None:
    _, lines = check_parquet({"size": pa.array([datetime.datetime(2020, 1, 31), None])})
    [line] = lines
    assert line.startswith("size is not a number in 1 row: id a = ")


@pytest.mark.parametrize(
    "values",
    [
        pa.array(["x", "y"]).dictionary_encode(),
        pa.array([datetime.time(1), datetime.time(2)]),
    ],
    ids=["dictionary", "time"],
)
def test_values_of_a_type_that_is_no_number_are_told(values: Any) -> None:
    _, lines = check_parquet({"size": values})
    [line] = lines
    assert line.startswith("size is not a number in 2 rows: id a = ")


@pytest.mark.parametrize("column", ["size", "color"])
@pytest.mark.parametrize(
    "values",
    [pa.array([[1], [2]]), pa.array([{"a": 1}, {"a": 2}]), pa.array([b"x", b"y"])],
    ids=["list", "struct", "bytes"],
)
def test_a_column_that_is_neither_text_nor_numbers_is_refused(column: str, values: Any) -> None:
    pq.write_table(pa.table({**GOOD, column: values}), "t.parquet")
    with pytest.raises(DataError, match=f"column '{column}' holds .*; convert it"):
        list(open_table("t.parquet", [column]))


def test_text_in_a_dictionary_column_is_told() -> None:
    _, lines = check_parquet({"size": pa.array(["1", "foo"]).dictionary_encode()})
    assert lines == ["size is not a number in 1 row: id b = 'foo'"]


def test_a_column_that_is_not_there_is_named_with_its_file() -> None:
    _, [line] = check_csv("id,y,size\n1,2,3\n")
    assert line == "color is not a column of t.csv"


def test_a_column_that_is_not_there_is_named_with_each_file_that_lacks_it_once() -> None:
    Path("d").mkdir()
    Path("d/1.csv").write_text(HEADER + "a,1,2,red\n", encoding="utf-8")
    for name in ("2", "3"):
        rows = f"{name},1,2\n" * 3
        Path(f"d/{name}.csv").write_text(f"id,y,size\n{rows}", encoding="utf-8")
    _, lines = check("d", part_rows=1)
    assert lines[0] == "color is not a column of d/2.csv, d/3.csv"


def test_all_columns_that_are_not_there_are_named() -> None:
    _, lines = check_csv("other\n1\n")
    assert {line.partition(" is not a column")[0] for line in lines} == set(CONTRACT.columns)


def test_without_the_key_column_rows_are_told_by_number() -> None:
    _, lines = check_csv("y,size,color\n1,2,red\nfoo,2,red\n")
    assert "y is not a number in 1 row: row 2 of t.csv = 'foo'" in lines


def test_a_contract_without_target_does_not_ask_for_one() -> None:
    frames, lines = check_csv("id,size,color\n1,2,red\n", NO_TARGET)
    assert lines == []
    assert list(frames[0]) == ["id", "size", "color"]


def test_a_contract_without_target_ignores_the_targets_values() -> None:
    frames, lines = check_csv(HEADER + "1,foo,2,red\n2,,2,red\n", NO_TARGET)
    assert lines == []
    assert cells(frames, "id") == ["1", "2"]


def test_a_contract_may_have_no_categories() -> None:
    [frame], lines = check_csv(HEADER + "1,2,3,red\n", Contract("id", "y", (), ("size",)))
    assert lines == []
    assert list(frame) == ["id", "y", "size"]


def test_a_header_alone_keeps_the_contract() -> None:
    parts, lines = check_csv(HEADER)
    assert [len(part) for part in parts] == [0]
    assert lines == []


def test_a_header_alone_that_lacks_a_column_breaks_the_contract() -> None:
    _, lines = check_csv("id,y,size\n")
    assert lines == ["color is not a column of t.csv"]


@pytest.mark.parametrize("part_rows", [1, 2, 3, 4])
def test_a_repeated_key_is_found_within_a_part_and_across_parts(part_rows: int) -> None:
    rows = "".join(f"{key},1,2,red\n" for key in ("a", "b", "c", "a"))
    _, lines = check_csv(HEADER + rows, part_rows=part_rows)
    assert lines == ["id is not unique in 2 rows: id a (2 rows)"]


def test_a_repeated_key_is_found_across_files() -> None:
    Path("d").mkdir()
    for name in ("1", "2", "3"):
        Path(f"d/{name}.csv").write_text(HEADER + "a,1,2,red\n", encoding="utf-8")
    assert check("d")[1] == ["id is not unique in 3 rows: id a (3 rows)"]


def test_a_repeated_key_is_found_in_rows_that_break_other_rules() -> None:
    _, lines = check_csv(HEADER + "a,foo,2,red\na,1,2,red\n", part_rows=1)
    assert "id is not unique in 2 rows: id a (2 rows)" in lines


def test_a_repeated_key_is_found_whatever_the_rows_beside_it() -> None:
    rows = {"id": [1.0, 2.5, 1.0], "y": [1.0] * 3, "size": [1.0] * 3, "color": ["red"] * 3}
    _, [line] = check_parquet(rows, part_rows=2)
    assert line.startswith("id is not unique in 2 rows: id 1")


def test_large_keys_beside_a_null_are_told_apart() -> None:
    rows = {"id": pa.array([2**53, 2**53 + 1, None]), "y": [1.0] * 3, "size": [1.0] * 3}
    _, lines = check_parquet({**rows, "color": ["red"] * 3})
    assert lines == ["id is missing in 1 row: row 3 of t.parquet"]


def test_missing_keys_are_not_repeated_keys() -> None:
    _, lines = check_csv(HEADER + ",1,2,red\n,1,2,red\n")
    assert lines == ["id is missing in 2 rows: row 1 of t.csv, row 2 of t.csv"]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from("abcdefghi"), min_size=1, max_size=14), st.integers(3, 8))
def test_the_keys_that_are_repeated_are_just_those_told(
    tmp_path_factory: pytest.TempPathFactory, keys: list[str], part_rows: int
) -> None:
    path = tmp_path_factory.mktemp("table") / "t.csv"
    path.write_text(HEADER + "".join(f"{key},1,2,red\n" for key in keys), encoding="utf-8")
    _, lines = check(str(path), part_rows=part_rows)
    repeated = {key: times for key, times in Counter(keys).items() if times > 1}
    shown = [f"id {key} ({times} rows)" for key, times in repeated.items()]
    expected = f"id is not unique in {sum(repeated.values())} rows: {', '.join(shown[:5])}"
    assert [line.removesuffix(", …") for line in lines] == ([expected] if repeated else [])


def test_no_ellipsis_follows_when_every_repeated_key_is_shown() -> None:
    _, lines = check_csv(HEADER + "a,1,2,red\n" * 9)
    assert lines == ["id is not unique in 9 rows: id a (9 rows)"]


def test_the_error_comes_after_all_good_parts() -> None:
    rows = "".join(f"{key},{y},2,red\n" for key, y in [("a", 1), ("b", "foo"), ("c", 3)])
    frames, lines = check_csv(HEADER + rows, part_rows=1)
    assert cells(frames, "id") == ["a", "c"]
    assert lines == ["y is not a number in 1 row: id b = 'foo'"]


def test_a_part_with_a_bad_row_is_left_out_whole() -> None:
    rows = "".join(f"{key},{y},2,red\n" for key, y in [("a", 1), ("b", "foo"), ("c", 3)])
    frames, _ = check_csv(HEADER + rows, part_rows=2)
    assert cells(frames, "id") == ["c"]


def test_a_parts_rows_come_as_they_are_read() -> None:
    Path("t.csv").write_text(HEADER + "a,1,2,red\nb,foo,2,red\n", encoding="utf-8")
    [part] = open_table("t.csv", CONTRACT.columns, part_rows=1).parts()
    first = next(contract_check(part, CONTRACT))
    assert first.table["id"].to_pylist() == ["a"]


@pytest.mark.parametrize("rows", [slice(1, None), [2, 0]], ids=["range", "picked"])
def test_a_bad_row_is_found_whatever_index_pandas_wrote(rows: Any) -> None:
    frame = pd.DataFrame(
        {"id": ["a", "b", "c"], "y": [1, 2, math.nan], "size": 1.0, "color": "red"}
    )
    frame.iloc[rows].to_parquet("t.parquet")
    assert check("t.parquet")[1] == ["y is missing in 1 row: id c"]


def test_a_key_that_pandas_wrote_as_its_index_is_a_column() -> None:
    pd.DataFrame(GOOD).set_index("id").to_parquet("t.parquet")
    frames, lines = check("t.parquet")
    assert lines == []
    assert cells(frames, "id") == ["a", "b"]


def test_a_folder_of_files_is_named_as_the_folder() -> None:
    Path("d").mkdir()
    for name in ("1", "2"):
        Path(f"d/{name}.csv").write_text(HEADER + f"{name},foo,2,red\n", encoding="utf-8")
    assert check("d")[1] == [
        "y is not a number in 2 rows: id 1 of d/1.csv = 'foo', id 2 of d/2.csv = 'foo'"
    ]


def put(name: str, **changes: Any) -> None:
    Path("d").mkdir(exist_ok=True)
    pq.write_table(pa.table(GOOD | changes), f"d/{name}.parquet")


def test_the_files_of_a_glob_may_have_their_columns_in_another_order() -> None:
    Path("d").mkdir()
    Path("d/1.csv").write_text("id,y,size,color\na,1,2,red\n", encoding="utf-8")
    Path("d/2.csv").write_text("color,size,y,id\nblue,4,3,b\n", encoding="utf-8")
    frames, lines = check("d/*.csv")
    assert lines == []
    assert pd.concat(frames).to_numpy().tolist() == [["a", 1, 2, "red"], ["b", 3, 4, "blue"]]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_file_of_a_glob_may_have_no_rows(kind: str) -> None:
    Path("d").mkdir()
    for name, rows in (("1", 0), ("2", 2)):
        frame = pd.DataFrame(GOOD)[:rows]
        frame.to_csv(f"d/{name}.csv", index=False)
        frame.to_parquet(f"d/{name}.parquet")
    frames, lines = check(f"d/*.{kind}")
    assert (cells(frames, "id"), lines) == (["a", "b"], [])


def test_a_file_of_a_glob_without_a_byte_is_named() -> None:
    Path("d").mkdir()
    Path("d/1.csv").write_text(HEADER, encoding="utf-8")
    Path("d/2.csv").touch()
    with pytest.raises(DataError, match=r"^d/2\.csv can't be read"):
        check("d/*.csv")


def test_a_file_of_a_glob_whose_column_has_another_type_is_named() -> None:
    put("1")
    put("2", id=["c", "d"], size=["small", "large"])
    _, lines = check("d")
    assert lines == [
        "size is not a number in 2 rows: id c of d/2.parquet = 'small', "
        "id d of d/2.parquet = 'large'"
    ]


def test_files_of_a_glob_may_have_numbers_of_several_types() -> None:
    put("1")
    put("2", id=[1, 2], size=[5, 6], y=pa.array([1.5, 2], pa.float32()))
    put("3", id=["3", "4"], size=["7", "8"])
    frames, lines = check("d/*.parquet")
    assert (cells(frames, "size"), lines) == ([3, 4, 5, 6, 7, 8], [])


def test_keys_of_another_type_are_repeated_all_the_same() -> None:
    put("1", id=["1", "2"])
    put("2", id=[2, 3])
    assert check("d")[1] == ["id is not unique in 2 rows: id 2 (2 rows)"]


def test_keys_whose_hashes_are_equal_are_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unique, "hashes", lambda keys, seed: np.full(len(keys), 7, np.uint64))
    _, lines = check_csv(HEADER + "a,1,2,red\nb,1,2,red\nc,1,2,red\nb,1,2,red\n", part_rows=1)
    assert lines == ["id is not unique in 2 rows: id b (2 rows)"]


def test_more_repeated_keys_than_are_kept_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unique, "MOST_SUSPECTS", 3)
    monkeypatch.setattr(unique, "BUCKET_ROWS", 4)
    names = [f"k{number}" for number in range(20)]
    _, [line] = check_csv(HEADER + "".join(f"{name},1,2,red\n" for name in names * 2))
    assert line.startswith("id is not unique in 40 rows: id k")
    assert line.count("(2 rows)") == 3


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 9), max_size=30), max_size=5))
def test_hashes_that_come_twice_are_found_bucket_by_bucket(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[int]]
) -> None:
    folder = tmp_path_factory.mktemp("hashes")
    for number, part in enumerate(parts):
        unique.spill(folder, number, np.array(part, np.uint64))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unique, "BUCKET_ROWS", 7)
        found, rows = unique.suspects(folder)
    counts = {
        value: times for value, times in Counter(chain.from_iterable(parts)).items() if times > 1
    }
    assert (sorted(found.tolist()), rows) == (sorted(counts), sum(counts.values()))


def test_a_column_may_be_called_self() -> None:
    contract = Contract("id", "y", (), ("self",))
    _, lines = check_csv("id,y,self\na,1,foo\n", contract)
    assert lines == ["self is not a number in 1 row: id a = 'foo'"]


@pytest.mark.parametrize("column", ["id", "color"])
def test_text_that_is_not_utf_8_is_one_line(column: str) -> None:
    latin = pa.array([b"Z\xfcrich", b"b"], pa.binary()).cast(pa.string(), safe=False)
    pq.write_table(pa.table({**GOOD, column: latin}), "t.parquet")
    with pytest.raises(DataError, match=r"^t.parquet can't be read; fix or remove it: Invalid"):
        check("t.parquet")

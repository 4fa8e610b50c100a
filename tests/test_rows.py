"""Rows of two tables, joined by their keys: counted as pandas counts them, in bounded memory."""

import tracemalloc
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ridgeline.history import rows
from ridgeline.tables import reading, writing

VALUES = {
    "size": st.none() | st.sampled_from([0.0, -0.0, 1.0, 1e150]),
    "kind": st.none() | st.sampled_from(["", "a", "b"]),
}
TABLES = st.dictionaries(
    st.text("0123456789ab", min_size=1, max_size=2), st.fixed_dictionaries(VALUES)
)


def frame(table: dict[str, dict[str, float | str | None]]) -> pd.DataFrame:
    made = pd.DataFrame(
        {"id": [*table]} | {name: [row[name] for row in table.values()] for name in VALUES}
    )
    return made.astype({"id": "str", "size": float, "kind": "str"})


def spilled(folder: Path, made: pd.DataFrame, columns: tuple[str, ...] = ("size", "kind")) -> Path:
    """Write a table in parts of three rows, and the hashes of its rows."""
    parts = folder / "parts"
    parts.mkdir(parents=True)
    for number in range(0, max(len(made), 1), 3):
        with writing.parquet_part(parts, number) as write:
            write(writing.as_table(made[number : number + 3]))
    hashes = folder / "hashes"
    hashes.mkdir()
    if len(made):
        for part in reading.open_table(parts, ("id", *columns)).parts():
            rows.spill(hashes, "id", columns, part)
    return hashes


def compared(a: pd.DataFrame, b: pd.DataFrame) -> rows.Differences:
    with TemporaryDirectory() as folder:
        before, after = (spilled(Path(folder, name), made) for name, made in (("a", a), ("b", b)))
        return rows.differences(rows.join(before, after))


@pytest.mark.slow
@settings(deadline=None, max_examples=50)  # files are written
@given(TABLES, TABLES)
def test_rows_are_counted_as_by_an_outer_merge(a: dict, b: dict) -> None:
    both = frame(a).merge(frame(b), on="id", how="outer", indicator=True, suffixes=("", "_b"))
    common = both[both["_merge"] == "both"]
    same = np.all(
        [
            (common[name] == common[f"{name}_b"])
            | (common[name].isna() & common[f"{name}_b"].isna())
            for name in VALUES
        ],
        axis=0,
    )
    counts = both["_merge"].value_counts()
    found = compared(frame(a), frame(b))
    assert found[:4] == (counts["right_only"], counts["left_only"], (~same).sum(), len(common))


@pytest.mark.slow
@settings(deadline=None, max_examples=50)  # files are written
@given(TABLES, TABLES)
def test_any_number_of_ranges_gives_the_same_differences(a: dict, b: dict) -> None:
    whole = compared(frame(a), frame(b))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "BUCKET_ROWS", 2)
        parted = compared(frame(a), frame(b))
    assert parted[:4] == whole[:4]
    for some, same in zip(parted.examples, whole.examples, strict=True):
        assert some.tolist() == same.tolist()


def table(first: int, last: int, size: float = 1.0) -> pd.DataFrame:
    return frame({str(i): {"size": size, "kind": "a"} for i in range(first, last)})


def test_examples_are_at_most_five_and_do_not_depend_on_the_order_of_rows() -> None:
    a, b = table(0, 20), table(10, 30, size=2.0)
    found = compared(a, b)
    again = compared(a[::-1], b.sample(frac=1, random_state=0))
    assert found[:4] == again[:4] == (10, 10, 10, 10)
    for some, same in zip(found.examples, again.examples, strict=True):
        assert some.tolist() == same.tolist()
        assert len(some) == 5


def test_the_keys_of_hashes_are_found_and_integers_are_in_their_order() -> None:
    made = writing.as_table(table(0, 20))
    found = compared(table(0, 20), table(0, 0)).examples[1]
    keys = rows.keys(made, "id", found)
    assert len(keys) == 5
    assert keys == sorted(keys, key=int)


def test_a_column_that_is_not_compared_makes_no_row_changed(tmp_path: Path) -> None:
    a, b = (spilled(tmp_path / str(size), table(0, 5, size), ("kind",)) for size in (1.0, 2.0))
    assert rows.differences(rows.join(a, b)).changed == 0


def test_common_rows_are_selected_by_a_file_of_hashes(tmp_path: Path) -> None:
    a, b = spilled(tmp_path / "a", table(0, 20)), spilled(tmp_path / "b", table(15, 30, 2.0))
    assert rows.write_common(tmp_path / "common", rows.join(a, b)) == 5
    chosen = rows.selected("id", tmp_path / "common", writing.as_table(table(0, 99)))
    assert chosen["id"].to_pylist() == ["15", "16", "17", "18", "19"]


def made_rows(number: int, count: int) -> pa.Table:
    keys = np.arange(number * count, (number + 1) * count).astype(str)
    return pa.table({"id": keys, "size": np.arange(count, dtype=float)})


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "BUCKET_ROWS", 10_000)
    peaks = []
    for parts in (4, 16):
        source = tmp_path / f"{parts}"
        folders = [source / "a", source / "b"]
        for folder in folders:
            folder.mkdir(parents=True)
        tables = source / "table"
        tables.mkdir()
        for number in range(parts):
            with writing.parquet_part(tables, number) as write:
                write(made_rows(number, 10_000))
        tracemalloc.start()
        for folder in folders:
            for part in reading.open_table(tables, ("id", "size"), part_rows=10_000).parts():
                rows.spill(folder, "id", ("size",), part)
        found = rows.differences(rows.join(*folders))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert found[:4] == (0, 0, 0, parts * 10_000)
    assert peaks[1] < 1.1 * peaks[0], peaks

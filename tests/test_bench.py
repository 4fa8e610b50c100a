"""Tables for measurements are what they say, and the plain equivalent does the same work."""

import contextlib
import hashlib
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from project import ROOT, run

from bench import bar, measure, picture, plain, scale, table
from ridgeline import config

ROWS = 1000


def read(folder: Path) -> pd.DataFrame:
    files = sorted(folder.iterdir())
    load = pd.read_csv if files[0].suffix == ".csv" else pd.read_parquet
    return pd.concat([load(file) for file in files], ignore_index=True)


def digests(folder: Path) -> list[str]:
    return [hashlib.md5(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())]


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_the_same_number_of_rows_gives_the_same_bytes(tmp_path: Path, kind: str) -> None:
    for name in ("one", "other"):
        table.write(tmp_path / name, ROWS, kind)
    assert digests(tmp_path / "one") == digests(tmp_path / "other")


def test_csv_and_parquet_hold_the_same_rows(tmp_path: Path) -> None:
    table.write(tmp_path / "csv", ROWS, "csv")
    table.write(tmp_path / "parquet", ROWS, "parquet")
    parquet = read(tmp_path / "parquet").astype({"site": int})
    pd.testing.assert_frame_equal(read(tmp_path / "csv"), parquet, check_dtype=False)


def test_a_larger_table_begins_with_the_smaller() -> None:
    smaller, larger = (
        pa.concat_tables(table.chunks(table.CHUNK_ROWS + more)).to_pandas() for more in (10, ROWS)
    )
    pd.testing.assert_frame_equal(larger[: len(smaller)], smaller)


def test_keys_are_unique_and_some_values_missing() -> None:
    frame = pa.concat_tables(table.chunks(table.CHUNK_ROWS + ROWS)).to_pandas()
    assert frame[table.KEY].is_unique
    assert 0.02 < frame.isna().any(axis=1).mean() < 0.04


def test_a_table_is_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk is written before the next but one is made."""
    monkeypatch.setattr(table, "CHUNK_ROWS", 100)
    monkeypatch.setattr(table, "FILE_ROWS", 300)
    real, written = table.chunks, []

    def chunks(rows: int):
        for chunk in real(rows):
            written.append(measure.size(tmp_path / "table"))
            yield chunk

    monkeypatch.setattr(table, "chunks", chunks)
    table.write(tmp_path / "table", ROWS, "csv")
    assert len(list(real(ROWS))) == len(written) == 10
    assert all(earlier <= later for earlier, later in pairwise(written))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A project in which the stages ran, and one in which the plain steps ran on its splits."""
    folder = tmp_path_factory.mktemp("bench")
    stage, plain_folder = folder / "stage", folder / "plain"
    table.write(folder / "table", ROWS, "parquet")
    for project in (stage, plain_folder):
        measure.lay_out(project, folder / "table")
    for name in measure.STAGES:
        measure.stage(stage, "stage", name)
    with contextlib.chdir(plain_folder):
        settings = config.load()
        plain.make_folders()
        for name in plain.SPLITS:
            rows = pd.read_parquet(stage / "data/prepared" / name)
            rows.to_parquet(plain.PREPARED / f"{name}.parquet", index=False)
        for step in (plain.featurize, plain.train, plain.predict):
            step(settings)
    return stage, plain_folder


@pytest.mark.slow
@pytest.mark.drill
def test_stages_and_plain_steps_choose_the_same_model(both: tuple[Path, Path]) -> None:
    stage, plain = both
    ours, theirs = joblib.load(stage / "models/model.joblib"), joblib.load(plain / "models/model")
    assert ours["regressor"].alpha_ == theirs["regressor"].alpha_
    np.testing.assert_allclose(ours["regressor"].coef_, theirs["regressor"].coef_, atol=1e-8)


@pytest.mark.slow
@pytest.mark.drill
def test_stages_and_plain_steps_predict_the_same(both: tuple[Path, Path]) -> None:
    stage, plain = both
    ours = pd.read_parquet(stage / "predictions/test")
    theirs = pd.read_parquet(plain / "predictions/test.parquet")
    ours = ours.drop(columns=["lower", "upper"])  # plain steps have no intervals
    pd.testing.assert_frame_equal(ours, theirs, atol=1e-8)


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_the_plain_split_keeps_the_fractions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    table.write(tmp_path / "table", 20_000, kind)
    measure.lay_out(tmp_path / "plain", tmp_path / "table")
    monkeypatch.chdir(tmp_path / "plain")
    plain.make_folders()
    plain.prepare(config.load())
    parts = {name: pd.read_parquet(plain.PREPARED / f"{name}.parquet") for name in plain.SPLITS}
    complete = read(tmp_path / "table").dropna()
    assert sum(map(len, parts.values())) == len(complete)
    assert pd.concat(parts.values())[table.KEY].is_unique
    assert len(parts["test"]) / len(complete) == pytest.approx(0.15, abs=0.01)


def test_the_process_that_measures_is_smaller_than_what_it_measures() -> None:
    """The kernel counts a parent's peak as its child's."""
    program = (
        "from pathlib import Path; from bench import bar, scale; "
        "print(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])"
    )
    assert int(run(sys.executable, "-c", program, cwd=ROOT).stdout) < 100_000


@pytest.mark.parametrize(
    ("took", "guess"),
    [({}, 0), ({1000: 20.0}, 20), ({1000: 20.0, 2000: 30.0}, 110), ({1000: 5.0, 2000: 4.0}, 4)],
)
def test_the_time_of_the_next_size_is_guessed_from_the_last_two(
    took: dict[int, float], guess: float
) -> None:
    assert scale.expected(10_000, took) == guess


def test_the_plain_way_is_left_out_where_it_does_not_fit() -> None:
    line = {"rows": 1000, "plain_memory": 1000.0, "why_not": ""}
    assert not scale.too_large(1001, [line])
    assert scale.too_large(1_000_000_000, [line]) == "it would need 1000000 GB"


@pytest.mark.parametrize(
    ("arguments", "written"),
    [([], 1), (["--rounds", "1"], 1), (["--kind", "csv"], 0), (["--rows", "1000000"], 0)],
)
def test_the_documented_measurements_are_only_replaced_by_the_same_sizes_and_kind(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], written: int
) -> None:
    calls = []
    monkeypatch.setattr(sys, "argv", ["scale", *arguments])
    monkeypatch.setattr(scale, "scale", lambda folder, arguments: [[{"rows": 1000}]])
    monkeypatch.setattr(scale, "write", calls.append)
    scale.main()
    assert len(calls) == written


ENVIRON = """
import os
from distributed import Client
with Client({address!r}) as client:
    for found in client.run(lambda: [os.environ.get(name) for name in {names}]).values():
        print(*found)
"""


@pytest.mark.slow
def test_workers_of_the_bench_give_memory_back_late(tmp_path: Path) -> None:
    with bar.cluster(tmp_path, ROOT) as address:
        program = ENVIRON.format(address=address, names=[*bar.MALLOC])
        done = run(sys.executable, "-c", program, cwd=ROOT)
    assert done.stdout.splitlines() == ["134217728 33554432"] * bar.WORKERS


def test_a_promise_is_kept_or_broken(capsys: pytest.CaptureFixture[str]) -> None:
    bar.tell("a", "1", True)
    bar.tell("b", "2", False)
    assert capsys.readouterr().out.split() == ["kept", "a:", "1", "BROKEN", "b:", "2"]


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    line = {"seconds": 1.0, "memory": 300.0, "plain_seconds": 2.0, "plain_memory": 400.0}
    lines = [line | {"rows": 1000}, line | {"rows": 1_000_000, "plain_seconds": None}]
    picture.draw(lines, tmp_path / "scaling.png")
    assert (tmp_path / "scaling.png").read_bytes().startswith(b"\x89PNG")


def test_a_step_that_fails_ends_the_measurement(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        measure.stage(tmp_path, "nothing", "prepare")

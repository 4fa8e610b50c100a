"""`predict`: a prediction or a reason for each row of any table, and nothing else is changed."""

import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from project import ROOT, environment, run, runs, store
from sklearn.pipeline import Pipeline

from ridgeline import batch, config
from ridgeline.errors import DataError, SettingsError
from ridgeline.model import features, ridge
from ridgeline.tables import writing

DATA = config.load(ROOT / "params.yaml").data
ROWS = 50


def frame(rows: int = ROWS) -> pd.DataFrame:
    random = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "case": np.arange(rows).astype(str),
            "age": random.normal(5, 2, rows),
            "site": random.choice(["a", "b"], rows),
        }
    )


def pipeline(impute: bool = False) -> Pipeline:
    table = writing.as_table(frame())
    preprocessor, _ = features.fit([table], ["age"], ["site"], impute=impute)
    X = features.matrix(preprocessor, table).T
    fit = ridge.fit([(X, frame()["age"].to_numpy() * 2)], (1.0,))
    return Pipeline([("preprocessor", preprocessor), ("regressor", fit.model)])


def predict(table: pd.DataFrame, folder: Path, model: Pipeline | None = None) -> pd.DataFrame:
    table.to_csv(folder / "table.csv", index=False)
    output = folder / "out.csv"
    batch.predict_table(model or pipeline(), 1.5, str(folder / "table.csv"), output, DATA)
    return pd.read_csv(output, dtype={"case": str})


def test_each_row_has_the_models_prediction_and_its_interval(tmp_path: Path) -> None:
    written = predict(frame(), tmp_path)
    expected = pipeline().predict(frame())
    np.testing.assert_allclose(written["prediction"], expected, rtol=1e-12)
    np.testing.assert_allclose(written["upper"] - written["prediction"], 1.5)
    np.testing.assert_allclose(written["prediction"] - written["lower"], 1.5)
    assert [*written["case"]] == [*frame()["case"]]
    assert written["reason"].isna().all()


@pytest.mark.parametrize(
    ("column", "cell", "reason"),
    [
        ("age", None, "age is missing"),
        ("site", None, "site is missing"),
        ("age", "young", "age is not a number"),
        ("age", "inf", "age is not finite"),
        ("age", "1e200", "age is too large (above 1e+150 in absolute value)"),
    ],
)
def test_a_row_that_cant_be_predicted_has_the_reason(tmp_path, column, cell, reason) -> None:
    table = frame().astype({"age": object})
    table.loc[3, column] = cell
    written = predict(table, tmp_path)
    assert written.loc[3, ["prediction", "lower", "upper"]].isna().all()
    assert written.loc[3, "reason"] == reason
    others = written.drop(3)
    assert others["prediction"].notna().all()
    assert others["reason"].isna().all()


def test_a_model_that_imputes_predicts_missing_values_but_no_wrong_ones(tmp_path: Path) -> None:
    table = frame().astype({"age": object})
    table.loc[3, "age"], table.loc[4, "age"] = None, "young"
    written = predict(table, tmp_path, pipeline(impute=True))
    assert written["prediction"].isna().to_list() == [row == 4 for row in range(ROWS)]


def test_rows_without_a_key_column_are_numbered(tmp_path: Path) -> None:
    written = predict(frame().drop(columns="case"), tmp_path)
    assert [*written["row"]] == [*range(1, ROWS + 1)]


def test_parquet_in_parts_gives_the_predictions_of_csv_in_order(tmp_path: Path) -> None:
    table, parts = frame(1000), tmp_path / "parts"
    parts.mkdir()
    for first in range(0, 1000, 300):
        table[first : first + 300].to_parquet(parts / f"{first:04}.parquet", index=False)
    batch.predict_table(pipeline(), 1.5, str(parts), tmp_path / "out", DATA)
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "out")[["case", "prediction"]],
        predict(table, tmp_path)[["case", "prediction"]],
        check_dtype=False,
    )


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("out.xlsx", "out.xlsx should be a .csv file, or a folder for Parquet, on this machine"),
        ("s3://bucket/out.csv", "should be a .csv file, or a folder for Parquet, on this machine"),
        ("table.csv", "table.csv would replace the table; name another output"),
        (".", "would replace the table; name another output"),
        ("notes", "notes exists, and is no output of predict; name another output"),
        ("folder.csv", "folder.csv exists, and is no output of predict; name another output"),
        ("mixed", "has other files, such as notes; name a new folder"),
        ("possums.csv", "possums.csv exists, and is no output of predict; name another output"),
        ("project/new.csv", "new.csv is beside a table's files; name an output elsewhere"),
        ("others", "has other files, such as part-00000.parquet; name a new folder"),
    ],
)
def test_an_output_that_would_replace_other_files_is_refused(tmp_path, output, message) -> None:
    frame().to_csv(tmp_path / "table.csv", index=False)
    (tmp_path / "notes").write_text("mine")
    for name in ("folder.csv", "mixed", "others", "project"):
        (tmp_path / name).mkdir()
    frame().to_csv(tmp_path / "possums.csv", index=False)
    data = replace(DATA, path=str(tmp_path / "project"))
    (tmp_path / "mixed/notes").write_text("mine")
    frame().to_parquet(tmp_path / "others/part-00000.parquet")
    place = Path(output) if output.startswith("s3") else tmp_path / output
    with pytest.raises(DataError) as refused:
        batch.predict_table(pipeline(), None, str(tmp_path / "table.csv"), place, data)
    assert message in str(refused.value)


def test_only_one_writes_at_a_time_and_no_lock_remains(tmp_path: Path) -> None:
    path = tmp_path / "it"
    with batch.locked(path), pytest.raises(DataError) as refused, batch.locked(path):
        pass
    assert str(refused.value) == (
        f"another process is writing {path}; wait until it has ended, or name another output"
    )
    with batch.locked(path):
        pass
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("name", ["out", "out.csv"])
def test_an_output_that_another_process_is_writing_is_refused(tmp_path: Path, name: str) -> None:
    frame().to_csv(tmp_path / "table.csv", index=False)
    with (
        writing.predictions(tmp_path / name) as first,
        batch.locked(tmp_path / name),
        pytest.raises(DataError, match="another process is writing"),
    ):
        batch.predict_table(pipeline(), None, str(tmp_path / "table.csv"), tmp_path / name, DATA)
    assert not first.exists()


@pytest.mark.parametrize("source", ["", "/*.csv"])
@pytest.mark.parametrize("name", ["0.csv", "out.csv"])
def test_an_output_among_the_tables_files_is_refused(tmp_path, source, name) -> None:
    for number in (0, 1):
        frame().to_csv(tmp_path / f"{number}.csv", index=False)
    before = (tmp_path / "0.csv").read_bytes()
    with pytest.raises(DataError, match=r"would replace the table|is beside a table's files"):
        batch.predict_table(pipeline(), None, f"{tmp_path}{source}", tmp_path / name, DATA)
    assert (tmp_path / "0.csv").read_bytes() == before


@pytest.mark.parametrize("name", ["out", "out.csv"])
def test_predictions_replace_earlier_ones(tmp_path: Path, name: str) -> None:
    for rows in (20, ROWS):
        frame(rows).to_csv(tmp_path / "table.csv", index=False)
        batch.predict_table(pipeline(), None, str(tmp_path / "table.csv"), tmp_path / name, DATA)
    read = pd.read_csv if name.endswith("csv") else pd.read_parquet
    assert len(read(tmp_path / name)) == ROWS


@pytest.mark.parametrize("name", ["out", "out.csv"])
def test_an_empty_table_gives_an_empty_table_with_all_columns(tmp_path: Path, name: str) -> None:
    frame(0).to_csv(tmp_path / "table.csv", index=False)
    batch.predict_table(pipeline(), None, str(tmp_path / "table.csv"), tmp_path / name, DATA)
    read = pd.read_csv if name.endswith("csv") else pd.read_parquet
    assert [*read(tmp_path / name)] == ["case", "prediction", "lower", "upper", "reason"]


def test_a_key_that_is_a_feature_of_the_model_does_not_name_the_rows(tmp_path: Path) -> None:
    frame().to_csv(tmp_path / "table.csv", index=False)
    output, data = tmp_path / "out.csv", replace(DATA, key="age", numeric=("case",))
    batch.predict_table(pipeline(), None, str(tmp_path / "table.csv"), output, data)
    assert [*pd.read_csv(output)["row"]] == [*range(1, ROWS + 1)]


def test_a_prediction_that_is_not_finite_is_none(tmp_path: Path) -> None:
    model = pipeline()
    model[-1].coef_ *= 1e300
    written = predict(frame().assign(age=[0.0, *np.full(ROWS - 1, 1e10)]), tmp_path, model)
    assert [*written["reason"][1:]] == ["the prediction is not finite"] * (ROWS - 1)
    assert written.loc[1:, ["prediction", "lower", "upper"]].isna().all(axis=None)


def test_rows_that_are_refused_count_neither_as_predicted_nor_in_the_mean(tmp_path: Path) -> None:
    table = frame().astype({"age": object})
    table.loc[3, "age"] = "young"
    table.to_csv(tmp_path / "table.csv", index=False)
    total = batch.predict_table(
        pipeline(impute=True), None, str(tmp_path / "table.csv"), tmp_path / "out.csv", DATA
    )
    assert total.reasons == {"age is not a number": 1}
    assert total.predicted.predictions.rows == ROWS - 1


def test_of_many_files_the_one_without_a_column_is_named(tmp_path: Path) -> None:
    (tmp_path / "table").mkdir()
    frame().to_csv(tmp_path / "table/a.csv", index=False)
    frame().drop(columns="age").to_csv(tmp_path / "table/b.csv", index=False)
    with pytest.raises(DataError, match=r"b\.csv has no column 'age', which the model needs"):
        batch.predict_table(pipeline(), None, f"{tmp_path}/table", tmp_path / "out.csv", DATA)
    frame().drop(columns="site").to_csv(tmp_path / "table/a.csv", index=False)
    with pytest.raises(DataError, match=r"a\.csv has no column 'site', which the model needs"):
        batch.predict_table(pipeline(), None, f"{tmp_path}/table", tmp_path / "out.csv", DATA)


def test_a_table_without_one_of_the_models_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no column 'age', which the model needs; add"):
        predict(frame().drop(columns="age"), tmp_path)
    with pytest.raises(DataError, match=r"has no columns 'age', 'site', which the model needs"):
        predict(frame().drop(columns=["age", "site"]), tmp_path)
    assert not (tmp_path / "out.csv").exists()


@pytest.fixture(scope="module")
def project(fresh: Path) -> Path:
    run("dvc", "repro", cwd=fresh)
    return fresh


@pytest.mark.slow
@pytest.mark.drill
def test_the_command_predicts_with_a_registered_version(project: Path, tmp_path: Path) -> None:
    status = run("git", "status", "--porcelain", cwd=project).stdout
    command = ["python", "-m", "ridgeline", "predict"]
    arguments = ["data/raw/possum.csv", "-o", f"{tmp_path}/out.csv"]
    for named in ("@champion", "1", "models:/Reg_RidgeCV_possums@champion"):
        done = run(*command, named, *arguments, cwd=project)
        assert done.stdout.splitlines()[:5] == [
            f"101 of 104 rows predicted by Reg_RidgeCV_possums version 1: {tmp_path}/out.csv",
            "no prediction, because age is missing: 2 rows",
            "no prediction, because footlgth is missing: 1 row",
            "",
            "Change from the training rows",
        ]
        assert re.search(r"^  column +PSI ", done.stdout, re.MULTILINE)
        assert max(map(len, done.stdout.splitlines()[4:])) <= 80
        assert done.stderr == ""
    ours = pd.read_csv(tmp_path / "out.csv").set_index("case")
    stage = pd.read_csv(project / "predictions/possum_tail_length.csv").set_index("case")
    columns = ["prediction", "lower", "upper"]
    pd.testing.assert_frame_equal(ours.loc[stage.index, columns], stage[columns])
    assert run("git", "status", "--porcelain", cwd=project).stdout == status

    logged = runs(project)[-1]
    assert logged.info.run_name == "predict · version 1"
    assert logged.data.params["model"] == "models:/Reg_RidgeCV_possums/1"
    assert logged.data.metrics["rows.predicted"] == 101
    assert logged.data.metrics["drift.psi.age"] > 0
    [figure] = store(project).list_artifacts(logged.info.run_id)
    assert figure.path == "drift.png"

    refused = run(*command, "@none", *arguments, cwd=project, check=False)
    assert refused.stderr == (
        "error: Reg_RidgeCV_possums has no version with the alias 'none'; its versions: 1\n"
    )
    refused = run(*command, "possums/1", *arguments, cwd=project, check=False)
    assert refused.stderr == (
        "error: 'possums/1' names no version; write 3, champion or models:/NAME/3\n"
    )


@pytest.mark.slow
@pytest.mark.drill
def test_rows_that_have_moved_are_a_warning_or_with_a_flag_an_error(
    project: Path, tmp_path: Path
) -> None:
    rows = pd.concat([pd.read_csv(project / "data/raw/possum.csv").dropna()] * 10)
    rows.assign(totlngth=rows["totlngth"] + 20).to_csv(tmp_path / "rows.csv", index=False)
    command = ["python", "-m", "ridgeline", "predict", "@champion", f"{tmp_path}/rows.csv"]
    done = run(*command, "-o", f"{tmp_path}/a.csv", cwd=project)
    assert "warning: column totlngth is distributed otherwise" in done.stderr
    assert "warning: the mean prediction has moved" in done.stderr
    refused = run(*command, "-o", f"{tmp_path}/b.csv", "--fail-on-drift", cwd=project, check=False)
    assert refused.returncode == 1
    assert "error: the rows differ from the training rows" in refused.stderr
    assert (tmp_path / "b.csv").read_bytes() == (tmp_path / "a.csv").read_bytes()
    rows.head(1).assign(age="young").to_csv(tmp_path / "rows.csv", index=False)
    refused = run(*command, "-o", f"{tmp_path}/c.csv", "--fail-on-drift", cwd=project, check=False)
    assert refused.stderr == f"error: no row was predicted; {tmp_path}/c.csv is complete\n"


@pytest.mark.slow
@pytest.mark.drill
def test_killed_at_ten_points_it_leaves_nothing_and_ends_with_the_same_bytes(
    project: Path, tmp_path: Path
) -> None:
    rows = pd.concat([pd.read_csv(project / "data/raw/possum.csv")] * 3000)
    rows.to_csv(tmp_path / "rows.csv", index=False)
    output = tmp_path / "out.csv"
    command = ["-m", "ridgeline", "predict", "@champion", f"{tmp_path}/rows.csv", "-o", str(output)]
    run("python", *command, cwd=project)
    expected = output.read_bytes()
    for point in range(10):
        output.unlink(missing_ok=True)
        process = subprocess.Popen([sys.executable, *command], cwd=project, env=environment())
        wanted = point * len(expected) // 10
        while process.poll() is None and written(tmp_path) < max(wanted, 1):
            time.sleep(0.002)  # a loop that never rests would take the process's core
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not output.exists() or output.read_bytes() == expected
    run("python", *command, cwd=project)
    assert output.read_bytes() == expected
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.csv", "rows.csv"]


def written(folder: Path) -> int:
    """How many bytes of predictions are in files that are not complete yet."""
    with suppress(FileNotFoundError):  # of a folder that is removed meanwhile
        return sum(f.stat().st_size for f in folder.rglob(".*.partial/**/*") if f.is_file())
    return 0


def test_a_level_that_versions_have_no_width_for_is_refused() -> None:
    settings = config.load(ROOT / "params.yaml")
    with pytest.raises(SettingsError) as refused:
        next(batch.run("@champion", "table.csv", Path("out.csv"), 1.5, settings))
    assert str(refused.value) == "--level is 1.5; it should be one of 0.01, 0.02, up to 0.99"

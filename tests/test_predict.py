"""What the stage predict keeps of a part: little, however many rows the part has."""

import pickle
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import Pipeline

from ridgeline.intake import contract
from ridgeline.model import features, predict, profile, ridge
from ridgeline.tables import reading, writing
from stages.predict import write_predictions

ROWS = 50_000


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> predict.Predicted:
    """What is found of a part: half of its rows are of a site that the training rows lack."""
    folder = tmp_path_factory.mktemp("predict")
    frame = pd.DataFrame(
        {
            "case": [f"a name of some length {number}" for number in range(ROWS)],
            "tail": np.arange(ROWS) / ROWS,
            "age": np.arange(ROWS) % 9.0,
            "site": ["known", "new"] * (ROWS // 2),
        }
    )
    with writing.parquet(folder / "table") as parts, writing.parquet_part(parts, 0) as write:
        write(writing.as_table(frame))
    known = writing.as_table(frame[::2])
    preprocessor, _ = features.fit([known], ["age"], ["site"], impute=False)
    X = features.matrix(preprocessor, known).T
    fit = ridge.fit([(X, known["tail"].to_numpy())], (1.0,))
    model = Pipeline([("preprocessor", preprocessor), ("regressor", fit.model)])
    (folder / "hashes").mkdir()
    (folder / "written").mkdir()
    wanted = contract.Contract("case", None, ("site",), ("age", "tail"))
    [part] = reading.open_table(folder / "table", wanted.columns, wanted.numbers).parts()
    rows = partial(predict.predict_rows, model, "case", "tail", 0.5, 1.5)
    return write_predictions(
        rows, wanted, Path("out"), folder / "written", folder / "hashes", part
    )[0]


def test_all_rows_are_counted(found: predict.Predicted) -> None:
    assert (found.rows, found.sums[:, 0].sum()) == (ROWS, ROWS)
    assert found.unknown == {"site": features.Unknown(ROWS // 2, ("new",))}


def test_missing_intervals_are_a_warning(found: predict.Predicted) -> None:
    assert not [text for text in predict.warnings(found) if "intervals" in text]
    [*_, text] = predict.warnings(found._replace(covered=None))
    assert text.startswith("predictions have no intervals")


def test_what_a_worker_sends_back_is_small(found: predict.Predicted) -> None:
    assert len(pickle.dumps(found)) < 200_000


def test_what_is_kept_does_not_grow_with_the_parts(found: predict.Predicted) -> None:
    total = predict.NONE
    for _ in range(20):
        total = predict.add(total, found)
    assert total.rows == 20 * ROWS
    assert len(total.plotted) == predict.PLOTTED_ROWS
    assert total.plotted.get_total_buffer_size() < 100_000


def test_predictions_that_are_not_finite_are_counted_in_a_warning() -> None:
    total = predict.NONE._replace(rows=5, incomplete=1, predictions=profile.Spread(2, 0.0, 0.0))
    assert [*predict.warnings(total)][1:] == [
        "rows without a prediction because it is not finite: 2; check their values"
    ]

"""The report of a prediction, as Markdown that GitHub and MLflow show; equal values, equal text."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from inspect import signature
from math import sqrt
from typing import Any, NamedTuple

import pandas as pd
from sklearn.pipeline import Pipeline

from ridgeline.files import EFFECTS, PLOTS
from ridgeline.model import drift, features
from ridgeline.model.predict import Predicted

Values = Mapping[str, Any]
LABELS = {"rmse": "RMSE", "mae": "MAE", "r2": "R²"}
SHOWN = 10  # of the effects, and of the columns in a list
FEW_ROWS = 100
FEW_PER_FEATURE = 10  # F. Harrell (2015). Regression Modeling Strategies, section 4.4


class Training(NamedTuple):
    """The training metrics of the model, and its features' effects, in a column after their names.

    `intervals` is the method that the prediction intervals come from.
    """

    metrics: Values
    effects: pd.DataFrame
    intervals: str


class Facts(NamedTuple):
    """What a report is about.

    `model` is a pipeline of a preprocessor and a regressor, and `md5` its file's, None if unknown.
    `prepared` is what ``metrics/prepare.json`` holds of the table `data`, and `total` and `tested`
    are the summary and the metrics of the predictions of the table `input`; its md5 is None if it
    is not on this machine. `half_width` is that of the intervals at `level`; None if unknown;
    `drift` is the result of `drift.compare`.
    `training` is None if the model is not the one just trained, but an older version.
    """

    model: Pipeline
    md5: str | None
    target: str
    data: str
    prepared: Values
    input: str
    input_md5: str | None
    total: Predicted
    tested: Values
    level: float
    half_width: float | None
    drift: drift.Drift
    training: Training | None


def markdown(facts: Facts) -> str:
    """Return the report of a prediction."""
    sections = (_summary, _data, _model, _metrics, _effects, _drift, _limits, _restoring)
    return "\n\n".join(text for section in sections for text in section(facts)) + "\n"


def _summary(facts: Facts) -> Iterator[str]:
    rows = facts.tested["rows"]
    yield f"# {code(facts.target)} predicted by {code(_path(facts.model[-1]))}"
    if facts.training is None:
        named = f", with md5 {code(facts.md5)}" if facts.md5 else ""
        yield (
            f"An older version of the model predicted{named}. What is known only of the model just "
            "trained is left out: training metrics, effects of the features and training ranges."
        )
    text = f"{rows['predicted']:,} rows of {code(facts.input)} were predicted."
    if not rows["scored"]:
        yield f"{text} None has an actual value, so there are no metrics."
        return
    test, baseline = facts.tested["test"], facts.tested["baseline"]["test"]
    yield (
        f"{text} The RMSE on the {rows['scored']:,} rows with an actual value is "
        f"**{number(test['rmse'])}** (95 % interval: {_bounds(test, 'rmse')}); predicting the mean "
        f"of the training rows gives {number(baseline['rmse'])}."
    )


def _data(facts: Facts) -> Iterator[str]:
    rows, missing = facts.prepared["rows"], facts.prepared["missing"]
    lines = [(f"table: {code(facts.data)}", rows["read"], facts.prepared["md5"])]
    if rows["dropped"]:
        what = "the target" if rows["dropped"] == missing.get(facts.target) else "a value"
        lines.append((f"dropped: {what} is missing", rows["dropped"], None))
    lines += [(f"split: {name}", rows[name], None) for name in ("train", "validation", "test")]
    lines.append((f"predicted: {code(facts.input)}", facts.total.rows, facts.input_md5))
    cells = ([what, f"{count:,}", code(md5) if md5 else ""] for what, count, md5 in lines)
    yield "## Data"
    yield _table(["what", "rows", "md5"], "lrl", cells)
    if missing:
        filled = " The model imputes them." if features.imputes(facts.model["preprocessor"]) else ""
        yield f"Missing values: {_counts(missing)}.{filled}"


def _model(facts: Facts) -> Iterator[str]:
    estimator, preprocessor = facts.model[-1], facts.model["preprocessor"]
    kinds = {kind: len(columns) for kind, _, columns in preprocessor.transformers_}
    columns = " and ".join(f"{count} {kind}" for kind, count in kinds.items())
    count = len(preprocessor.get_feature_names_out())
    lines = [["class", code(_path(estimator))]]
    lines += [[code(name), value] for name, value in _parameters(estimator).items()]
    if hasattr(estimator, "alphas"):
        lines.append(["chosen penalty (alpha)", number(estimator.alpha_)])
    lines.append(["features", f"{count:,}, of {columns} columns"])
    if facts.md5:
        lines.append(["md5", code(facts.md5)])
    yield "## Model"
    yield _table(["what", "value"], "ll", lines)
    if facts.training and "alpha" in facts.training.metrics:
        yield _figure("Leave-one-out error by penalty", "error_by_alpha.png")


def _metrics(facts: Facts) -> Iterator[str]:
    scored = facts.tested["rows"]["scored"]
    trained = facts.training.metrics if facts.training else {}
    yield "## Metrics"
    text = f"RMSE and MAE are in the unit of {code(facts.target)}; the baseline predicts the mean"
    if trained:
        text += f" of the training rows, {number(trained['baseline']['prediction'])}"
    yield f"{text}."
    if scored:
        test, baseline = facts.tested["test"], facts.tested["baseline"]["test"]
        header = [f"{scored:,} predicted rows", "model", "95 % interval", "baseline"]
        lines = (
            [label, number(test[name]), _bounds(test, name), number(baseline[name])]
            for name, label in LABELS.items()
        )
        yield _table(header, "lrrr", lines)
    splits = [name for name in ("train", "leave_one_out", "validation") if name in trained]
    if splits:
        lines = (
            [
                name.replace("_", "-"),
                *(number(trained[name].get(metric)) for metric in LABELS),
                number(trained["baseline"].get(name, {}).get("rmse")),
            ]
            for name in splits
        )
        yield _table(["other rows", *LABELS.values(), "baseline RMSE"], "lrrrr", lines)
    if facts.half_width is not None:
        method = f" ({facts.training.intervals})" if facts.training else ""
        width = number(facts.half_width)
        yield f"Prediction intervals at level {facts.level}: prediction ± {width}{method}."
    yield _figure("Predicted and actual values", "predicted_and_actual.png")
    if scored:
        yield _figure("Predicted against actual values", "predicted_against_actual.png")


def _effects(facts: Facts) -> Iterator[str]:
    if facts.training is None:
        return
    effects = [*facts.training.effects.itertuples(index=False, name=None)]
    # rounded: the two columns of a binary category differ only by rounding
    largest = sorted(effects, key=lambda effect: -abs(float(f"{effect[1]:.5g}")))[:SHOWN]
    if hasattr(facts.model[-1], "coef_"):
        kinds, kind = "Coefficients", "coefficient"
        meaning = "the change by one standard deviation of a numeric column, or by a category"
    else:
        kinds, kind = "Permutation importances", "importance"
        meaning = "the increase in RMSE when the values of a feature are shuffled"
    which = f"The {len(largest)} largest of {len(effects):,}" if len(effects) > SHOWN else "All"
    yield f"## {kinds}"
    yield f"{which} ([{EFFECTS}]({EFFECTS})): {meaning}, in the unit of {code(facts.target)}."
    lines = ([code(feature), number(effect)] for feature, effect in largest)
    yield _table(["feature", kind], "lr", lines)
    yield _figure(f"{kinds} by feature", EFFECTS.with_suffix(".png").name)


def _drift(facts: Facts) -> Iterator[str]:
    columns, prediction = facts.drift
    if not columns:
        return
    yield "## Change from the training rows"
    moved = ", ".join(code(change.column) for change in columns if change.moved or change.strays)
    mean = f" Mean prediction: {drift.mean(prediction)}." if prediction else ""
    yield f"Columns that have moved beyond chance: {moved or 'none'}.{mean}"
    (_, *header), rows = drift.table(facts.drift, SHOWN)
    which = f"the {SHOWN} largest of {len(columns)} columns" if len(columns) > SHOWN else "column"
    yield _table([which, *header], "lrrrr", ([code(name), *cells] for name, *cells in rows))
    yield _figure("Change from the training rows by column", "drift.png")


def _limits(facts: Facts) -> Iterator[str]:
    total, level, estimator = facts.total, facts.level, facts.model[-1]
    scored = facts.tested["rows"]["scored"]
    yield "## Known limits"
    unknown = _counts({name: known.rows for name, known in total.unknown.items()}) or "none"
    found = [
        f"Rows with a category that is not in the training rows: {unknown}.",
        f"Rows without a prediction because a value is missing: {total.incomplete:,}.",
    ]
    if facts.half_width is None:
        found.append(f"There are no prediction intervals at level {level}.")
    elif scored and total.covered is not None:
        spread = 2 * sqrt(level * (1 - level) / scored)
        found.append(
            f"Actual values in their prediction interval: {total.covered:,} of {scored:,}, a share "
            f"of {total.covered / scored:.3f}. The level is {level}; with so many rows, two "
            f"standard errors are {spread:.3f}."
        )
    alphas = getattr(estimator, "alphas", None)
    if isinstance(alphas, list | tuple) and len(alphas) > 1:
        ends = {min(alphas): "smallest", max(alphas): "largest"}
        if end := ends.get(estimator.alpha_):
            found.append(f"The chosen penalty is the {end} of its list: the best may lie beyond.")
    rows = facts.prepared["rows"]["train"]
    count = len(facts.model["preprocessor"].get_feature_names_out())
    if facts.training and rows < FEW_PER_FEATURE * count:
        few = f"fewer than {FEW_PER_FEATURE} each"
        found.append(f"Few training rows: {rows:,} for {count:,} features, {few}.")
    if 0 < scored < FEW_ROWS:
        found.append(f"Few rows with an actual value: {scored}. See the intervals of the metrics.")
    yield "\n".join(f"- {text}" for text in found)


def _restoring(facts: Facts) -> Iterator[str]:
    if facts.md5 is None:
        return
    yield "## Restore"
    yield "With MLflow, restore the model with its data, code and params in a separate folder:"
    yield f"```console\n$ python -m ridgeline lineage {facts.md5} --restore ../restored\n```"
    yield "Without, find the commits whose `dvc.lock` has the model; then check one out:"
    log = f"$ git log --oneline --all -S{facts.md5} -- dvc.lock"
    yield f"```console\n{log}\n$ git checkout COMMIT\n$ dvc pull\n```"


def code(text: object) -> str:
    """Return a text as inline code, in which Markdown has no other meaning than a backtick's.

    Examples
    --------
    >>> code("Schnabel {mm}"), code("a`b")
    ('`Schnabel {mm}`', '`` a`b ``')
    """
    shown = " ".join(str(text).split()) or " "
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    return f"{fence} {shown} {fence}" if len(fence) > 1 else f"`{shown}`"


def number(value: float | None) -> str:
    """Return a number with five significant digits.

    Examples
    --------
    >>> number(1234567.8), number(0.000123456), number(2.0), number(None)
    ('1,234,600', '0.00012346', '2', '–')
    """
    if value is None:
        return "–"
    text = f"{value:.5g}"
    return f"{float(text):,.0f}" if 1e4 <= abs(float(text)) < 1e15 else text


def _bounds(metrics: Values, name: str) -> str:
    return f"{number(metrics[f'{name}_lower'])} to {number(metrics[f'{name}_upper'])}"


def _counts(counts: Mapping[str, int]) -> str:
    """Return the columns with the largest counts."""
    first = sorted(counts.items(), key=lambda item: -item[1])
    shown = ", ".join(f"{code(name)} {count:,}" for name, count in first[:SHOWN])
    more = len(first) - SHOWN
    return f"{shown} and {more} more columns" if more > 0 else shown


def _path(estimator: object) -> str:
    """Return an estimator's public import path, such as ``sklearn.linear_model.RidgeCV``."""
    kind = type(estimator)
    return f"{kind.__module__.partition('._')[0]}.{kind.__name__}"


def _parameters(estimator: Any) -> dict[str, str]:
    """Return the parameters that are not scikit-learn's defaults."""
    defaults = signature(type(estimator)).parameters
    return {
        name: _shown(value)
        for name, value in estimator.get_params(deep=False).items()
        if repr(value) != repr(defaults[name].default)
    }


def _shown(value: object) -> str:
    if isinstance(value, list | tuple) and len(value) > SHOWN // 2:
        return f"{len(value)} values from {number(min(value))} to {number(max(value))}"
    return code(value)


def _figure(caption: str, name: str) -> str:
    return f"![{caption}]({PLOTS / name})"


def _table(header: Sequence[str], align: str, rows: Iterable[Sequence[str]]) -> str:
    """Return a table; `align` has a letter for each column, l or r."""
    rules = ["---:" if side == "r" else "---" for side in align]
    lines = [header, rules, *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

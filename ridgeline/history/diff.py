"""Explain how two states of the project differ: params, code, rows, metrics and coefficients."""

from collections.abc import Iterator, Sequence
from functools import partial, reduce
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.pipeline import Pipeline

from ridgeline import config, sections
from ridgeline.errors import ModelError, TrackingError
from ridgeline.files import EFFECTS, MODEL, PREPARED, SPLITS
from ridgeline.history import comparisons, distributions, rows, states
from ridgeline.history.states import State
from ridgeline.model import scoring
from ridgeline.sections import Section
from ridgeline.tables import engine, reading
from ridgeline.tracking import origin

ROWS = [PREPARED / split for split in SPLITS]
TRAIN, VALIDATION, _ = ROWS
DEFAULT_MODEL = "sklearn.linear_model.RidgeCV"  # before there was a choice


def show(a: str, b: str, *, markdown: bool) -> None:
    """Print how two states differ.

    Parameters
    ----------
    a, b : str
        Each as for `states.find`.
    markdown : bool
        Whether to print Markdown instead of text.

    Raises
    ------
    RidgelineError
        When a state can't be found or checked out.
    """
    settings = config.load()
    render = sections.markdown if markdown else sections.text
    named = [states.find(settings, text) for text in (a, b)]
    # beside DVC's cache, to link to its files, and where the workers of a cluster find them
    place = Path(".dvc/tmp").absolute()
    place.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="ridgeline-", dir=place) as folder:
        before, after = (
            states.restore(label, state, Path(folder, label))
            for label, state in zip("AB", named, strict=True)
        )
        for section in compare(before, after, Path(folder)):
            print(*render(section), sep="\n")


def compare(a: State, b: State, scratch: Path) -> Iterator[Section]:
    """Yield the sections of the report.

    Parameters
    ----------
    a, b : State
        As by `states.restore`.
    scratch : Path
        A folder for temporary files, which all workers share.
    """
    names = tuple((state.label, state.name) for state in (a, b))
    yield Section("States", (*a.notes, *b.notes), ("", "state"), names)
    yield comparisons.params(a.params, b.params)
    yield _code(a, b)
    absent = _absent(a, b)
    yield _rows(a, b, scratch, absent)
    yield _columns(a, b, absent)
    yield comparisons.metrics(a.metrics, b.metrics, _paired(a, b, scratch, absent))
    yield _effects(a, b)


def _code(a: State, b: State) -> Section:
    before, after = a.code, b.code
    places = sorted({*before, *after})
    changed = [str(place) for place in places if before.get(place) != after.get(place)]
    paths = ("--", *map(str, places))
    commits = origin.git("log", "--format=%h %s", f"{a.commit}..{b.commit}", *paths)
    behind = origin.git("rev-list", "--count", f"{b.commit}..{a.commit}", *paths)
    related = bool(origin.git("merge-base", a.commit, b.commit))
    return comparisons.code(changed, commits.splitlines(), int(behind or 0), related)


def _absent(a: State, b: State) -> str:
    """Restore the rows that must be read; return why that is not possible, or nothing."""
    if not _same(a, b, *ROWS):
        return a.bring(*ROWS) or b.bring(*ROWS)
    if not _same(a, b, MODEL):
        return a.bring(VALIDATION) or b.bring(VALIDATION)
    return ""


def _rows(a: State, b: State, scratch: Path, absent: str) -> Section:
    if _same(a, b, *ROWS):
        return Section("Rows")
    if reason := absent or _other_key(a, b):
        return Section("Rows", (f"Not compared: {reason}.",))
    for state, split in product((a, b), SPLITS):
        _spilled(state, split, _alike(a, b), scratch)
    joined = rows.join(_hashes(scratch, a), _hashes(scratch, b), engine.mapped)
    found = rows.differences(joined)
    pick = partial(rows.with_keys, a.key, np.sort(np.concatenate(found.examples)))
    examples = (
        pa.concat_tables(engine.mapped(pick, [p for s in SPLITS for p in state.split(s).parts()]))
        for state in (a, b)
    )
    return comparisons.rows(found, a.key, a.roles, b.roles, *examples)


def _columns(a: State, b: State, absent: str) -> Section:
    title = "Columns that moved"
    if _same(a, b, TRAIN):
        return Section(title)
    if absent:
        return Section(title, (f"Not compared: {absent}.",))
    numeric, categorical = _common(a.numeric, b.numeric), _common(a.categorical, b.categorical)
    before, after = (state.split(TRAIN.name) for state in (a, b))
    found = distributions.moved(
        before, after, numeric, categorical, engine.over(reading.Part.table)
    )
    return comparisons.distributions(title, found)


def _paired(a: State, b: State, scratch: Path, absent: str) -> str:
    """Return a sentence on the models' RMSE on common validation rows; none for equal models."""
    if _same(a, b, MODEL):
        return ""
    try:
        if reason := absent or _other_key(a, b):
            raise ModelError(reason)
        if a.numeric[0] != b.numeric[0]:
            raise ModelError(f"the target is {a.numeric[0]} in A and {b.numeric[0]} in B")
        pair = a.model(), b.model()
        # both models need columns that one of the states has
        rated, values = (a, "A") if {*b.columns} < {*a.columns} else (b, "B")
        in_a, in_b = (_spilled(state, VALIDATION.name, _alike(a, b), scratch) for state in (a, b))
        common = scratch / "common"
        if not rows.write_common(common, rows.join(in_a, in_b, engine.mapped)):
            raise ModelError("no row is in validation of both")
        work = partial(_sums, pair, rated, common)
        parts = rated.split(VALIDATION.name).parts()
        of_a, of_b = reduce(_add, engine.mapped(work, parts), (scoring.NONE, scoring.NONE))
    except (ModelError, TrackingError) as error:
        return f"Models not compared on the same rows: {error}."
    return comparisons.paired(int(of_b[:, 0].sum()), scoring.compare(of_b, of_a), values)


def _effects(a: State, b: State) -> Section:
    tables = []
    for state in (a, b):
        if not state.has(EFFECTS):
            reason = f"Not compared: {state.label} has no {EFFECTS} as dvc.lock records it."
            return Section(comparisons.EFFECTS, (reason,))
        path = state.folder / EFFECTS
        frame = pd.read_csv(path, dtype={"feature": str}, keep_default_na=False)
        tables.append(dict(zip(frame["feature"], frame["effect"].astype(float), strict=True)))
    kind_a, kind_b = (str(state.metrics.get("model", DEFAULT_MODEL)) for state in (a, b))
    return comparisons.effects(tables[0], tables[1], kind_a, kind_b)


def _same(a: State, b: State, *paths: Path) -> bool:
    return all(a.outs.get(path) == b.outs.get(path) for path in paths)


def _other_key(a: State, b: State) -> str:
    return "" if a.key == b.key else f"the key is {a.key} in A and {b.key} in B"


def _alike(a: State, b: State) -> list[str]:
    """Return the columns that have the same role in both; other values can't be compared."""
    return [name for name, role in a.roles.items() if b.roles.get(name) == role]


def _common(a: Sequence[str], b: Sequence[str]) -> list[str]:
    return [name for name in a if name in b]


def _spilled(state: State, split: str, columns: Sequence[str], scratch: Path) -> Path:
    """Return the folder with the hashes of a split's rows, written unless it is there."""
    folder = _hashes(scratch, state) / split
    if not folder.exists():
        folder.mkdir(parents=True)
        spill = partial(rows.spill, folder, state.key, columns)
        engine.for_each(spill, state.split(split).parts())
    return folder


def _hashes(scratch: Path, state: State) -> Path:
    return scratch / f"hashes-{state.label}"


def _sums(
    pair: tuple[Pipeline, Pipeline], state: State, common: Path, part: reading.Part
) -> tuple[scoring.Array, scoring.Array]:
    """Score both models on the rows of a state's part that are in validation of both states."""
    frame = reading.as_frame(rows.selected(state.key, common, part.table()))
    if frame.empty:
        return scoring.NONE, scoring.NONE
    actual = frame[state.numeric[0]].to_numpy()
    try:
        of_a, of_b = (scoring.sums(actual, model.predict(frame), 0.0) for model in pair)
    except Exception as error:  # noqa: BLE001 - any model, on columns that may have changed
        reason = " ".join(str(error).split("\n")[0].split())
        raise ModelError(f"a model can't predict {state.label}'s rows ({reason})") from None
    return of_a, of_b


def _add(
    a: tuple[scoring.Array, scoring.Array], b: tuple[scoring.Array, scoring.Array]
) -> tuple[scoring.Array, scoring.Array]:
    return scoring.add(a[0], b[0]), scoring.add(a[1], b[1])

"""What differs between two states, as sections of a report: from values, without files."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from ridgeline.history.distributions import Moved
from ridgeline.history.rows import Differences, keys
from ridgeline.model.scoring import Comparison
from ridgeline.sections import Section

ABSENT = "–"
MOST_ROWS = 10  # of commits, columns and coefficients
EFFECTS = "Coefficients that moved most"
SHOWN = ("alpha", "leave_one_out.", "validation.", "test.")
BOUNDS = ("_lower", "_upper")


def params(a: Mapping[str, Any], b: Mapping[str, Any]) -> Section:
    """List the params that differ, or that only one state has."""
    names = [name for name in sorted({*a, *b}) if a.get(name, ABSENT) != b.get(name, ABSENT)]
    found = [(name, *(str(side.get(name, ABSENT)) for side in (a, b))) for name in names]
    return Section("Params", (), ("param", "A", "B"), tuple(found))


def code(changed: Sequence[str], commits: Sequence[str], behind: int, related: bool) -> Section:
    """List the commits from A to B that touch the stages' code.

    Parameters
    ----------
    changed : sequence of str
        The code deps whose md5s differ.
    commits : sequence of str
        The abbreviated hash and subject of each commit that B has and A does not, newest first.
    behind : int
        How many such commits A has that B does not.
    related : bool
        Whether A and B have a common commit.
    """
    sentences = []
    if changed:
        sentences.append(f"Changed: {', '.join(changed)}.")
    elif commits or behind:
        sentences.append("The stages' code is the same, in spite of these commits.")
    if not related:
        sentences.append("A and B have no common commit: the histories are unrelated.")
    if behind:
        sentences.append(f"Commits that A has and B does not: {behind}.")
    if len(commits) > MOST_ROWS:
        sentences.append(f"The last {MOST_ROWS} of {len(commits)} commits that A does not have:")
    rows = [(line.partition(" ")[0], line.partition(" ")[2]) for line in commits[:MOST_ROWS]]
    return Section("Code", tuple(sentences), ("commit", "subject"), tuple(rows))


def rows(
    found: Differences,
    key: str,
    a_roles: Mapping[str, str],
    b_roles: Mapping[str, str],
    a: pa.Table,
    b: pa.Table,
) -> Section:
    """Count the rows that were added, removed and changed, with examples.

    Parameters
    ----------
    found : Differences
        As by `rows.differences`.
    key : str
        The column of the keys.
    a_roles, b_roles : mapping of str to str
        The other columns of each state by name; those with equal roles in both were compared.
    a, b : Table
        The rows of the examples in each state.
    """
    columns = [name for name, role in a_roles.items() if b_roles.get(name) == role]
    before, after = ({row[key]: row for row in side.to_pylist()} for side in (a, b))
    added, removed, changed = (
        keys(side, key, hashes) for side, hashes in zip((b, a, b), found.examples, strict=True)
    )
    changes = [f"{k} ({_changes(before[k], after[k], columns)})" for k in changed]
    table = [
        (kind, f"{count:,}", ", ".join(texts) + (", …" if count > len(texts) else ""))
        for kind, count, texts in (
            ("added", found.added, added),
            ("removed", found.removed, removed),
            ("changed", found.changed, changes),
        )
        if count
    ]
    sentences = [
        f"{what}: {', '.join(names)}."
        for what, names in (
            ("Columns that only A has", [name for name in a_roles if name not in b_roles]),
            ("Columns that only B has", [name for name in b_roles if name not in a_roles]),
            (
                "Columns that are numeric in one and categorical in the other, not compared",
                [name for name in a_roles if name in b_roles and name not in columns],
            ),
        )
        if names
    ]
    if table:
        sentences.append(
            f"Of {found.common + found.removed:,} rows in A and {found.common + found.added:,} in "
            f"B, {found.common - found.changed:,} are the same."
        )
    return Section("Rows", tuple(sentences), ("", "rows", f"examples by {key}"), tuple(table))


def distributions(title: str, found: Sequence[Moved]) -> Section:
    """List the columns whose distribution moved most; `found` is sorted."""
    table = [
        (
            change.column,
            f"{change.psi:.2f}",
            "no" if change.moved else "yes",
            _signed(shift, ".2f"),
        )
        for change, shift in found[:MOST_ROWS]
    ]
    sentences = [
        "Population stability index (PSI) of the training rows; the shift is that of the mean, in "
        "standard deviations."
    ]
    if len(found) > MOST_ROWS:
        sentences.append(f"The {MOST_ROWS} largest of {len(found)}:")
    header = ("column", "PSI", "may be chance", "shift")
    return Section(title, tuple(sentences) if table else (), header, tuple(table))


def metrics(a: Mapping[str, Any], b: Mapping[str, Any], paired: str) -> Section:
    """Compare the metrics, with dotted keys, side by side; `paired` is a sentence on the models."""
    shown = [n for n in {**a, **b} if n.startswith(SHOWN) and not n.endswith(BOUNDS)]
    table = [_side_by_side(name, a, b) for name in shown]
    if not paired and all(a.get(name) == b.get(name) for name in shown):
        return Section("Metrics")
    sentences = (paired,) if paired else ()
    return Section("Metrics", sentences, ("metric", "A", "B", "B - A"), tuple(table))


def paired(rows: int, compared: Comparison | None, values: str) -> str:
    """Return a sentence on the RMSE of B's model and A's on the rows that are in both.

    `values` is the state whose values of these rows were used.
    """
    on = f"On the validation rows of both ({rows:,}, with the values of {values}), "
    if compared is None:
        return f"{on}the errors are too large to be squared."
    difference, lower, upper = (f"{value:+.4g}" for value in compared[:3])
    return (
        f"{on}the RMSE of B's model minus that of A's is {difference}, with a paired 95 % interval "
        f"from {lower} to {upper}."
    )


def effects(a: Mapping[str, float], b: Mapping[str, float], a_model: str, b_model: str) -> Section:
    """List the coefficients that moved most.

    Parameters
    ----------
    a, b : mapping of str to float
        The effects by feature.
    a_model, b_model : str
        The models' import paths. Linear models' coefficients are compared, whatever their class.
    """
    sentences = []
    if a_model != b_model:
        names = (path.rpartition(".")[2] for path in (a_model, b_model))
        sentences.append("The models are of different kinds: A is a {}, B a {}.".format(*names))
        if not all(path.startswith("sklearn.linear_model.") for path in (a_model, b_model)):
            return Section(EFFECTS, (f"{sentences[0][:-1]}; their effects can't be compared.",))
    distances = {name: abs(b.get(name, 0.0) - a.get(name, 0.0)) for name in {**a, **b}}
    moved = [name for name in distances if distances[name]]
    moved.sort(key=lambda name: -distances[name])
    table = [_side_by_side(name, a, b) for name in moved[:MOST_ROWS]]
    return Section(EFFECTS, tuple(sentences), ("feature", "A", "B", "B - A"), tuple(table))


def _side_by_side(name: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[str, ...]:
    before, after = a.get(name), b.get(name)
    change = None
    if isinstance(before, int | float) and isinstance(after, int | float):
        change = after - before
    return name, _number(before), _number(after), _signed(change, ".4g")


def _changes(a: Mapping[str, Any], b: Mapping[str, Any], columns: Sequence[str]) -> str:
    """Return the first values of a row that changed."""
    changed = [name for name in columns if a[name] != b[name]]
    texts = []
    for name in changed[:3]:
        before, after = _number(a[name]), _number(b[name])
        if before == after:  # when rounded
            before, after = str(a[name]), str(b[name])
        texts.append(f"{name} {before} → {after}")
    return ", ".join(texts) + (", …" if len(changed) > 3 else "")


def _signed(value: float | None, form: str) -> str:
    return ABSENT if value is None else f"{value:+{form}}"


def _number(value: object) -> str:
    if value is None:
        return ABSENT
    return f"{value + 0.0:.5g}" if isinstance(value, float) else str(value)  # -0.0 as 0

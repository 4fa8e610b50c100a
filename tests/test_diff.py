"""Two states of the project compared: what differs is explained, and what can't be is named."""

import re
import shutil
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from markdown_it import MarkdownIt
from project import MODEL, edit, run, store

from ridgeline import config
from ridgeline.history import comparisons, rows, states
from ridgeline.intake import unique
from ridgeline.model.scoring import Comparison
from ridgeline.sections import text

Diff = Callable[..., tuple[int | str, str]]
EXPERIMENT, FEWER = "puffy-cat", "fewer-columns"


pytestmark = [pytest.mark.slow, pytest.mark.drill]


@pytest.fixture(scope="module")
def history(reproduced: Path) -> Path:
    """A project with a commit, one of other rows, code and penalty, and an experiment with that."""
    project = reproduced
    run("git", "commit", "--quiet", "--all", "--amend", "--no-edit", "--allow-empty", cwd=project)
    run("git", "tag", "first", cwd=project)
    raw = project / "data/raw/possum.csv"
    table = pd.read_csv(raw, dtype=str)
    newer = table.drop(index=[20, 21])
    newer.loc[newer["case"].astype(int) <= 60, "belly"] = "40.5"
    newer = pd.concat([newer, newer.tail(4).assign(case=["201", "202", "203", "204"])])
    newer.to_csv(raw, index=False)
    edit(project, "alphas: logspace(-3, 1, 30)", "alphas: [2.0]")
    ridge = project / "ridgeline/model/ridge.py"
    ridge.write_text(f"{ridge.read_text()}# a comment\n")
    commit(project, "Newer possums | a larger penalty")
    run("dvc", "repro", cwd=project)
    commit(project, "The second model")
    run("git", "tag", "second", cwd=project)
    run("dvc", "exp", "run", "--name", EXPERIMENT, "-S", "train.alphas=[0.5]", cwd=project)
    run("git", "checkout", "--quiet", ".", cwd=project)
    run("dvc", "exp", "run", "--name", FEWER, "-S", "data.numeric=[age,totlngth]", cwd=project)
    run("git", "checkout", "--quiet", ".", cwd=project)
    run("dvc", "checkout", "--quiet", "--force", cwd=project)
    store(project).set_registered_model_alias(MODEL, "oldest", "1")
    shelf = str(project.parent / "shelf")  # a remote that has nothing
    run("dvc", "remote", "add", "--local", "--default", "shelf", shelf, cwd=project)
    return project


@pytest.fixture
def here(history: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project, as the working directory."""
    monkeypatch.chdir(history)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{history}/mlflow.db")
    return history


@pytest.fixture
def diff(here: Path, ridgeline: Callable[..., tuple[int | str, str, str]]) -> Diff:
    """Runs `diff` in the project; returns its status or error, and what it printed to stdout."""
    return lambda *arguments: ridgeline("diff", *arguments)[:2]


def git(project: Path, *arguments: str) -> str:
    return run("git", *arguments, cwd=project).stdout


def commit(project: Path, message: str) -> None:
    run("git", "add", "--all", cwd=project)
    run("git", "commit", "--quiet", "--message", message, cwd=project)


def section(out: str, title: str) -> str:
    """The lines of a section."""
    [found] = [text for text in out.strip().split("\n\n") if text.startswith(title)]
    return found


def test_params_code_rows_columns_metrics_and_coefficients_are_explained(
    diff: Diff, here: Path
) -> None:
    new = pd.read_csv(here / "data/raw/possum.csv").dropna()
    old = pd.read_csv(StringIO(git(here, "show", "first:data/raw/possum.csv"))).dropna()
    both = old.merge(new, on="case")
    status, out = diff("first", "second")
    assert status == 0
    assert max(map(len, out.splitlines())) <= 80
    assert section(out, "Params").splitlines()[2].split() == [
        *("train.alphas", "logspace(-3,", "1,", "30)", "[2.0]"),
    ]
    assert "Changed: ridgeline/model." in section(out, "Code")
    assert "Newer possums | a larger penalty" in section(out, "Code")
    assert "The second model" not in section(out, "Code")
    counts = dict(
        re.findall(r"^  (added|removed|changed) +(\d+)", section(out, "Rows"), re.MULTILINE)
    )
    assert counts == {
        "added": str(len(new) - len(both)),
        "removed": str(len(old) - len(both)),
        "changed": str((both["belly_x"] != both["belly_y"]).sum()),
    }
    assert "201, 202, 203, 204" in section(out, "Rows")
    assert "21, 22" in section(out, "Rows")
    assert re.search(r"belly \d+(\.5)? → 40.5", " ".join(section(out, "Rows").split()))
    assert re.search(r"^  belly +\d", section(out, "Columns that moved"), re.MULTILINE)
    assert re.search(r"^  alpha +0.78805 +2 +\+1.212$", section(out, "Metrics"), re.MULTILINE)
    assert "a paired 95 % interval from" in " ".join(section(out, "Metrics").split())
    assert "  belly" in section(out, "Coefficients")


def test_a_state_does_not_differ_from_itself(diff: Diff) -> None:
    _, out = diff("first", "first")
    sections = out.strip().split("\n\n")[1:]
    assert len(sections) == 6
    assert all(text.endswith(": no differences") for text in sections)


@pytest.mark.parametrize("name", ["1", "v1", f"models:/{MODEL}/1", "@oldest", "oldest", "first"])
def test_a_version_an_alias_and_a_commit_name_the_same_state(here: Path, name: str) -> None:
    commit = states.find(config.load(), name).revision.commit
    assert git(here, "show", f"{commit}:dvc.lock") == git(here, "show", "first:dvc.lock")


def test_an_experiment_is_compared_by_its_name(diff: Diff) -> None:
    _, out = diff("second", EXPERIMENT)
    assert f"experiment {EXPERIMENT}" in section(out, "States")
    assert section(out, "Params").splitlines()[2].split() == ["train.alphas", "[2.0]", "[0.5]"]
    for same in ("Code", "Rows", "Columns that moved"):
        assert section(out, same) == f"{same}: no differences"


@pytest.mark.parametrize(("a", "b", "values"), [("second", FEWER, "A"), (FEWER, "second", "B")])
def test_a_model_with_fewer_columns_is_compared_either_way(
    diff: Diff, a: str, b: str, values: str
) -> None:
    _, out = diff(a, b)
    shown = " ".join(section(out, "Metrics").split())
    assert f"with the values of {values}), the RMSE of B's model minus that of A's is" in shown


def test_markdown_has_a_table_for_each_section_with_differences(diff: Diff) -> None:
    _, out = diff("first", "second", "--markdown")
    tokens = MarkdownIt("gfm-like", {"linkify": False}).disable("linkify").parse(out)
    assert sum(token.type == "table_open" for token in tokens) == 7
    assert r"Newer possums \| a larger penalty" in out


def test_a_name_of_nothing_is_one_line(diff: Diff) -> None:
    status, out = diff("nobody", "first")
    assert out == ""
    assert status == (
        f"error: nobody is neither a commit nor a DVC experiment, and {MODEL} has no version with "
        "the alias 'nobody'; its versions: 1, 2, 3, 4"
    )


def test_a_name_of_two_states_is_an_error_that_lists_them(diff: Diff, history: Path) -> None:
    run("git", "tag", "v2", "first", cwd=history)
    first = git(history, "rev-parse", "first").strip()
    status, _ = diff("v2", "first")
    run("git", "tag", "--delete", "v2", cwd=history)
    assert status == (
        f"error: v2 is ambiguous; write one of these instead: {first}, models:/{MODEL}/2"
    )


def test_a_commit_without_a_lock_is_an_error(diff: Diff, history: Path) -> None:
    run("git", "checkout", "--quiet", "--orphan", "empty", cwd=history)
    run("git", "rm", "--quiet", "--cached", "dvc.lock", cwd=history)
    run("git", "commit", "--quiet", "--allow-empty", "--message", "no lock", cwd=history)
    run("git", "checkout", "--quiet", "--force", "second", cwd=history)
    status, _ = diff("empty", "first")
    assert re.fullmatch(
        r"error: commit \w{12} has no dvc.yaml with a valid dvc.lock; name another", str(status)
    )


def test_a_state_of_other_code_than_its_lock_is_noted(diff: Diff) -> None:
    _, out = diff("first", "second~1")
    notes = " ".join(section(out, "States").split())
    assert "contains other code than its dvc.lock was written with: ridgeline/model" in notes


def test_what_is_not_in_the_cache_is_named_and_the_rest_compared(diff: Diff, history: Path) -> None:
    cache, away = history / ".dvc/cache", history / ".dvc/away"
    shutil.move(cache, away)
    status, out = diff("first", "second")
    shutil.rmtree(cache, ignore_errors=True)
    shutil.move(away, cache)
    assert status == 0
    reason = (
        "Not compared: A's prepared rows can't be restored: it is neither in DVC's cache nor in"
    )
    for title in ("Rows", "Columns that moved"):
        assert reason in " ".join(section(out, title).split())
    assert "train.alphas" in section(out, "Params")
    assert "validation.rmse" in section(out, "Metrics")


def test_more_than_ten_commits_are_counted() -> None:
    commits = [f"{number:07} a change" for number in range(12)]
    section = comparisons.code(["ridgeline/model"], commits, behind=3, related=False)
    assert len(section.rows) == 10
    assert section.sentences == (
        "Changed: ridgeline/model.",
        "A and B have no common commit: the histories are unrelated.",
        "Commits that A has and B does not: 3.",
        "The last 10 of 12 commits that A does not have:",
    )


def test_a_param_of_one_state_only_is_listed() -> None:
    assert comparisons.params({"a": 1, "b": None}, {"b": None, "c": [2]}).rows == (
        ("a", "1", "–"),
        ("c", "–", "[2]"),
    )


@pytest.mark.parametrize(
    ("model", "rows"), [("sklearn.linear_model.Lasso", 1), ("sklearn.svm.SVR", 0)]
)
def test_only_linear_models_of_different_kinds_are_compared(model: str, rows: int) -> None:
    section = comparisons.effects({"x": 1.0}, {"x": 2.0}, "sklearn.linear_model.RidgeCV", model)
    assert len(section.rows) == rows
    assert section.sentences[0].startswith("The models are of different kinds: A is a RidgeCV, B a")


def test_the_largest_changes_of_coefficients_come_first() -> None:
    a = {f"x{number}": 0.0 for number in range(12)}
    b = {name: (-1) ** place * float(place) for place, name in enumerate(a)}
    section = comparisons.effects(
        a, b, "sklearn.linear_model.RidgeCV", "sklearn.linear_model.RidgeCV"
    )
    assert [row[0] for row in section.rows] == [f"x{number}" for number in range(11, 1, -1)]


def test_the_paired_interval_names_its_rows_and_values() -> None:
    assert comparisons.paired(1234, Comparison(-0.5, -1.0, 0.25, 0.9), "B") == (
        "On the validation rows of both (1,234, with the values of B), the RMSE of B's model minus "
        "that of A's is -0.5, with a paired 95 % interval from -1 to +0.25."
    )


def rows_section(a: dict[str, object], b: dict[str, object], roles: list[dict[str, str]]) -> str:
    """The section on one row, with key 1, that changed from `a` to `b`."""
    before, after = (pa.table({"k": ["1"]} | {n: [v] for n, v in row.items()}) for row in (a, b))
    none, hashes = np.zeros(0, np.uint64), unique.hashes(before["k"], rows.SEED)
    found = rows.Differences(0, 0, 1, 1, (none, none, hashes))
    return "\n".join(text(comparisons.rows(found, "k", *roles, before, after)))


def test_values_that_are_equal_when_rounded_are_shown_in_full() -> None:
    roles = [{"x": "numeric"}] * 2
    assert "x 123456.5 → 123457.5" in rows_section({"x": 123456.5}, {"x": 123457.5}, roles)


def test_columns_of_another_role_are_named_and_not_compared() -> None:
    roles = [{"x": "numeric", "site": role} for role in ("categorical", "numeric")]
    shown = rows_section({"x": 1.0, "site": "1"}, {"x": 2.0, "site": 1.0}, roles)
    assert "not compared: site." in " ".join(shown.split())
    assert "1 (x 1 → 2)" in shown

"""States of the project in git, found by what their dvc.lock holds."""

from pathlib import Path

import pytest
from dvc.config import Config
from project import run

from ridgeline.errors import RevisionError
from ridgeline.history import revisions
from ridgeline.history.revisions import Revision
from ridgeline.tracking import records

LOCK = """
schema: '2.0'
stages:
  train:
    cmd: python -m stages.train
    deps:
    - path: data/features/train
      md5: {data}
    outs:
    - path: models/model.joblib
      md5: {model}
"""


def lock(model: str, data: str = "d0.dir") -> str:
    return LOCK.format(model=model, data=data)


def tags(model: str, data: str = "d0.dir") -> dict[str, str]:
    record = records.locked(lock(model, data))["train"]
    return record.tags | {records.DIGEST: record.digest}


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    run("git", "init", "--quiet", "--initial-branch=main", cwd=folder)
    monkeypatch.chdir(folder)
    return folder


def commit(folder: Path, text: str | None = None, branch: str = "") -> str:
    """Commit a dvc.lock, or something else; return the commit."""
    if branch:
        run("git", "checkout", "--quiet", "-B", branch, cwd=folder)
    if text is None:
        (folder / "README").write_text("more\n" * len(list(folder.iterdir())))
    else:
        (folder / "dvc.lock").write_text(text)
    run("git", "add", "--all", cwd=folder)
    run("git", "commit", "--quiet", "--allow-empty", "--message", "a state", cwd=folder)
    return run("git", "rev-parse", "HEAD", cwd=folder).stdout.strip()


def experiment(folder: Path, text: str, name: str) -> Revision:
    """Keep a dvc.lock as DVC keeps an experiment: as a commit that only a ref of its own names."""
    baseline = run("git", "rev-parse", "HEAD", cwd=folder).stdout.strip()
    made = commit(folder, text)
    run("git", "update-ref", f"refs/exps/{baseline[:2]}/{baseline[2:]}/{name}", made, cwd=folder)
    run("git", "reset", "--quiet", "--hard", baseline, cwd=folder)
    return Revision(made, name, baseline)


def test_the_commits_of_all_branches_that_changed_the_lock_are_listed_oldest_first(
    repository: Path,
) -> None:
    first = commit(repository, lock("m1"))
    commit(repository)
    second = commit(repository, lock("m2"), "other")
    assert [r.commit for r in revisions.commits()] == [first, second]


def test_a_folder_without_git_has_no_states(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert revisions.commits() == revisions.experiments() == []
    assert revisions.holding(tags("m1")) is None


def test_experiments_are_listed_with_their_name_and_baseline(repository: Path) -> None:
    commit(repository, lock("m1"))
    made = experiment(repository, lock("m2"), "puffy-cat")
    assert revisions.experiments() == [made]
    assert made.tags["dvc.baseline"] == run("git", "rev-parse", "HEAD", cwd=repository).stdout[:40]


def test_locks_are_read_in_order_and_states_without_one_left_out(repository: Path) -> None:
    bare = commit(repository)
    first, second = (commit(repository, lock(model)) for model in ("m1", "m2"))
    wanted = [Revision(commit) for commit in (second, bare, "0" * 40, first)]
    assert [*revisions.locks(wanted)] == [
        (Revision(second), lock("m2")),
        (Revision(first), lock("m1")),
    ]


@pytest.mark.parametrize("broken", ["<<<<<<< HEAD\nstages:\n=======\n", "", "stages\n"])
def test_a_lock_that_is_none_is_passed_over(repository: Path, broken: str) -> None:
    commit(repository, broken + "# m1")
    made = commit(repository, lock("m1"))
    assert revisions.holding(tags("m1")) == (Revision(made), True)


def test_a_run_is_found_in_the_commit_that_was_made_after_it(repository: Path) -> None:
    before = commit(repository, lock("m1"))
    after = commit(repository, lock("m2"))
    found = revisions.holding(tags("m2") | {"git.commit": before})
    assert found == (Revision(after), True)


def test_an_experiments_run_is_found_in_the_experiment(repository: Path) -> None:
    commit(repository, lock("m1"))
    made = experiment(repository, lock("m2"), "puffy-cat")
    assert revisions.holding(tags("m2")) == (made, True)


def test_of_two_states_with_the_same_outputs_the_one_with_the_same_deps_is_found(
    repository: Path,
) -> None:
    first = commit(repository, lock("m1", data="d1.dir"))
    second = commit(repository, lock("m1", data="d2.dir"))
    assert revisions.holding(tags("m1", data="d1.dir")) == (Revision(first), True)
    assert revisions.holding(tags("m1", data="d2.dir")) == (Revision(second), True)
    assert revisions.holding(tags("m1", data="d3.dir")) == (Revision(first), False)


def from_raw(raw: str) -> str:
    """A dvc.lock whose data were prepared from a raw table with this md5."""
    prepare = f"""  prepare:
    deps:
    - path: data/raw/table.csv
      md5: {raw}
    outs:
    - path: data/features/train
      md5: d0.dir
"""
    return lock("m1").replace("stages:\n", f"stages:\n{prepare}")


@pytest.mark.parametrize("raw", ["r1", "r2"])
def test_a_version_is_found_where_the_raw_data_are_its_own(repository: Path, raw: str) -> None:
    states = {raw: Revision(commit(repository, from_raw(raw))) for raw in ("r1", "r2")}
    version = tags("m1") | {"dvc.deps.data/raw/table.csv": raw}
    assert revisions.holding(version) == (states[raw], True)
    assert revisions.holding(version | {"dvc.deps.data/raw/table.csv": "r3"}) == (
        states["r1"],
        False,
    )


def test_of_two_states_with_all_the_same_the_one_that_the_tags_name_is_found(
    repository: Path,
) -> None:
    first = commit(repository, lock("m1"))
    same = experiment(repository, lock("m1"), "puffy-cat")
    assert revisions.holding(tags("m1") | {"git.commit": first}) == (Revision(first), True)
    named = {"dvc.experiment": same.experiment, "dvc.baseline": same.baseline}
    assert revisions.holding(tags("m1") | named | {"git.commit": first}) == (same, True)


def test_what_no_state_holds_is_not_found(repository: Path) -> None:
    commit(repository, lock("m1"))
    assert revisions.holding(tags("m2")) is None


def test_an_experiment_that_only_gits_remote_has_is_fetched(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(repository, lock("m1"))
    made = experiment(repository, lock("m2"), "puffy-cat")
    url = f"file://{repository}"  # a path would be cloned with all objects
    run("git", "clone", "--quiet", url, "clone", cwd=tmp_path)
    monkeypatch.chdir(tmp_path / "clone")
    assert revisions.holding(tags("m2")) is None
    named = {"dvc.experiment": made.experiment, "dvc.baseline": made.baseline}
    assert revisions.holding(tags("m2") | named) == (made, True)


def test_what_gits_remote_has_is_to_be_cloned_from_there_without_the_login(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed = commit(repository, lock("m1"))
    run("git", "clone", "--quiet", str(repository), "clone", cwd=tmp_path)
    clone = tmp_path / "clone"
    url = "https://name:hidden@example.invalid/project.git"
    run("git", "remote", "set-url", "origin", url, cwd=clone)
    monkeypatch.chdir(clone)
    assert revisions.published(Revision(pushed)) == ("https://example.invalid/project.git", "")


def test_what_only_this_repository_has_is_to_be_cloned_from_here(repository: Path) -> None:
    made = commit(repository, lock("m1"))
    assert revisions.published(Revision(made)) == (str(repository), "")


def test_a_state_that_git_lost_is_an_error(repository: Path, tmp_path: Path) -> None:
    commit(repository, lock("m1"))
    with pytest.raises(RevisionError, match=r"git can't restore this state: .*0000000"):
        revisions.lay_out(Revision("0" * 40), tmp_path / "state")


def test_a_state_shares_the_cache_and_the_remotes_of_today(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / ".dvc").mkdir()
    (repository / ".dvc/config").touch()
    made = commit(repository, lock("m1"))
    remote = "[core]\n    remote = shelf\n['remote \"shelf\"']\n    url = ../../étagère\n"
    (repository / ".dvc/config").write_text(remote, encoding="utf-8")
    here = repository.rename(tmp_path / "José's")
    monkeypatch.chdir(here)
    revisions.lay_out(Revision(made), tmp_path / "state")
    local = tmp_path / "state/.dvc/config.local"
    assert local.stat().st_mode & 0o777 == 0o600  # a remote's keys may be in it
    settings = Config(str(tmp_path / "state/.dvc")).read()
    assert settings["cache"]["dir"] == str(here / ".dvc/cache")
    assert settings["remote"]["shelf"]["url"] == str(tmp_path / "étagère")


def test_settings_that_dvc_can_not_read_are_an_error(repository: Path, tmp_path: Path) -> None:
    (repository / ".dvc").mkdir()
    made = commit(repository, lock("m1"))
    (repository / ".dvc/config").write_text("[core\n")
    with pytest.raises(RevisionError, match=r"fix \.dvc/config: "):
        revisions.lay_out(Revision(made), tmp_path / "state")

"""docs/scheduling.md: what cron and GitHub Actions run, and runs of one clone that overlap."""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from project import PROGRAMS, ROOT, edit, environment, ran, run
from ruamel.yaml import YAML
from zc.lockfile import LockFile

PAGE = (ROOT / "docs/scheduling.md").read_text(encoding="utf-8")
EXAMPLE = ROOT / "deploy/github/pipeline.yml"
WORKFLOWS = [*sorted((ROOT / ".github/workflows").glob("*.yml")), EXAMPLE]


def drill(test: Callable[..., None]) -> Callable[..., None]:
    return pytest.mark.slow(pytest.mark.drill(test))


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda workflow: workflow.stem)
def test_a_workflow_is_what_github_allows(workflow: Path) -> None:
    check = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.github-workflows",
    ]
    done = subprocess.run([*check, workflow], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda workflow: workflow.stem)
def test_a_workflow_names_actions_by_commit(workflow: Path) -> None:
    used = re.findall(r"uses: (\S+)", workflow.read_text())
    assert [action for action in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action)] == []


def test_the_page_lists_the_workflows_secrets() -> None:
    for secret in re.findall(r"secrets\.(\w+)", EXAMPLE.read_text()):
        assert f"`{secret}`" in PAGE


def test_dvc_yaml_lists_the_stages_in_an_order_in_which_they_can_run() -> None:
    """Airflow runs them in that order."""
    stages = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
    lock = YAML(typ="safe").load(ROOT / "dvc.lock")["stages"]
    outs = {out["path"] for stage in lock.values() for out in stage["outs"]}
    written: set[str] = set()
    for stage in stages:
        assert {dep["path"] for dep in lock[stage]["deps"]} & outs <= written
        written |= {out["path"] for out in lock[stage]["outs"]}


@pytest.fixture(scope="module")
def origin(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A team's repository: its data are in a folder; its last commit changed a setting."""
    folder = tmp_path_factory.mktemp("team")
    work = folder / "work"
    shutil.copytree(pristine, work, symlinks=True)
    run("dvc", "remote", "add", "--default", "shelf", str(folder / "shelf"), cwd=work)
    run("git", "commit", "--quiet", "--all", "--message", "A remote", cwd=work)
    run("dvc", "push", cwd=work)
    edit(work, "alphas: logspace(-3, 1, 30)", "alphas: [0.1, 1, 10]")
    run("git", "commit", "--quiet", "--all", "--message", "Other penalties", cwd=work)
    run("git", "clone", "--quiet", "--bare", str(work), str(folder / "origin"), cwd=folder)
    return folder / "origin"


def clone_of(origin: Path, folder: Path) -> Path:
    """Return a clone of the team's repository; the environment in it is the tests' own."""
    run("git", "clone", "--quiet", str(origin), str(folder), cwd=origin)
    (folder / ".venv").symlink_to(PROGRAMS.parent)
    for lock in folder.glob("requirements*.txt"):
        os.utime(lock, (0, 0))  # what is installed here is up to date
    return folder


def is_reproduced(origin: Path, folder: Path) -> bool:
    """Whether a colleague who pulls the team's last commit has nothing to run."""
    clone = clone_of(origin, folder)
    run("dvc", "pull", cwd=clone)
    return run("dvc", "status", cwd=clone).stdout == "Data and pipelines are up to date.\n"


@drill
def test_crons_line_runs_in_crons_environment(origin: Path, tmp_path: Path) -> None:
    own = tmp_path / "origin"
    shutil.copytree(origin, own)
    clone = clone_of(own, tmp_path / "clone")
    (clone / ".dvc/tmp").mkdir()
    (tmp_path / ".gitconfig").write_text("[user]\nname = cron\nemail = cron@example.invalid\n")
    [line] = re.findall(r"^0 2 \* \* \* +(.*)$", PAGE, re.MULTILINE)
    line = line.replace("/srv/ridgeline", str(clone))
    cron = ["env", "-i", f"HOME={tmp_path}", "LOGNAME=cron", "SHELL=/bin/sh", "PATH=/usr/bin:/bin"]

    assert not is_reproduced(own, tmp_path / "before")
    run(*cron, "/bin/sh", "-c", line, cwd=tmp_path)
    assert "Running stage 'train'" in (clone / ".dvc/tmp/nightly.log").read_text()
    assert is_reproduced(own, tmp_path / "after")

    last = run("git", "rev-parse", "HEAD", cwd=own).stdout
    run(*cron, "/bin/sh", "-c", line, cwd=tmp_path)
    assert run("git", "rev-parse", "HEAD", cwd=own).stdout == last  # nothing changed


@drill
def test_github_actions_steps_run_and_push_what_changed(origin: Path, tmp_path: Path) -> None:
    own = tmp_path / "origin"
    shutil.copytree(origin, own)
    clone = clone_of(own, tmp_path / "clone")
    [job] = YAML(typ="safe").load(EXAMPLE)["jobs"].values()
    summary = tmp_path / "summary.md"
    for step in job["steps"]:
        if "run" in step:
            run("bash", "-e", "-c", step["run"], cwd=clone, GITHUB_STEP_SUMMARY=str(summary))
    assert "| metrics.json | test.rmse |" in re.sub(" +", " ", summary.read_text())
    assert is_reproduced(own, tmp_path / "after")


@contextmanager
def repro_under_way(project: Path, *command: str) -> Iterator[subprocess.Popen[str]]:
    """Begin a run of all stages; wait until the first one runs, and at the end for the last."""
    started = subprocess.Popen(
        command,
        cwd=project,
        env=environment(PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while "Running stage" not in (line := started.stdout.readline()):
        assert line, "it ended before it ran a stage"
    yield started
    printed = started.communicate(timeout=300)[0]
    assert started.returncode == 0, printed


@drill
def test_dvc_repro_stops_while_another_one_runs(unchanged: Path) -> None:
    with repro_under_way(unchanged, "dvc", "repro", "--force"):
        second = run("dvc", "repro", cwd=unchanged, check=False)
    assert second.returncode != 0
    assert ran(second) == []
    assert "is busy, it is being blocked by:" in second.stderr
    assert "dvc repro --force" in second.stderr


@drill
def test_make_repro_waits_for_a_command_that_holds_dvcs_lock(unchanged: Path) -> None:
    """Without `--wait-for-lock`, `dvc repro` loses the stage that ends meanwhile."""
    recipe = run("make", "--dry-run", "--always-make", "repro", cwd=ROOT).stdout.splitlines()[-1]
    with repro_under_way(unchanged, *recipe.split(), "--force"):
        lock = LockFile(str(unchanged / ".dvc/tmp/lock"))
        time.sleep(6)  # DVC itself waits for 3 seconds
        lock.close()


def test_a_scheduled_run_stops_while_another_one_runs(tmp_path: Path) -> None:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / "deploy").mkdir()
    script = shutil.copy(ROOT / "deploy/nightly.sh", tmp_path / "deploy")
    folder = os.open(tmp_path / ".dvc", os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    try:
        done = run(str(script), cwd=tmp_path, check=False)
    finally:
        os.close(folder)
    assert done.returncode == 1
    assert done.stderr == (
        f"error: an earlier scheduled run in {tmp_path} has not ended; this one was not started\n"
    )

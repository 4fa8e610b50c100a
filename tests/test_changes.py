"""`changes`: what a branch changes, for its reviewers, from git alone."""

import re
from pathlib import Path

import pytest
from project import ROOT, clone, edit, run
from ruamel.yaml import YAML

pytestmark = [pytest.mark.slow, pytest.mark.drill]
PAGE = "changes/changes.md"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    project = clone(tmp_path / "project")
    run("git", "switch", "--create", "larger-penalty", cwd=project)
    run("git", "branch", "--force", "base", cwd=project)
    return project


def changes(project: Path) -> str:
    run("python", "-m", "ridgeline", "changes", "--base", "base", cwd=project)
    return (project / PAGE).read_text()


def commit(project: Path) -> None:
    run("git", "commit", "--quiet", "--all", "--message", "A larger penalty", cwd=project)


def section(page: str, title: str) -> str:
    return re.split(r"^## ", page.split(f"## {title}\n", 1)[1], flags=re.MULTILINE)[0].strip()


def test_a_branch_without_changes_has_none(project: Path) -> None:
    page = changes(project)
    assert "dvc.lock is up to date with the code, data and params in git." in page
    for title in ("Params", "Metrics", "Report", "Figures"):
        assert section(page, title) == "No differences."


def test_what_a_stale_lock_does_not_match_is_named_by_stage(project: Path) -> None:
    edit(project, "alphas: logspace(-3, 1, 30)", "alphas: [2.0]")
    ridge = project / "ridgeline/model/ridge.py"
    ridge.write_text(f"{ridge.read_text()}# a comment\n")
    (project / "metrics/test.json").write_text("{}")
    commit(project)
    page = changes(project)
    assert "**dvc.lock is out of date**; run `make repro` and commit." in page
    assert "- train: `ridgeline/model`, `train.alphas`" in page
    assert "- predict: `ridgeline/model`, `metrics/test.json`" in page
    assert "- prepare" not in page


def test_a_changed_command_and_a_changed_table_of_dvc_add_are_named(project: Path) -> None:
    table = project / "data/raw/possum.csv"
    run("git", "rm", "--quiet", "--cached", str(table), cwd=project)
    run("dvc", "add", str(table), cwd=project)
    run("git", "add", "data/raw", cwd=project)
    commit(project)
    assert "dvc.lock is up to date" in changes(project)
    table.write_text(table.read_text().replace("38", "37"))
    run("dvc", "add", str(table), cwd=project)
    pipeline = project / "dvc.yaml"
    pipeline.write_text(pipeline.read_text().replace("-m stages.train", "-O -m stages.train"))
    commit(project)
    table.unlink()  # the page needs no data
    page = changes(project)
    assert "- prepare: `data/raw/possum.csv`" in page
    assert "- train: `cmd`" in page


def test_the_reports_lines_are_shown_whatever_gits_settings_are(project: Path) -> None:
    run("git", "config", "color.ui", "always", cwd=project)
    run("git", "config", "diff.external", "true", cwd=project)
    report = project / "report.md"
    report.write_text(f"{report.read_text()}One more line.\n")
    commit(project)
    assert "+One more line." in section(changes(project), "Report")


def test_params_metrics_report_and_figures_are_shown_before_and_after(project: Path) -> None:
    edit(project, "alphas: logspace(-3, 1, 30)", "alphas: [2.0]")
    run("dvc", "repro", cwd=project)
    commit(project)
    run("rm", "-r", "data/prepared", "models", cwd=project)  # the page needs no data
    page = changes(project)
    assert "dvc.lock is up to date" in page
    assert re.search(r"train.alphas +\| logspace\(-3, 1, 30\) +\| \[2.0\]", section(page, "Params"))
    assert re.search(r"metrics.json +\| alpha +\| 0.788\d* +\| 2.0", section(page, "Metrics"))
    assert "+| chosen penalty (alpha) | 2 |" in section(page, "Report")
    assert "| ![before](before/effects.png) | ![after](after/effects.png) |" in page
    before, after = (project / f"changes/{side}/effects.png" for side in ("before", "after"))
    assert before.read_bytes() != after.read_bytes() == (project / "plots/effects.png").read_bytes()


def test_an_unknown_base_and_a_folder_of_other_files_are_refused(project: Path) -> None:
    command = ["python", "-m", "ridgeline", "changes", "--base"]
    refused = run(*command, "nowhere", cwd=project, check=False)
    assert refused.stderr == (
        "error: git knows no commit 'nowhere' that HEAD comes from; fetch it\n"
    )
    refused = run(*command, "base", "--output", "plots", cwd=project, check=False)
    assert refused.stderr == (
        "error: plots exists, and not from an earlier run; name another folder\n"
    )
    assert (project / "plots/effects.png").exists()


def test_a_folder_without_a_commit_is_refused(tmp_path: Path) -> None:
    done = run(
        "python", "-m", "ridgeline", "changes", cwd=tmp_path, check=False, PYTHONPATH=str(ROOT)
    )
    assert done.stderr == (
        "error: this folder is in no git repository with a commit; clone the project\n"
    )


def test_the_workflow_of_pull_requests_runs_the_same_script() -> None:
    workflow = YAML(typ="safe").load(ROOT / ".github/workflows/report.yml")
    steps = workflow["jobs"]["report"]["steps"]
    commands = [step["run"] for step in steps if "run" in step]
    assert commands[0] == "make report"
    assert workflow["jobs"]["report"]["permissions"] == {"contents": "read"}

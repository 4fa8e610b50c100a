"""The environment: the same versions on every Python, and a dep of the stages."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from project import ROOT, STAGES, run
from ruamel.yaml import YAML

from ridgeline import environment
from ridgeline.errors import InstallationError, SettingsError

LOCKS = sorted(ROOT.glob("requirements*.txt"))
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]


def pins(lock: Path) -> list[tuple[str, str]]:
    return re.findall(r"^([\w.-]+)==([^\s;]+)", lock.read_text(encoding="utf-8"), re.MULTILINE)


def test_there_is_a_lock_for_each_list_of_requirements() -> None:
    assert sorted(lock.stem for lock in LOCKS) == sorted(
        f.stem for f in ROOT.glob("requirements*.in")
    )


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_names_one_version_of_each_package(lock: Path) -> None:
    names = [name for name, _ in pins(lock)]
    assert len(names) > 10
    assert [name for name in names if names.count(name) > 1] == []


def test_all_locks_name_the_same_versions() -> None:
    versions: dict[str, set[str]] = {}
    for lock in LOCKS:
        for name, pin in pins(lock):
            versions.setdefault(name, set()).add(pin)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_leaves_new_releases_a_week(lock: Path) -> None:
    command = lock.read_text(encoding="utf-8").splitlines()[1]
    assert "--exclude-newer 1 week" in command
    assert "--fork-strategy fewest" in command


def test_versions_toml_is_what_make_lock_writes() -> None:
    lock = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    assert (ROOT / "versions.toml").read_text(encoding="utf-8") == environment.pinned(lock)


def test_versions_toml_names_what_shapes_bytes_and_not_mlflow() -> None:
    named = environment.read(ROOT)
    assert {*named["computing"]} == {*environment.COMPUTING}
    assert {*named["plotting"]} == {*environment.PLOTTING}
    assert "mlflow" not in str(named)


def test_a_lock_with_two_versions_is_refused() -> None:
    lock = (ROOT / "requirements.txt").read_text(encoding="utf-8") + "\nnumpy==1.0 \\\n"
    with pytest.raises(InstallationError, match="pins 2 versions of numpy"):
        environment.pinned(lock)


def test_the_readme_pyproject_and_ci_name_the_same_pythons() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    ci = YAML(typ="safe").load(ROOT / ".github/workflows/ci.yml")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert project["requires-python"] == f">={PYTHONS[0]},<3.{int(PYTHONS[-1][2:]) + 1}"
    assert ci["jobs"]["ci"]["strategy"]["matrix"]["python"] == PYTHONS
    assert f"Python {PYTHONS[0]} to {PYTHONS[-1]}" in readme


def test_the_installed_versions_are_those_that_are_pinned() -> None:
    environment.check(ROOT)


@pytest.mark.parametrize("package", [*environment.COMPUTING, *environment.PLOTTING])
def test_another_version_is_an_error_that_names_both(tmp_path: Path, package: str) -> None:
    text = (ROOT / "versions.toml").read_text(encoding="utf-8")
    text = re.sub(rf'^{package} = ".*"', f'{package} = "0.1"', text, flags=re.MULTILINE)
    (tmp_path / "versions.toml").write_text(text, encoding="utf-8")
    with pytest.raises(InstallationError) as raised:
        environment.check(tmp_path)
    assert str(raised.value) == (
        f"{package} {version(package)} is installed, but versions.toml pins 0.1; install the "
        "pinned versions with 'uv pip install -r requirements.txt'"
    )


@pytest.mark.parametrize(
    ("text", "said"), [(None, "is missing; run this in"), ("a = ", "is not valid TOML")]
)
def test_a_versions_toml_that_can_not_be_read(tmp_path: Path, text: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / "versions.toml").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=said):
        environment.read(tmp_path)


MODULES = ["ridgeline", *(f"stages.{stage}" for stage in STAGES)]


@pytest.mark.parametrize("module", MODULES)
def test_without_the_environment_one_line_names_module_and_interpreter(module: str) -> None:
    done = run("python", "-S", "-m", module, cwd=ROOT, check=False)  # -S: no site-packages
    assert done.returncode == 1
    assert re.fullmatch(
        r"error: module '\w+' is not installed for \S+/python \(Python 3\.\d+\.\d+\); activate the "
        r"project's environment with 'source \.venv/bin/activate', or run 'make repro'\n",
        done.stderr,
    )


def test_a_mistake_in_the_code_keeps_its_traceback() -> None:
    done = run("python", "-c", "import ridgeline.nothing", cwd=ROOT, check=False)
    assert "Traceback" in done.stderr
    assert "No module named 'ridgeline.nothing'" in done.stderr


def status(project: Path) -> list[str]:
    """The stages that `dvc status` names."""
    return re.findall(r"^(\w+):$", run("dvc", "status", cwd=project).stdout, re.MULTILINE)


@pytest.mark.drill
@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "stages"), [("numpy", STAGES), ("matplotlib", ["train", "predict"])]
)
def test_a_changed_pin_reruns_the_stages_whose_bytes_it_shapes(
    unchanged: Path, package: str, stages: list[str]
) -> None:
    file = unchanged / "versions.toml"
    text = file.read_text(encoding="utf-8")
    file.write_text(re.sub(rf'^{package} = ".*"', f'{package} = "0.1"', text, flags=re.MULTILINE))
    assert sorted(status(unchanged)) == sorted(stages)
    assert f"{package}" in run("dvc", "params", "diff", cwd=unchanged).stdout
    done = run("dvc", "repro", cwd=unchanged, check=False)
    assert f"error: {package} {version(package)} is installed, but versions.toml" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("text", ["", 'numpy = "2.4.6"', '[computing]\nnumpy = "2.4.6"\n'])
def test_a_versions_toml_with_other_packages_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "versions.toml").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=r"should name in \[computing\] just joblib, numpy"):
        environment.read(tmp_path)

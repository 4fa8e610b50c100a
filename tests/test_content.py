import hashlib
from pathlib import Path

import pytest
from project import run
from ruamel.yaml import YAML

from ridgeline.files import md5_of

ODD_NAMES = [
    "a-b.txt",  # sorts before a/b.txt as text, after it as a path
    "a/b.txt",
    "a.b",
    "A.csv",
    "a/deep/er/x",
    "z/é/ü.csv",
    "z/e\u0301.txt",
    "z/日本/😀.txt",
    ".hidden",
    "with space",
    'quo"te',
    "back\\slash",
    "tab\tname",
    "%41",
    "#x",
    "[x]*",
    "-dash",
]


def fill(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.slow
def test_md5_is_what_dvc_computes_of_files_and_folders(tmp_path: Path) -> None:
    odd = {name: f"{place}\r\n".encode() for place, name in enumerate(ODD_NAMES)}
    fill(tmp_path / "folder", odd | {"empty": b"", "same": b"0\r\n"})
    (tmp_path / "folder" / "no files").mkdir()
    (tmp_path / "folder" / "link").symlink_to(tmp_path / "folder" / "A.csv")
    (tmp_path / "nothing").mkdir()
    (tmp_path / "table.csv").write_bytes(b"a\r\nb\n")
    added = ["folder", "nothing", "table.csv"]

    dvc = {"cwd": tmp_path, "DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(tmp_path / ".site")}
    run("dvc", "init", "--quiet", "--no-scm", **dvc)
    run("dvc", "add", "--quiet", *added, **dvc)

    by_dvc = [YAML(typ="safe").load(tmp_path / f"{name}.dvc")["outs"][0]["md5"] for name in added]
    assert [md5_of(tmp_path / name) for name in added] == by_dvc


def test_a_files_md5_is_that_of_its_bytes(tmp_path: Path) -> None:
    fill(tmp_path, {"f": b"a\r\n\x00\xff"})
    assert md5_of(tmp_path / "f") == hashlib.md5(b"a\r\n\x00\xff").hexdigest()


def test_a_folders_md5_ends_in_dir(tmp_path: Path) -> None:
    assert md5_of(fill(tmp_path / "d", {"f": b""})).endswith(".dir")


def test_a_folders_md5_does_not_depend_on_where_it_stands(tmp_path: Path) -> None:
    files = {"f": b"1", "g/h": b"2"}
    assert md5_of(fill(tmp_path / "a", files)) == md5_of(fill(tmp_path / "b" / "c", files))


def test_a_folders_md5_does_not_depend_on_the_order_of_writing(tmp_path: Path) -> None:
    files = {"f": b"1", "g/h": b"2", "a": b"3"}
    backwards = dict(reversed(files.items()))
    assert md5_of(fill(tmp_path / "a", files)) == md5_of(fill(tmp_path / "b", backwards))


@pytest.mark.parametrize(
    "other",
    [{"f": b"2"}, {"g": b"1"}, {"d/f": b"1"}, {"f": b"1", "g": b""}, {}],
    ids=["content", "name", "depth", "one more", "one less"],
)
def test_a_folders_md5_changes_with_its_files(tmp_path: Path, other: dict[str, bytes]) -> None:
    (tmp_path / "b").mkdir()
    assert md5_of(fill(tmp_path / "a", {"f": b"1"})) != md5_of(fill(tmp_path / "b", other))


def test_nothing_at_the_path_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        md5_of(tmp_path / "nothing")

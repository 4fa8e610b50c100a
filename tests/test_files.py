import errno
import json
import math
import os
from collections.abc import Callable
from pathlib import Path

import joblib
import pandas as pd
import pytest

from ridgeline.files import replacing, scratch, write_csv, write_json, write_model


def fill(path: Path, text: str, folder: bool) -> None:
    if folder:
        path.mkdir()
        path = path / "inner"
    path.write_text(text, encoding="utf-8")


def text_of(path: Path) -> str:
    return (path / "inner" if path.is_dir() else path).read_text(encoding="utf-8")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


both = pytest.mark.parametrize("folder", [False, True], ids=["file", "folder"])


@both
def test_what_was_written_stands_at_the_path(tmp_path: Path, folder: bool) -> None:
    with replacing(tmp_path / "it") as partial:
        fill(partial, "new", folder)
    assert text_of(tmp_path / "it") == "new"


@both
def test_the_old_one_is_replaced(tmp_path: Path, folder: bool) -> None:
    fill(tmp_path / "it", "old", folder)
    with replacing(tmp_path / "it") as partial:
        fill(partial, "new", folder)
    assert text_of(tmp_path / "it") == "new"


def test_nothing_of_an_old_folder_remains(tmp_path: Path) -> None:
    fill(tmp_path / "it", "old", folder=True)
    with replacing(tmp_path / "it") as partial:
        partial.mkdir()
    assert names(tmp_path / "it") == []


def test_a_folder_may_take_a_files_place(tmp_path: Path) -> None:
    fill(tmp_path / "it", "old", folder=False)
    with replacing(tmp_path / "it") as partial:
        fill(partial, "new", folder=True)
    assert text_of(tmp_path / "it") == "new"


@both
def test_the_old_one_stands_while_the_new_is_written(tmp_path: Path, folder: bool) -> None:
    fill(tmp_path / "it", "old", folder)
    with replacing(tmp_path / "it") as partial:
        fill(partial, "new", folder)
        assert text_of(tmp_path / "it") == "old"


@both
def test_only_the_path_is_left(tmp_path: Path, folder: bool) -> None:
    with replacing(tmp_path / "it") as partial:
        fill(partial, "new", folder)
    assert names(tmp_path) == ["it"]


def fail_to_replace(path: Path, folder: bool) -> None:
    with replacing(path) as partial:
        fill(partial, "new", folder)
        raise KeyError


@both
def test_an_exception_leaves_the_old_one_and_nothing_else(tmp_path: Path, folder: bool) -> None:
    fill(tmp_path / "it", "old", folder)
    with pytest.raises(KeyError):
        fail_to_replace(tmp_path / "it", folder)
    assert names(tmp_path) == ["it"]
    assert text_of(tmp_path / "it") == "old"


@both
def test_an_exception_leaves_nothing_where_nothing_was(tmp_path: Path, folder: bool) -> None:
    with pytest.raises(KeyError):
        fail_to_replace(tmp_path / "it", folder)
    assert names(tmp_path) == []


def fail_to_fill(folder: Path) -> None:
    with scratch(folder) as place:
        fill(place / "it", "new", folder=False)
        raise KeyError


@pytest.mark.parametrize("failing", [fail_to_fill, lambda path: fail_to_replace(path, folder=True)])
def test_an_error_is_told_where_workers_still_write_in_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: Callable[[Path], None]
) -> None:
    def rmdir(path: str, *, dir_fd: int | None = None) -> None:
        raise OSError(errno.ENOTEMPTY, "Directory not empty", path)

    monkeypatch.setattr(os, "rmdir", rmdir)
    with pytest.raises(KeyError):
        failing(tmp_path / "it")


def test_a_scratch_folder_is_empty_and_gone_at_the_end(tmp_path: Path) -> None:
    with scratch(tmp_path / "it") as folder:
        assert names(folder) == []
        assert folder.is_absolute()
        fill(folder / "inner", "some", folder=True)
    assert names(tmp_path) == []


def test_a_worker_of_a_killed_run_can_not_write_into_the_next_ones_folder(tmp_path: Path) -> None:
    killed = scratch(tmp_path / "it")
    left = killed.__enter__()
    with scratch(tmp_path / "it") as folder:
        with pytest.raises(FileNotFoundError):
            fill(left / "part", "old", folder=False)
        assert names(folder) == []
    assert names(tmp_path) == []


def fill_a_full_disk(path: Path) -> None:
    with replacing(path):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_what_the_disk_has_no_room_for_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left on device") as error:
        fill_a_full_disk(tmp_path / "it")
    assert (error.value.errno, error.value.filename) == (errno.ENOSPC, str(tmp_path / "it"))


def read_what_is_absent(path: Path, absent: Path) -> None:
    with replacing(path):
        absent.read_bytes()


def test_an_error_of_another_file_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as error:
        read_what_is_absent(tmp_path / "it", tmp_path / "absent")
    assert error.value.filename == str(tmp_path / "absent")


def test_an_old_folder_that_a_killed_process_moved_aside_is_gone(tmp_path: Path) -> None:
    fill(tmp_path / ".it.old.partial", "old", folder=True)
    with replacing(tmp_path / "it") as partial:
        fill(partial, "new", folder=True)
    assert names(tmp_path) == ["it"]


@both
@pytest.mark.parametrize("left_folder", [False, True], ids=["left file", "left folder"])
def test_what_a_killed_process_left_is_gone(
    tmp_path: Path, folder: bool, left_folder: bool
) -> None:
    with replacing(tmp_path / "it") as partial:
        fill(partial, "new", folder)
    fill(partial, "left", left_folder)
    with replacing(tmp_path / "it") as again:
        assert not again.exists()
        fill(again, "newer", folder)
    assert names(tmp_path) == ["it"]
    assert text_of(tmp_path / "it") == "newer"


def test_the_partial_one_is_a_hidden_neighbour(tmp_path: Path) -> None:
    with replacing(tmp_path / "it") as partial:
        assert partial.parent == tmp_path
        assert partial.name.startswith(".")
        partial.touch()


def test_two_neighbours_are_written_at_once(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.csv") as a, replacing(tmp_path / "a.json") as b:
        a.write_text("csv", encoding="utf-8")
        b.write_text("json", encoding="utf-8")
    assert [text_of(tmp_path / name) for name in ("a.csv", "a.json")] == ["csv", "json"]


@both
def test_parents_are_made(tmp_path: Path, folder: bool) -> None:
    with replacing(tmp_path / "a" / "b" / "it") as partial:
        fill(partial, "new", folder)
    assert text_of(tmp_path / "a" / "b" / "it") == "new"


def test_a_link_is_replaced_and_what_it_led_to_is_kept(tmp_path: Path) -> None:
    fill(tmp_path / "cached", "old", folder=False)
    (tmp_path / "it").symlink_to(tmp_path / "cached")
    with replacing(tmp_path / "it") as partial:
        fill(partial, "new", folder=False)
    assert (text_of(tmp_path / "it"), text_of(tmp_path / "cached")) == ("new", "old")


def test_json_is_indented_in_the_order_given_and_ends_its_line(tmp_path: Path) -> None:
    write_json(tmp_path / "m.json", {"b": 1, "a": {"c": None}})
    assert text_of(tmp_path / "m.json") == ('{\n  "b": 1,\n  "a": {\n    "c": null\n  }\n}\n')


def test_json_holds_any_text(tmp_path: Path) -> None:
    write_json(tmp_path / "m.json", {"é😀": "\n"})
    assert json.loads(text_of(tmp_path / "m.json")) == {"é😀": "\n"}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_json_refuses_what_it_has_no_number_for(tmp_path: Path, value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "m.json", {"a": [value]})


def test_refused_json_leaves_the_old_file(tmp_path: Path) -> None:
    write_json(tmp_path / "m.json", {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "m.json", {"a": math.nan})
    assert names(tmp_path) == ["m.json"]
    assert json.loads(text_of(tmp_path / "m.json")) == {"a": 1}


def test_csv_has_no_index_and_unix_lines(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": ["é", None, "x,y"], "b": [1.5, 2.0, None]}, index=[7, 8, 9])
    write_csv(tmp_path / "t.csv", frame)
    assert (tmp_path / "t.csv").read_bytes() == 'a,b\né,1.5\n,2.0\n"x,y",\n'.encode()


def test_csv_keeps_every_bit_of_a_number(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", pd.DataFrame({"a": [0.1 + 0.2, 1 / 3, 1e-300]}))
    cells = text_of(tmp_path / "t.csv").splitlines()[1:]
    assert [float(cell) for cell in cells] == [0.1 + 0.2, 1 / 3, 1e-300]


def test_a_model_file_does_not_depend_on_which_equal_strings_are_one_object(
    tmp_path: Path,
) -> None:
    name = "mean"
    for file, again in (("one", name), ("two", "".join(name))):
        write_model(tmp_path / file, [name, again])
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert joblib.load(tmp_path / "one") == [name, name]

import sys
from pathlib import Path

import numpy as np
import pytest
from project import ROOT, run

from ridgeline.intake import unique

SUSPECTS = """
import sys, tracemalloc
from pathlib import Path
from ridgeline.intake import unique
unique.BUCKET_ROWS = 50_000
tracemalloc.start()
found, rows = unique.suspects(Path(sys.argv[1]))
print(found.tolist(), rows, tracemalloc.get_traced_memory()[1])
"""


@pytest.mark.slow
def test_memory_is_bounded_where_all_rows_have_the_same_key(tmp_path: Path) -> None:
    for number in range(100):
        unique.spill(tmp_path, number, np.full(20_000, 7, np.uint64))
    done = run(sys.executable, "-c", SUSPECTS, str(tmp_path), cwd=ROOT)
    found, rows, peak = done.stdout.split()
    assert (found, rows) == ("[7]", "2000000")
    assert int(peak) < 8 * 2_000_000 / 4


@pytest.mark.parametrize("times", [1, 2, 3, 50])
def test_one_key_of_half_the_rows_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    monkeypatch.setattr(unique, "BUCKET_ROWS", 100)
    random = np.random.default_rng(0)
    others = np.repeat(random.integers(0, 2**64, 1000, np.uint64), times)
    values = random.permutation(np.concatenate([others, np.full(len(others), others[0])]))
    for number, part in enumerate(np.array_split(values, 7)):
        unique.spill(tmp_path, number, part)
    found, rows = unique.suspects(tmp_path)
    repeated = np.unique(others) if times > 1 else others[:1]
    assert sorted(found) == sorted(repeated)
    assert rows == np.isin(values, repeated).sum()


def test_two_workers_that_spill_a_part_at_once_write_two_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "replace", lambda *_: None)  # neither is done
    for _ in range(2):
        unique.spill(tmp_path, 0, np.zeros(1, np.uint64))
    assert len(list(tmp_path.iterdir())) == 2

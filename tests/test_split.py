import math
from random import Random

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ridgeline.files import SPLITS
from ridgeline.intake.split import assign
from ridgeline.intake.unique import hashes

KEYS = pd.Series([str(i) for i in range(10_000)])
text_keys = st.lists(st.text(st.characters(codec="utf-8")), max_size=30)


def places(
    keys: list[str] | pd.Series, validation: float = 0.2, test: float = 0.2, seed: int = 18
) -> list[str]:
    keys = pd.Series(keys, dtype="str")
    return list(assign(hashes(keys, seed), validation=validation, test=test))


@settings(max_examples=40)
@given(text_keys, st.randoms(use_true_random=False))
def test_a_row_keeps_its_split_when_rows_are_reordered(keys: list[str], random: Random) -> None:
    shuffled = random.sample(keys, len(keys))
    assert dict(zip(keys, places(keys), strict=True)) == dict(
        zip(shuffled, places(shuffled), strict=True)
    )


@settings(max_examples=40)
@given(text_keys, text_keys)
def test_rows_keep_their_split_when_rows_are_added(keys: list[str], added: list[str]) -> None:
    assert places(keys + added) == places(keys) + places(added)


@settings(max_examples=40)
@given(st.text(st.characters(codec="utf-8")), st.integers())
def test_the_same_key_and_seed_always_give_the_same_split(key: str, seed: int) -> None:
    assert len(set(places([key] * 3, seed=seed))) == 1


def test_the_splits_of_known_keys_are_those_of_the_first_release() -> None:
    in_test = [i for i, place in enumerate(places(KEYS[:100])) if place == "test"]
    assert in_test == [
        0,
        11,
        16,
        19,
        21,
        36,
        38,
        42,
        45,
        46,
        49,
        52,
        58,
        59,
        62,
        67,
        68,
        73,
        79,
        86,
        87,
        92,
        97,
    ]


def test_the_dtype_of_the_keys_does_not_matter() -> None:
    as_objects = assign(hashes(KEYS.astype(object), 18), validation=0.2, test=0.2)
    assert list(as_objects) == places(KEYS)


def test_the_index_of_the_keys_does_not_matter() -> None:
    moved = KEYS.set_axis(range(5, 10_005))
    assert list(assign(hashes(moved, 18), validation=0.2, test=0.2)) == places(KEYS)


def test_every_row_gets_one_of_the_three_splits() -> None:
    assert set(places(KEYS)) == set(SPLITS)


def test_no_rows_get_no_split() -> None:
    assert places([]) == []


def test_nearby_keys_fall_apart() -> None:
    assert set(places([f"row-{i:06}" for i in range(60)])) == set(SPLITS)


@pytest.mark.parametrize("seed", [0, 1, 18, -1, 2**64, 10**100])
@pytest.mark.parametrize(("validation", "test"), [(0.15, 0.15), (0.5, 0.01), (0.001, 0.9)])
def test_the_fractions_are_those_asked_for(validation: float, test: float, seed: int) -> None:
    found = pd.Series(places(KEYS, validation, test, seed)).value_counts()
    for name, share in (("validation", validation), ("test", test)):
        deviation = math.sqrt(len(KEYS) * share * (1 - share))
        assert abs(found[name] - len(KEYS) * share) < 4 * deviation


@pytest.mark.parametrize("other", [17, 19, 0, -18, 18 + 2**64])
def test_another_seed_gives_an_independent_split(other: int) -> None:
    first, second = (np.array(places(KEYS, seed=seed)) == "test" for seed in (18, other))
    share, rows = 0.2, first.sum()
    assert abs((first & second).sum() - rows * share) < 4 * math.sqrt(rows * share * (1 - share))


def test_a_row_stays_in_test_when_the_test_fraction_grows() -> None:
    before, after = (np.array(places(KEYS, test=test)) for test in (0.2, 0.3))
    assert set(after[before == "test"]) == {"test"}


def test_the_test_rows_do_not_depend_on_the_validation_fraction() -> None:
    before, after = (np.array(places(KEYS, validation=v)) == "test" for v in (0.1, 0.5))
    assert (before == after).all()

import numpy as np
import pytest
from matplotlib.figure import Figure

from ridgeline.files import write_figure
from ridgeline.model import charts

PNG = b"\x89PNG\r\n\x1a\n"


def errors(count=30):
    alphas = np.logspace(-3, 1, count)
    return charts.error_by_alpha(alphas, 2 + np.log10(alphas) ** 2, alphas[count // 2])


def effects(count=12, name="feature {}".format):
    values = np.random.default_rng(0).normal(size=count)
    return charts.effects([name(i) for i in range(count)], values, "coefficient")


def columns(count):
    random = np.random.default_rng(0)
    actual = random.normal(size=count)
    return actual + 0.3 * random.normal(size=count), actual


def lines(count=20, key="{}".format):
    return charts.lines_by_row([key(i) for i in range(count)], *columns(count), "case", "cm")


def scatter(count=20):
    return charts.predicted_against_actual(*columns(count), "cm")


def missing(count=20):
    return np.full(count, np.nan)


def some_missing():
    return np.where(np.arange(20) % 3, *columns(20)[:1], np.nan)


KEYS, ACTUAL = list("abcdefghijklmnopqrst"), columns(20)[1]
FIGURES = {"errors": errors, "effects": effects, "lines": lines, "scatter": scatter}
CASES = {
    "errors, single alpha": lambda: errors(1),
    "errors, unsorted alphas": lambda: charts.error_by_alpha((1, 0.1, 10), np.ones(3), 0.1),
    "errors, all zero": lambda: charts.error_by_alpha((0.1, 1), np.zeros(2), 0.1),
    "errors, extreme alphas": lambda: charts.error_by_alpha((1e-30, 1e30), np.ones(2), 1e-30),
    "effects, one": lambda: effects(1),
    "effects, sixty": lambda: effects(60),
    "effects, all zero": lambda: charts.effects(["a", "b"], np.zeros(2), "importance"),
    "effects, long names": lambda: effects(5, (60 * "long " + "{}").format),
    "effects, names with dollars": lambda: effects(2, "band_$1_$2_{}".format),
    "effects, control characters": lambda: effects(3, "a\0b\a\n\t\x1b[1m{}".format),
    "effects, letters that the font lacks": lambda: effects(2, "体重 🐾 {}".format),
    "lines, keys with control characters": lambda: lines(3, "\a\r\n{}".format),
    "lines, one row": lambda: lines(1),
    "lines, 500 rows": lambda: lines(500),
    "lines, keys with dollars": lambda: lines(3, "$1_${}".format),
    "lines, some NaN": lambda: charts.lines_by_row(KEYS, some_missing(), ACTUAL, "key", "cm"),
    "lines, all NaN": lambda: charts.lines_by_row(KEYS, missing(), ACTUAL, "key", "cm"),
    "lines, nothing known": lambda: charts.lines_by_row(KEYS, missing(), missing(), "key", "cm"),
    "lines, no actual values": lambda: charts.lines_by_row(KEYS, ACTUAL, None, "key", "cm"),
    "lines, target with dollars": lambda: charts.lines_by_row(KEYS, ACTUAL, None, "key", "$1_$"),
    "scatter, one row": lambda: scatter(1),
    "scatter, 500 rows": lambda: scatter(500),
    "scatter, all equal": lambda: charts.predicted_against_actual(np.ones(3), np.ones(3), "cm"),
    "scatter, some NaN": lambda: charts.predicted_against_actual(some_missing(), ACTUAL, "cm"),
    "scatter, all NaN": lambda: charts.predicted_against_actual(missing(), ACTUAL, "cm"),
    "scatter, nothing known": lambda: charts.predicted_against_actual(missing(), missing(), "cm"),
    "scatter, no actual values": lambda: charts.predicted_against_actual(ACTUAL, None, "cm"),
}


@pytest.mark.parametrize("name", FIGURES)
def test_each_chart_is_a_figure(name):
    assert isinstance(FIGURES[name](), Figure)


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_a_chart_is_saved_as_the_same_bytes_each_time(name, tmp_path):
    write_figure(tmp_path / "first.png", FIGURES[name]())
    write_figure(tmp_path / "second.png", FIGURES[name]())
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_png_is_drawn_without_a_warning_of(name, tmp_path):
    write_figure(tmp_path / "chart.png", CASES[name]())
    assert (tmp_path / "chart.png").read_bytes().startswith(PNG)


def test_nothing_but_the_chart_is_left_where_it_is_saved(tmp_path):
    write_figure(tmp_path / "new folder" / "chart.png", errors())
    assert [path.name for path in (tmp_path / "new folder").iterdir()] == ["chart.png"]


def test_the_png_does_not_name_matplotlibs_version(tmp_path):
    write_figure(tmp_path / "chart.png", errors())
    assert b"Software" not in (tmp_path / "chart.png").read_bytes()


def test_errors_are_drawn_in_the_order_of_alphas():
    figure = charts.error_by_alpha((1.0, 0.1, 10.0), np.array([3.0, 2.0, 4.0]), 0.1)
    line = figure.axes[0].lines[0]
    assert list(zip(*line.get_data(), strict=True)) == [(0.1, 2.0), (1.0, 3.0), (10.0, 4.0)]


def test_the_coefficient_largest_by_amount_is_on_top():
    axes = charts.effects(
        ["small", "large", "middle"], np.array([0.1, -3.0, 1.0]), "coefficient"
    ).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["small", "middle", "large"]


@pytest.mark.parametrize("count", [1, 20, 39, 500])
def test_there_are_no_more_than_about_twenty_keys_on_the_axis(count):
    assert len(lines(count).axes[0].get_xticks()) <= 25


def test_both_axes_of_the_scatter_have_the_same_range():
    axes = scatter().axes[0]
    assert axes.get_xlim() == axes.get_ylim()

"""Versions once by content, and the champion on the best one, whoever registers when."""

import hashlib
import pickle
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

import mlflow
import numpy as np
import pandas as pd
import pytest
import sqlalchemy
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.entities import LoggedModel
from mlflow.entities.model_registry import ModelVersion
from processes import Ended, begin, context, end
from project import ROOT
from sklearn.pipeline import Pipeline

from ridgeline import config, files
from ridgeline.errors import ModelError, TrackingError
from ridgeline.model import features, ridge, scoring
from ridgeline.tables import writing
from ridgeline.tracking import champion as champion_rule
from ridgeline.tracking import models, records, registry, runs, skops_format, store, submit
from ridgeline.tracking.champion import CHAMPION, PREVIOUS, SCORES, VALIDATION, WITHDRAWN
from ridgeline.tracking.gate import Decision
from ridgeline.tracking.records import DECISION, REASON, RMSE, ROWS, Record
from ridgeline.tracking.registry import CHALLENGER, Registry

pytestmark = pytest.mark.slow  # MLflow takes seconds
PASSED, FAILED = Decision(True, "it passed"), Decision(False, "it did not pass")
numbers = count()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[mlflow.MlflowClient]:
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(folder))
        patch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
        yield store.connect()


@pytest.fixture(scope="module")
def model(client: mlflow.MlflowClient) -> LoggedModel:
    """A model that any version may hold: what a version is goes by its tags."""
    made = client.create_logged_model(store.experiment_id(client, "tests"), "model")
    return client.finalize_logged_model(made.model_id, "READY")


@pytest.fixture
def name() -> str:
    return new_name()


def new_name() -> str:
    """A registered model that no other test knows."""
    return f"model {next(numbers)}"


class Overtaken(mlflow.MlflowClient):
    """A client that another process overtakes once, just before what it wants to do."""

    def __init__(self, method: str, overtake: Callable[[], object]) -> None:
        super().__init__()
        done = getattr(self, method)
        waiting = [overtake]

        def late(*args: object, **kwargs: object) -> object:
            if waiting:
                waiting.pop()()
            return done(*args, **kwargs)

        setattr(self, method, late)


def enter(
    client: mlflow.MlflowClient,
    name: str,
    model: LoggedModel,
    rmse: float,
    decision: Decision = PASSED,
    rows: str = "rows",
) -> ModelVersion:
    """Register new content with a score, and do what follows from the decision on it."""
    version = Registry(client, name).register(model, {records.MD5: f"md5 {next(numbers)}"})
    champion = Registry(client, name).with_alias(CHAMPION)
    record(client, version, decision, {RMSE: repr(rmse), ROWS: rows})
    if decision.promote:
        champion_rule.crown(Registry(client, name), rows, champion)
    return version


def record(
    client: mlflow.MlflowClient, version: ModelVersion, decision: Decision, scores: dict[str, str]
) -> None:
    role = CHAMPION if decision.promote else CHALLENGER
    champion_rule._record(Registry(client, version.name), version, role, decision.reason, scores)


def bearer(client: mlflow.MlflowClient, name: str, alias: str) -> int | None:
    version = Registry(client, name).with_alias(alias)
    return version and registry.number(version)


def decisions(client: mlflow.MlflowClient, name: str) -> list[str]:
    """What was decided on each version, the first one first."""
    found = client.search_model_versions(f"name = '{name}'")
    return [version.tags[DECISION] for version in sorted(found, key=registry.number)]


# Once by content


def test_the_same_content_is_one_version(client, name, model) -> None:
    tags = {records.MD5: "a"}
    first, second = (Registry(client, name).register(model, tags) for _ in range(2))
    assert (registry.number(first), registry.number(second)) == (1, 1)
    assert len(client.search_model_versions(f"name = '{name}'")) == 1


def test_other_content_is_another_version(client, name, model) -> None:
    for md5 in "ab":
        Registry(client, name).register(model, {records.MD5: md5})
    assert [registry.number(Registry(client, name).find(md5)) for md5 in "ab"] == [1, 2]


def test_content_that_is_not_registered_is_not_found(client, name, model) -> None:
    Registry(client, name).register(model, {records.MD5: "a"})
    assert Registry(client, name).find("b") is None
    assert Registry(client, name).deduplicated("b") is None


def test_of_two_that_register_the_same_at_once_the_first_remains(client, name, model) -> None:
    tags = {records.MD5: "a"}
    other = lambda: Registry(client, name).register(model, tags)  # noqa: E731 - a name for a line
    mine = Registry(Overtaken("create_model_version", other), name).register(model, tags)
    [remains] = client.search_model_versions(f"name = '{name}'")
    assert registry.number(mine) == registry.number(remains) == 1


def test_a_double_that_another_process_has_just_removed_is_no_error(client, name, model) -> None:
    Registry(client, name).register(model, {records.MD5: "a"})
    client.create_model_version(name, model.model_uri, tags={records.MD5: "a"})
    late = Overtaken("delete_model_version", lambda: Registry(client, name).deduplicated("a"))
    assert registry.number(Registry(late, name).deduplicated("a")) == 1
    assert len(client.search_model_versions(f"name = '{name}'")) == 1


def test_a_double_that_bears_an_alias_stays(client, name, model) -> None:
    Registry(client, name).register(model, {records.MD5: "a"})
    for _ in range(2):
        client.create_model_version(name, model.model_uri, tags={records.MD5: "a"})
    client.set_registered_model_alias(name, "served", "3")
    assert registry.number(Registry(client, name).deduplicated("a")) == 1
    left = client.search_model_versions(f"name = '{name}'")
    assert sorted(map(registry.number, left)) == [1, 3]


def test_a_model_that_was_not_wholly_logged_is_none(client, tmp_path) -> None:
    experiment = store.experiment_id(client, "tests")
    logged = client.create_logged_model(experiment, tags={records.MD5: "torn"})
    (tmp_path / "MLmodel").touch()
    client.log_model_artifacts(logged.model_id, str(tmp_path))
    assert models.find(client, "tests", "torn") is None
    client.finalize_logged_model(logged.model_id, "READY")
    assert models.find(client, "tests", "torn").model_id == logged.model_id


# The champion


@settings(max_examples=8, deadline=None)
@given(scores=st.lists(st.sampled_from([1.0, 1.5, 2.0, 2.5]), min_size=1, max_size=5))
def test_the_champion_is_the_best_in_whatever_order_they_come(client, model, scores) -> None:
    name, reigned = new_name(), []
    for number, score in enumerate(scores, start=1):
        enter(client, name, model, score)
        if score == min(scores[:number]):  # as good is good enough: the newest
            reigned.append(number)
    assert bearer(client, name, CHAMPION) == reigned[-1]
    assert bearer(client, name, PREVIOUS) == (reigned[-2] if len(reigned) > 1 else None)


def test_whoever_is_overtaken_by_a_better_one_puts_it_right(client, name, model) -> None:
    enter(client, name, model, 3.0)
    better = lambda: enter(client, name, model, 1.0)  # noqa: E731 - a name for a line
    late = Overtaken("set_registered_model_alias", better)
    enter(late, name, model, 2.0)
    assert (bearer(client, name, CHAMPION), bearer(client, name, PREVIOUS)) == (3, 2)


def test_one_that_loses_its_claim_while_claims_are_read_is_passed_over(client, name, model) -> None:
    for score in (2.0, 1.0):
        enter(client, name, model, score)
    waiting = [lambda: client.set_model_version_tag(name, "2", DECISION, CHALLENGER)]

    def overtake(_connection, _cursor, statement, *_) -> None:
        if waiting and statement.startswith("SELECT model_version_tags."):
            waiting.pop()()

    listening = (sqlalchemy.Engine, "before_cursor_execute", overtake)
    sqlalchemy.event.listen(*listening)
    try:
        champion_rule.crown(Registry(client, name), "rows")
    finally:
        sqlalchemy.event.remove(*listening)
    assert waiting == []
    assert bearer(client, name, CHAMPION) == 1


def test_two_that_set_an_alias_for_the_first_time_at_once_both_can(client, name, model) -> None:
    other = lambda: enter(client, name, model, 1.0)  # noqa: E731 - a name for a line
    enter(Overtaken("set_registered_model_alias", other), name, model, 2.0)
    assert bearer(client, name, CHAMPION) == 2


def test_one_that_did_not_pass_is_not_crowned_however_good(client, name, model) -> None:
    enter(client, name, model, 2.0)
    enter(client, name, model, 1.0, FAILED)
    champion_rule.crown(Registry(client, name), "rows")
    assert bearer(client, name, CHAMPION) == 1
    assert decisions(client, name) == [CHAMPION, CHALLENGER]


def test_scores_on_other_rows_are_not_compared(client, name, model) -> None:
    enter(client, name, model, 1.0, rows="old rows")
    enter(client, name, model, 2.0, rows="new rows")
    assert bearer(client, name, CHAMPION) == 2


def test_a_champion_of_other_rows_that_came_meanwhile_is_to_be_met_first(
    client, name, model
) -> None:
    met = enter(client, name, model, 3.0, rows="old rows")
    enter(client, name, model, 2.0, rows="their rows")
    mine = Registry(client, name).register(model, {records.MD5: "mine"})
    record(client, mine, PASSED, {RMSE: "1.0", ROWS: "my rows"})
    assert champion_rule.crown(Registry(client, name), "my rows", met) is False
    assert bearer(client, name, CHAMPION) == 2
    assert (
        champion_rule.crown(Registry(client, name), "my rows", Registry(client, name).numbered("2"))
        is True
    )
    assert bearer(client, name, CHAMPION) == 3


def test_one_that_met_the_champion_on_other_rows_is_not_overruled_by_it(
    client, name, model
) -> None:
    first = enter(client, name, model, 2.0, rows="my rows")
    enter(client, name, model, 2.5, rows="their rows")
    assert champion_rule.crown(Registry(client, name), "my rows", first) is False
    assert bearer(client, name, CHAMPION) == 2


def test_without_a_version_that_passed_there_is_no_champion(client, name, model) -> None:
    enter(client, name, model, 1.0, FAILED)
    champion_rule.crown(Registry(client, name), "rows")
    assert bearer(client, name, CHAMPION) is None


def test_the_score_on_a_version_counts_for_the_rows_it_is_of(client, name, model) -> None:
    version = Registry(client, name).reread(enter(client, name, model, 0.1 + 0.2))
    assert champion_rule.recorded_rmse(version, "rows") == 0.1 + 0.2
    assert champion_rule.recorded_rmse(version, "others") is None


# By hand


@pytest.fixture
def two(client: mlflow.MlflowClient, name: str, model: LoggedModel) -> str:
    """A registered model whose champion was version 1, and is version 2."""
    for score in (2.0, 1.0):
        enter(client, name, model, score)
    return name


def promote(client: mlflow.MlflowClient, name: str, version: str) -> ModelVersion:
    return champion_rule.promote(*registry.version_named(client, version, name))


@pytest.mark.parametrize(
    "named", ["1", "v1", PREVIOUS, f"@{PREVIOUS}", "models:/{}/1", f"models:/{{}}@{PREVIOUS}"]
)
def test_a_version_is_named_by_its_number_or_an_alias(client, two, named) -> None:
    found, version = registry.version_named(client, named.format(two), two)
    assert (found.name, registry.number(version)) == (two, 1)


@pytest.mark.parametrize("named", ["", "@", "a/b", "models:/", "models:/a", "a@b", "models:/a/b/c"])
def test_what_can_not_name_a_version_is_told(client, two, named) -> None:
    with pytest.raises(ModelError) as error:
        registry.version_named(client, named, two)
    assert str(error.value) == f"{named!r} names no version; write 3, champion or models:/NAME/3"


def test_the_champion_so_far_is_withdrawn_when_another_is_promoted(client, two) -> None:
    assert registry.number(promote(client, two, "1")) == 1
    assert (bearer(client, two, CHAMPION), bearer(client, two, PREVIOUS)) == (1, 2)
    assert decisions(client, two) == [CHAMPION, WITHDRAWN]


def test_rolling_back_twice_is_where_one_was(client, two) -> None:
    for _ in range(2):
        promote(client, two, PREVIOUS)
    assert (bearer(client, two, CHAMPION), bearer(client, two, PREVIOUS)) == (2, 1)
    assert decisions(client, two) == [WITHDRAWN, CHAMPION]


def test_the_gate_does_not_bring_a_withdrawn_version_back(client, two) -> None:
    promote(client, two, "1")
    champion_rule.crown(Registry(client, two), "rows")
    assert bearer(client, two, CHAMPION) == 1


def test_no_other_that_once_passed_overrules_a_promotion_by_hand(client, two, model) -> None:
    enter(client, two, model, 0.5)
    promote(client, two, "1")
    champion_rule.crown(Registry(client, two), "rows")
    assert bearer(client, two, CHAMPION) == 1
    assert decisions(client, two) == [CHAMPION, CHALLENGER, WITHDRAWN]


def test_one_that_comes_later_and_is_better_succeeds_one_promoted_by_hand(
    client, two, model
) -> None:
    promote(client, two, "1")
    enter(client, two, model, 1.5)
    assert (bearer(client, two, CHAMPION), bearer(client, two, PREVIOUS)) == (3, 1)


def test_one_that_did_not_pass_can_be_promoted_by_hand(client, two, model) -> None:
    enter(client, two, model, 9.0, FAILED)
    version = promote(client, two, "3")
    assert version.description == "Champion: version 3 was promoted by hand."
    assert version.aliases == [CHAMPION]


def test_a_new_decision_keeps_the_report_in_the_description(client, two, model) -> None:
    known = Registry(client, two)
    known.add_report(known.numbered("1"), "# Report\n\nIt is good.")
    champion_rule.promote(known, known.numbered("1"))
    assert known.numbered("1").description == (
        "Champion: version 1 was promoted by hand.\n\n# Report\n\nIt is good."
    )


def test_a_new_report_replaces_the_old_one_and_keeps_the_decision(client, two, model) -> None:
    known, decision = Registry(client, two), "Champion: it passed."
    for report in ("# Old\n\nIt is long.", "# New"):
        known.add_report(known.numbered("2"), report)
    assert known.numbered("2").description == f"{decision}\n\n# New"


def test_a_long_report_ends_with_a_whole_line_that_mlflow_has_room_for(client, two, model) -> None:
    known, line = Registry(client, two), "x" * 99
    known.add_report(known.numbered("2"), "\n".join([line] * 100))
    description = known.numbered("2").description
    assert 4900 <= len(description) <= 5000
    assert {*description.splitlines()[2:]} == {line}


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ("7", "has no version 7; its versions: 1, 2"),
        ("best", "has no version with the alias 'best'; its versions: 1, 2"),
        ("-1", "has no version with the alias '-1'; its versions: 1, 2"),
        ("2", "version 2 is the champion already; name another version"),
        (CHAMPION, "version 2 is the champion already; name another version"),
    ],
)
def test_what_can_not_be_promoted_is_told_and_changes_nothing(client, two, chosen, message) -> None:
    with pytest.raises(ModelError) as error:
        promote(client, two, chosen)
    assert str(error.value) == f"{two} {message}"
    assert decisions(client, two) == [CHAMPION, CHAMPION]
    assert bearer(client, two, CHAMPION) == 2


def test_a_registered_model_that_is_not_there_is_told(client, name) -> None:
    with pytest.raises(TrackingError) as error:
        promote(client, name, "1")
    assert f"MLflow has no registered model {name} at " in str(error.value)


# Many at once

CONTENTS = 25


def at_once(many: int, folder: Path, work: Callable[..., object]) -> None:
    """Let processes do some work at the same time, on one store; none may complain."""
    start = context.Barrier(many)
    begun = [begin(folder, work, number, start) for number in range(many)]
    assert [end(*process) for process in begun] == [Ended(0, "")] * many


def open_store(_: int, start: threading.Barrier) -> None:
    start.wait(120)
    store.experiment_id(store.connect(), "tests")


@pytest.mark.drill
def test_many_may_be_the_first_to_open_a_store(tmp_path: Path, monkeypatch) -> None:
    at_once(3, tmp_path, open_store)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    found = store.connect().search_experiments()
    assert sorted(experiment.name for experiment in found) == ["Default", "tests"]
    assert list(tmp_path.glob(".*")) == []


def train(folder: Path, number: int, data: config.Data | None = None) -> dict[str, Record]:
    """Leave in `folder` what is there when a model is to be registered: the last is the best."""
    data = data or config.load(ROOT / "params.yaml").data
    y = np.array([0.0, 3.0, 1.0, 2.0, 6.0, 4.0, 7.0, 5.0])
    frame = pd.DataFrame({name: np.arange(8.0) for name in data.numeric})
    frame = frame.assign(**dict.fromkeys(data.categorical, "a"), **{data.target: y})
    rows = writing.as_table(frame)
    preprocessor, _ = features.fit([rows], data.numeric, data.categorical, impute=False)
    X = features.matrix(preprocessor, rows).T
    fit = ridge.fit([(X, y)], (1.0 + CONTENTS - number,))
    pipeline = Pipeline([("preprocessor", preprocessor), ("regressor", fit.model)])
    files.write_model(folder / files.MODEL, pipeline)
    sums = scoring.sums(y, fit.model.predict(X), fit.target_mean)
    baseline = {"prediction": fit.target_mean, "validation": scoring.baseline_metrics(sums)}
    scores = {"validation": scoring.metrics(sums), "baseline": baseline}
    files.write_json(folder / SCORES, scores)
    with writing.parquet(folder / VALIDATION) as place, writing.parquet_part(place, 0) as write:
        write(rows)
    return trained(folder)


def trained(folder: Path) -> dict[str, Record]:
    outs = {path: records.md5_of(folder / path) for path in (files.MODEL, SCORES)}
    prepared = Record("prepare", {}, {VALIDATION: "rows"}, {})
    return {"prepare": prepared, "train": Record("train", {}, outs, {})}


def register_all(number: int, start: threading.Barrier) -> None:
    """Register the contents, as the stage does, in an order that no other process has."""
    start.wait(120)
    chosen, client = config.load(ROOT / "params.yaml"), store.connect()
    for place in sorted(Path().glob("model-*"), key=lambda p: content_order(p, number)):
        version = submit.submit(
            Registry(client, chosen.register.model), chosen, trained(place), {}, place
        )
        Registry(client, version.name).set_alias(CHALLENGER, registry.number(version))


def content_order(place: Path, number: int) -> str:
    return hashlib.md5(f"{place.name} {number}".encode()).hexdigest()


@pytest.fixture(scope="module")
def logged(client: mlflow.MlflowClient, tmp_path_factory: pytest.TempPathFactory) -> LoggedModel:
    """A model in MLflow with all its files, as the stage train leaves one."""
    folder = tmp_path_factory.mktemp("logged")
    recorded = train(folder, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what MLflow does to itself as it logs a model
        runs.write_run(client, "files", recorded["train"], {}, folder)
    return models.find(client, "files", recorded["train"].outs[files.MODEL])


def place(logged: LoggedModel) -> Path:
    return Path(url2pathname(urlparse(logged.artifact_location).path))


def log_like(client: mlflow.MlflowClient, logged: LoggedModel, md5: str) -> LoggedModel:
    """Log other content with the same files, which takes a hundredth of the time."""
    another = client.create_logged_model(logged.experiment_id, tags={records.MD5: md5})
    client.log_model_artifacts(another.model_id, str(place(logged)))
    return client.finalize_logged_model(another.model_id, "READY")


# Loading


def load(client: mlflow.MlflowClient, version: ModelVersion) -> Pipeline:
    content = models.download(Registry(client, version.name), version)
    return skops_format.load(content, f"models:/{version.name}/{version.version}")


def test_a_version_is_loaded_as_the_pipeline_that_it_is(client, name, logged) -> None:
    version = Registry(client, name).register(logged, {records.MD5: "a"})
    assert [*load(client, version).named_steps] == [
        "preprocessor",
        "regressor",
    ]


@pytest.mark.parametrize(
    "torn", ["model.skops", "MLmodel", "no model.skops"], ids=["data", "index", "absent"]
)
def test_files_that_are_not_whole_are_told(client, name, logged, torn) -> None:
    another = log_like(client, logged, f"torn {torn}")
    if torn.startswith("no "):
        (place(another) / torn.removeprefix("no ")).unlink()
    else:
        (place(another) / torn).write_bytes(b"")
    version = Registry(client, name).register(another, {records.MD5: "torn"})
    with pytest.raises(ModelError, match=rf"models:/{name}/1 can't be loaded \(.+\); restore"):
        load(client, version)


class Burglar:
    """Leaves a trace where it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, (str(self.trace), "w")


@pytest.mark.parametrize("said", ["cloudpickle", "skops"])
def test_no_code_is_run_by_loading(client, name, logged, said, tmp_path) -> None:
    another = log_like(client, logged, f"pickled {said}")
    (place(another) / "model.skops").write_bytes(pickle.dumps(Burglar(tmp_path / "trace")))
    index = place(another) / "MLmodel"
    text = index.read_text()
    assert "serialization_format: skops" in text
    index.write_text(text.replace("serialization_format: skops", f"serialization_format: {said}"))
    version = Registry(client, name).register(another, {records.MD5: "pickled"})
    with pytest.raises(ModelError):
        load(client, version)
    assert not (tmp_path / "trace").exists()


# Held to the gate


@pytest.fixture
def chosen(name: str) -> config.Settings:
    """The project's settings, with a registered model and an experiment of the test's own."""
    of_project = config.load(ROOT / "params.yaml")
    return replace(
        of_project,
        register=replace(of_project.register, model=name),
        mlflow=replace(of_project.mlflow, experiment="files"),
    )


def submitted(
    client: mlflow.MlflowClient,
    chosen: config.Settings,
    logged: LoggedModel,
    folder: Path,
    number: int,
) -> ModelVersion:
    """Submit a model, as register does; one of a higher number is better."""
    recorded = train(folder, number)
    md5 = recorded["train"].outs[files.MODEL]
    if models.find(client, "files", md5) is None:
        log_like(client, logged, md5)
    return submit.submit(Registry(client, chosen.register.model), chosen, recorded, {}, folder)


def test_who_registers_again_puts_right_what_one_that_was_killed_left(
    client, chosen, logged, tmp_path
) -> None:
    worse, better = (
        submitted(client, chosen, logged, tmp_path / str(number), number) for number in (1, 2)
    )
    name = chosen.register.model
    client.set_registered_model_alias(name, CHAMPION, str(registry.number(worse)))
    submitted(client, chosen, logged, tmp_path / "again", 1)
    assert bearer(client, name, CHAMPION) == registry.number(better)


def test_a_champion_whose_column_is_of_another_kind_now_is_kept(
    client, chosen, logged, tmp_path
) -> None:
    submitted(client, chosen, logged, tmp_path / "1", 1)
    data = chosen.data
    numeric, categorical = data.numeric[1:], (*data.categorical, data.numeric[0])
    now = replace(chosen, data=replace(data, numeric=numeric, categorical=categorical))
    recorded = train(tmp_path / "2", 2, now.data)
    log_like(client, logged, recorded["train"].outs[files.MODEL])
    recorded["prepare"].outs[VALIDATION] = "new rows"
    version = submit.submit(Registry(client, now.register.model), now, recorded, {}, tmp_path / "2")
    assert version.tags[REASON] == (
        "version 1 stays champion, for it can't predict these rows; to replace it, run 'make "
        "promote VERSION=2'"
    )
    assert bearer(client, chosen.register.model, CHAMPION) == 1


def test_a_champion_that_someone_set_without_the_gate_is_told_as_that(
    client, chosen, logged, tmp_path
) -> None:
    version = submitted(client, chosen, logged, tmp_path, 1)
    for tag in (DECISION, REASON):
        client.delete_model_version_tag(version.name, str(version.version), tag)
    again = submitted(client, chosen, logged, tmp_path, 1)
    assert registry.summary(again).endswith("(champion): the gate was not asked")


def submit_in_order(
    client: mlflow.MlflowClient,
    chosen: config.Settings,
    folder: Path,
    order: tuple[int, ...],
    rows: str = "rows",
) -> list[ModelVersion]:
    """Submit models, each with its own files; the last one's validation rows are called `rows`."""
    versions = []
    for number in order:
        recorded = train(folder / str(number), number)
        if number == order[-1]:
            recorded["prepare"].outs[VALIDATION] = rows
        to = Registry(client, chosen.register.model)
        versions.append(submit.submit(to, chosen, recorded, {}, folder / str(number)))
    return versions


def requiring(chosen: config.Settings, min_probability: float | None) -> config.Settings:
    gate = replace(chosen.register.gate, min_probability=min_probability)
    return replace(chosen, register=replace(chosen.register, gate=gate))


@pytest.mark.filterwarnings("ignore")  # what MLflow does to itself as it logs a model
@pytest.mark.parametrize("rows", ["rows", "new rows"])
def test_a_candidate_is_compared_with_the_champion_on_the_same_rows(
    client, chosen, tmp_path, rows
) -> None:
    first, second = submit_in_order(client, chosen, tmp_path, (0, CONTENTS), rows)
    rmse, rival_rmse = float(second.tags[RMSE]), float(second.tags[records.RIVAL_RMSE])
    assert rival_rmse == pytest.approx(float(first.tags[RMSE]), rel=1e-12)
    difference, lower, upper, probability = (float(second.tags[t]) for t in records.COMPARISON)
    assert difference == pytest.approx(rmse - rival_rmse, rel=1e-9)
    assert lower < difference < upper
    assert 0.5 < probability < 1
    assert second.description == (
        f"Champion: validation RMSE {rmse:.6g} is not worse than the champion's {rival_rmse:.6g} "
        f"(difference {difference:.2g}, 95 % interval {lower:.2g} to {upper:.2g}; better with "
        f"probability {probability:.6g})."
    )
    assert not {*records.COMPARISON} & {*first.tags}


@pytest.mark.filterwarnings("ignore")  # what MLflow does to itself as it logs a model
def test_a_candidate_that_is_better_by_chance_is_not_crowned_if_the_gate_asks_for_more(
    client, chosen, tmp_path
) -> None:
    strict = requiring(chosen, 0.99)
    _, second = submit_in_order(client, strict, tmp_path, (0, CONTENTS))
    assert "does not reach min_probability 0.99 of being below" in second.tags[REASON]
    assert decisions(client, second.name) == [CHAMPION, CHALLENGER]
    assert bearer(client, second.name, CHAMPION) == 1


@pytest.mark.filterwarnings("ignore")  # what MLflow does to itself as it logs a model
@pytest.mark.parametrize(
    ("min_probability", "champions"), [(None, {"better"}), (0.99, {"better", "worse"})]
)
def test_which_version_is_champion_depends_on_the_order_only_with_min_probability(
    client, chosen, tmp_path, min_probability, champions
) -> None:
    worse, better = 0, CONTENTS
    found = set()
    for order in ((worse, better), (better, worse)):
        register = replace(chosen.register, model=new_name())
        to = requiring(replace(chosen, register=register), min_probability)
        submit_in_order(client, to, tmp_path, order)
        number = bearer(client, register.model, CHAMPION)
        found.add("better" if order[number - 1] == better else "worse")
    assert found == champions


@pytest.mark.drill
@pytest.mark.filterwarnings("ignore")  # what MLflow does to itself as it logs a model
def test_two_hundred_registrations_by_eight_processes_lose_and_double_nothing(
    tmp_path: Path, monkeypatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("DVC_ROOT", str(tmp_path))
        patch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
        chosen, client = config.load(ROOT / "params.yaml"), store.connect()
        experiment, name = chosen.mlflow.experiment, chosen.register.model
        md5s = []
        for number in range(CONTENTS):
            folder = tmp_path / f"model-{number}"
            recorded = train(folder, number)
            md5s.append(recorded["train"].outs[files.MODEL])
            if number == 0:
                runs.write_run(client, experiment, recorded["train"], {}, folder)
                first = models.find(client, experiment, md5s[0])
            else:
                log_like(client, first, md5s[-1])

    at_once(8, tmp_path, register_all)

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    found = {registry.number(v): v for v in client.search_model_versions(f"name = '{name}'")}
    assert sorted(v.tags[records.MD5] for v in found.values()) == sorted(md5s)
    champion, previous = (bearer(client, name, alias) for alias in (CHAMPION, PREVIOUS))
    assert found[champion].tags[records.MD5] == md5s[-1]
    assert previous in found.keys() - {champion}

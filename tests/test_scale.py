"""The same bytes from any number of workers, wherever they are, in memory that doesn't grow."""

import hashlib
import json
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pytest
from project import ROOT, clone, run
from servers import SETTINGS, Server, client, free_port, store

pytestmark = [pytest.mark.slow, pytest.mark.drill]

ROWS = 200_000
NOISE = [f"noise{number}" for number in range(8)]
OUTPUTS = ("data/prepared", "data/features", "models", "metrics", "plots", "predictions")
# all five stages in one process: what each of them does, without starting five times
STAGES = """
import re, runpy, sys
from pathlib import Path
runpy.run_module("bench.floor", run_name="__main__")
# not ru_maxrss, which a process takes over from the one that started it
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]
print(int(peak) // 1024, "distributed" in sys.modules)
"""
DYING = """
import os, signal
import stages
from ridgeline import config
from ridgeline.model import moments as summaries
from stages import train
real = summaries.moments
def moments(part):
    try:
        os.close(os.open({marker!r}, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return real(part)
    os.kill(os.getpid(), signal.SIGKILL)
summaries.moments = moments
train.main(config.load())
"""


DYING_AS_IT_WRITES = """
import os, signal
import stages
from ridgeline import config
from ridgeline.tables import writing
from stages import featurize
real = featurize.transform
def transform(preprocessor, kept, folder, part):
    try:
        os.close(os.open({marker!r}, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return real(preprocessor, kept, folder, part)
    with writing.parquet_part(folder, part.number) as write:
        write(part.table())
        os.kill(os.getpid(), signal.SIGKILL)
featurize.transform = transform
featurize.main(config.load())
"""
PREDICT = """
import sys
from pathlib import Path
import ridgeline.__main__
import joblib
from ridgeline import batch, config
data = config.load().data
batch.predict_table(joblib.load("models/model.joblib"), 1.0, data.path, Path(sys.argv[1]), data)
"""


def possums(rows: int, seed: int = 0) -> pd.DataFrame:
    """Resample the possums, with noise: as many rows as asked for, and twenty columns."""
    random = np.random.default_rng(seed)
    source = pd.read_csv(ROOT / "data/raw/possum.csv").dropna()
    frame = source.iloc[random.integers(0, len(source), rows)].reset_index(drop=True)
    for name in frame.columns[4:]:
        frame[name] = (frame[name] + random.normal(0, 0.1 * source[name].std(), rows)).round(3)
    for name in NOISE:
        frame[name] = random.normal(size=rows).round(4)
    return frame.assign(case=np.arange(rows) + seed * 10_000_000)


def write(frame: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        frame.to_parquet(path, row_group_size=30_000)
    else:
        pyarrow.csv.write_csv(pa.Table.from_pandas(frame), path)  # text and header in quotes


def edit(project: Path, old: str, new: str) -> None:
    params = project / "params.yaml"
    text = params.read_text()
    assert old in text
    params.write_text(text.replace(old, new))


def outputs(project: Path) -> dict[str, str]:
    files = [f for name in OUTPUTS for f in (project / name).rglob("*") if f.is_file()]
    return {
        file.relative_to(project).as_posix(): hashlib.md5(file.read_bytes()).hexdigest()
        for file in files
    }


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone whose table is a folder: one file of two blocks or more, and several small ones."""
    folder = clone(tmp_path_factory.mktemp("scale") / "project")
    (folder / "data/raw/table").mkdir()
    write(possums(ROWS - 60_000), folder / "data/raw/table/0.csv")
    for number in (1, 2, 3):
        write(possums(20_000, seed=number), folder / f"data/raw/table/{number}.csv")
    edit(folder, "path: data/raw/possum.csv", "path: data/raw/table")
    edit(folder, "chest, belly]", f"chest, belly, {', '.join(NOISE)}]")
    return folder


@pytest.fixture(scope="module")
def by_one_thread(project: Path) -> dict[str, str]:
    done = run(sys.executable, "-c", STAGES, cwd=project, PYTHON_CPU_COUNT="1")
    assert done.stdout.split()[-1] == "False"  # distributed is not imported
    written = outputs(project)
    assert len([name for name in written if name.startswith("data/prepared/train/")]) > 4
    return written


def answers(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def scheduler_on(port: int, folder: Path, project: Path, **settings: str) -> Server:
    command = ["dask", "scheduler", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--dashboard-address", "127.0.0.1:0"]
    return Server(command, folder / "scheduler", lambda: answers(port), project, **settings)


@pytest.fixture(scope="module")
def cluster(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Dask scheduler and two worker processes on loopback, as docs/cluster.md starts them."""
    folder, port = tmp_path_factory.mktemp("dask"), free_port()
    address = f"tcp://127.0.0.1:{port}"
    settings = {"PYTHONPATH": ".", "OPENBLAS_CORETYPE": "Haswell"}
    scheduler = scheduler_on(port, folder, project, **settings)
    log = folder / "workers"
    command = ["dask", "worker", address, "--host", "127.0.0.1", "--nworkers", "2"]
    command += ["--nthreads", "1", "--no-dashboard", "--local-directory", str(folder)]
    workers = Server(
        command,
        log,
        lambda: log.read_text().count("Registered to:") == 2,
        project,
        **settings,
    )
    try:
        scheduler.start()
        workers.start()
        yield address
    finally:
        for server in (workers, scheduler):
            if hasattr(server, "process"):
                server.stop()


@pytest.mark.parametrize("threads", ["2", "8"])
def test_the_number_of_threads_changes_no_byte(
    project: Path, by_one_thread: dict[str, str], threads: str
) -> None:
    run(sys.executable, "-c", STAGES, cwd=project, PYTHON_CPU_COUNT=threads)
    assert outputs(project) == by_one_thread


def test_a_dask_cluster_changes_no_byte(
    project: Path, by_one_thread: dict[str, str], cluster: str
) -> None:
    done = run(sys.executable, "-c", STAGES, cwd=project, DASK_SCHEDULER_ADDRESS=cluster)
    assert done.stdout.split()[-1] == "True"
    assert outputs(project) == by_one_thread


def test_the_command_predict_writes_the_same_bytes_on_a_dask_cluster(
    project: Path, by_one_thread: dict[str, str], cluster: str, tmp_path: Path
) -> None:
    threads, workers = tmp_path / "threads.csv", tmp_path / "workers.csv"
    run(sys.executable, "-c", PREDICT, str(threads), cwd=project)
    run(sys.executable, "-c", PREDICT, str(workers), cwd=project, DASK_SCHEDULER_ADDRESS=cluster)
    assert workers.read_bytes() == threads.read_bytes()
    assert len(pd.read_csv(workers)) == ROWS


def test_a_worker_killed_in_the_middle_of_train_is_survived(
    project: Path, by_one_thread: dict[str, str], cluster: str, tmp_path: Path
) -> None:
    (project / "models/model.joblib").unlink()
    program = DYING.format(marker=str(tmp_path / "killed"))
    run(sys.executable, "-c", program, cwd=project, DASK_SCHEDULER_ADDRESS=cluster)
    assert (tmp_path / "killed").exists()
    assert outputs(project) == by_one_thread


def test_a_worker_killed_as_it_writes_a_part_leaves_nothing_of_it(
    project: Path, by_one_thread: dict[str, str], cluster: str, tmp_path: Path
) -> None:
    program = DYING_AS_IT_WRITES.format(marker=str(tmp_path / "killed"))
    run(sys.executable, "-c", program, cwd=project, DASK_SCHEDULER_ADDRESS=cluster)
    assert (tmp_path / "killed").exists()
    assert outputs(project) == by_one_thread
    assert [path for path in (project / "data/features").iterdir() if path.name[0] == "."] == []


def test_predictions_may_be_a_folder_of_parts(project: Path, by_one_thread: dict[str, str]) -> None:
    expected = pd.read_csv(project / "predictions/possum_tail_length.csv")
    metrics = (project / "metrics/test.json").read_bytes()
    edit(project, "output: predictions/possum_tail_length.csv", "output: predictions/parts")
    run("python", "-m", "stages.predict", cwd=project)
    edit(project, "output: predictions/parts", "output: predictions/possum_tail_length.csv")
    written = pd.read_parquet(project / "predictions/parts").astype({"case": int})
    shutil.rmtree(project / "predictions/parts")
    assert len(written) > 10_000
    pd.testing.assert_frame_equal(written, expected)
    assert (project / "metrics/test.json").read_bytes() == metrics


def test_a_bad_row_is_told_the_same_by_a_cluster(project: Path, cluster: str) -> None:
    bad = project / "data/raw/table/4.csv"
    header, row = (project / "data/raw/table/3.csv").read_text().split("\n")[:2]
    bad.write_text(f"{header}\n{row}\n{row},1\n")
    command = ("python", "-m", "stages.prepare")
    here = run(*command, cwd=project, check=False)
    there = run(*command, cwd=project, check=False, DASK_SCHEDULER_ADDRESS=cluster)
    bad.unlink()
    assert here.returncode == there.returncode == 1
    # whichever takes longer than a second also tells how far it is
    assert here.stderr.splitlines()[-1].startswith("error: data/raw/table/4.csv can't be read")
    assert there.stderr.splitlines()[-1] == here.stderr.splitlines()[-1]


def test_a_scheduler_out_of_reach_is_one_line_within_ten_seconds(fresh: Path) -> None:
    started = time.monotonic()
    address = f"tcp://127.0.0.1:{free_port()}"
    done = run(
        *("python", "-m", "stages.prepare"), cwd=fresh, check=False, DASK_SCHEDULER_ADDRESS=address
    )
    assert time.monotonic() - started < 10
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: no Dask scheduler answers at {address} (")
    assert done.stderr.count("\n") == 1


def test_a_scheduler_without_workers_or_that_is_stopped_is_one_line_within_seconds(
    fresh: Path, tmp_path: Path
) -> None:
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    scheduler = scheduler_on(port, tmp_path, fresh).start()
    stage = ("python", "-m", "stages.prepare")
    started = time.monotonic()
    run(*stage, cwd=fresh)
    usual = time.monotonic() - started  # two seconds, and more on a busy machine

    def refusal() -> str:
        started = time.monotonic()
        done = run(*stage, cwd=fresh, check=False, timeout=60, DASK_SCHEDULER_ADDRESS=address)
        assert time.monotonic() - started < usual + 8
        assert done.returncode == 1
        return done.stderr

    try:
        assert refusal() == (
            f"error: the Dask scheduler at {address} has no workers; start some in this project's "
            f"folder with 'dask worker {address}'\n"
        )
        scheduler.process.send_signal(signal.SIGSTOP)
        assert refusal() == (
            f"error: no Dask scheduler answers at {address} (no reply within 5 seconds); "
            "start it, or unset DASK_SCHEDULER_ADDRESS to run on this machine\n"
        )
    finally:
        scheduler.process.send_signal(signal.SIGCONT)
        scheduler.stop()


def test_peak_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    folder, peaks = clone(tmp_path / "project"), []
    edit(folder, "chest, belly]", f"chest, belly, {', '.join(NOISE)}]")
    edit(folder, "path: data/raw/possum.csv", "path: data/raw/table")
    for size in (4, 16):  # of parts; with one thread no more than three are in memory
        for number in range(size):
            write(possums(90_000, seed=number), folder / f"data/raw/table/{number}.parquet")
        done = run(sys.executable, "-c", STAGES, cwd=folder, PYTHON_CPU_COUNT="1")
        peaks.append(int(done.stdout.split()[-2]))
    assert peaks[1] < 1.2 * peaks[0], peaks
    assert peaks[1] < 1024


def counts(project: Path) -> dict[str, object]:
    """What prepare counted; of a table in S3 it has no md5."""
    found = json.loads((project / "metrics/prepare.json").read_text())
    return {name: value for name, value in found.items() if name != "md5"}


def test_a_table_in_s3_gives_what_it_gives_here(fresh: Path, tmp_path: Path) -> None:
    source = possums(3000)
    write(source[:2000], fresh / "data/raw/table/1.csv")
    write(source[2000:], fresh / "data/raw/table/2.csv")
    original = (fresh / "params.yaml").read_text()
    edit(fresh, "path: data/raw/possum.csv", "path: data/raw/table")
    prepared = []
    with store(tmp_path / "s3") as (url, _):
        client(url).create_bucket(Bucket="tables")
        for file in sorted((fresh / "data/raw/table").iterdir()):
            client(url).put_object(Bucket="tables", Key=f"a/b/{file.name}", Body=file.read_bytes())
        for path in ("data/raw/table", "s3://tables/a/b", "s3://tables/a/b/?.csv"):
            (fresh / "params.yaml").write_text(original.replace("data/raw/possum.csv", path))
            run("python", "-m", "stages.prepare", cwd=fresh, **SETTINGS, AWS_ENDPOINT_URL=url)
            prepared.append(outputs(fresh) | {"metrics/prepare.json": counts(fresh)})
        done = run(
            *("python", "-m", "stages.prepare"),
            cwd=fresh,
            check=False,
            **SETTINGS | {"AWS_SECRET_ACCESS_KEY": "wrong"},
            AWS_ENDPOINT_URL=url,
        )
    assert prepared[0] == prepared[1] == prepared[2]
    assert done.returncode == 1
    assert done.stderr.startswith("error: s3://tables/a/b/?.csv can't be read")
    assert done.stderr.count("\n") == 1

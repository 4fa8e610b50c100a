"""Take the tutorial's screenshots of a real run, in Chromium: ``python docs/screenshots.py``.

A clone of HEAD in a temporary folder runs the tutorial's commands. `chromium`, `git`, `npm` and the
project's environment must be on the PATH. DVC's page loads Vega from the web: here, npm fetches it.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

DOCS = Path(__file__).resolve().parent
COMMANDS = [
    "dvc repro",
    "dvc exp run -n stronger -S train.alphas=[10,30,100]",
    "git restore params.yaml",
    "dvc exp run -n lasso -S train.model=sklearn.linear_model.Lasso -S +train.params.alpha=0.1",
    "dvc plots diff HEAD lasso",
]
CHROMIUM = [
    *("chromium", "--headless", "--disable-gpu", "--hide-scrollbars", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--virtual-time-budget=20000",  # milliseconds for the page's scripts
]
WIDTH = 1200  # of an image, pixels
ASSISTANT = 1620  # width of a window in which MLflow's assistant begins right of the image
READY = 120  # seconds, at most, until MLflow's server answers


def main() -> None:
    """Run the pipeline and its experiments, and write a PNG for each page."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        project = folder / "ridgeline"
        subprocess.run(["git", "clone", "--quiet", DOCS.parent, project], check=True)
        subprocess.run(["git", "checkout", "--quiet", "-B", "main"], cwd=project, check=True)
        for command in COMMANDS:
            subprocess.run(command.split(" "), cwd=project, check=True)
        page = with_vega(project / "dvc_plots/index.html", folder)
        screenshot(page.as_uri(), "dvc-plots", 960, 770, scale=WIDTH / 960)
        with mlflow(project) as server:
            mode = "workflowType=machine_learning"
            screenshot(f"{server}/#/experiments/1/runs?{mode}", "runs", ASSISTANT, 730)
            version = "models/Reg_RidgeCV_possums/versions/1"
            screenshot(f"{server}/#/{version}?{mode}", "version", ASSISTANT, 800)


def with_vega(page: Path, folder: Path) -> Path:
    """Have a page of plots load Vega's packages from a folder, at the versions that it names."""
    cdn = re.compile(r'src="https://cdn\.jsdelivr\.net/npm/([a-z-]+)(@[\d.]+)"')
    html = page.read_text(encoding="utf-8")
    packages = [name + version for name, version in cdn.findall(html)]
    npm = ["npm", "install", "--silent", "--legacy-peer-deps", "--prefix", str(folder)]
    subprocess.run([*npm, *packages], check=True)
    script = rf'charset="utf-8" src="{folder.as_uri()}/node_modules/\1/build/\1.min.js"'
    page.write_text(cdn.sub(script, html), encoding="utf-8")
    return page


@contextmanager
def mlflow(project: Path) -> Iterator[str]:
    """Serve MLflow's pages for the project's store on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = ["mlflow", "server", "--backend-store-uri", "sqlite:///mlflow.db", "--workers", "1"]
    server = subprocess.Popen(
        [*command, "--port", str(port)],
        cwd=project,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + READY
        while not answers(f"http://127.0.0.1:{port}/health"):
            if server.poll() is not None or time.monotonic() > deadline:
                sys.exit("error: mlflow server does not start")
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def answers(url: str) -> bool:
    """Return whether a server answers."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - on this machine
            return bool(answer.status == 200)
    except OSError:
        return False


def screenshot(url: str, name: str, width: int, height: int, scale: float = 1) -> None:
    """Write docs/images/NAME.png: the left of a window, in few colours."""
    path = DOCS / f"images/{name}.png"
    # Chromium refuses to run as root with its sandbox.
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    window = [f"--window-size={width},{height}", f"--force-device-scale-factor={scale}"]
    with tempfile.TemporaryDirectory() as profile:
        options = [*sandbox, *window, f"--user-data-dir={profile}", f"--screenshot={path}"]
        subprocess.run([*CHROMIUM, *options, url], check=True, stderr=subprocess.DEVNULL)
    with Image.open(path) as image:
        left = image.convert("RGB").crop((0, 0, WIDTH, image.height))
    left.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main()

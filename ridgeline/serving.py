"""Serve the champion over HTTP, by MLflow's scoring server."""

import os
import socket
import sys
from pathlib import Path
from typing import NoReturn

from ridgeline.errors import RidgelineError
from ridgeline.tracking import champion, store
from ridgeline.tracking.registry import Registry, number

LOOPBACK = "127.0.0.1"


def serve(name: str, port: int, workers: int) -> NoReturn:
    """Replace this process by MLflow's scoring server, with the champion of a registered model.

    Raises
    ------
    RidgelineError
        If there is no champion, no worker, or the port can't be used.
    """
    if workers < 1:
        raise RidgelineError(f"--workers is {workers}; it should be 1 or more")
    if not 1 <= port <= 65535:
        raise RidgelineError(f"--port is {port}; it should be from 1 to 65535")
    registry = Registry(store.connect(), name)
    version = number(registry.selected(champion.CHAMPION))
    try:
        socket.create_server((LOOPBACK, port)).close()
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        message = f"port {port} can't be used ({reason}); choose another"
        raise RidgelineError(message) from None
    print(f"{name} version {version}: http://{LOOPBACK}:{port}/invocations", flush=True)
    model = ["--model-uri", f"models:/{name}/{version}", "--env-manager", "local"]
    place = ["--host", LOOPBACK, "--port", str(port), "--workers", str(workers)]
    command = [sys.executable, "-m", "mlflow", "models", "serve", *model, *place]
    programs = (
        f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # MLflow runs uvicorn
    )
    os.execve(command[0], command, os.environ | {"PATH": programs})  # noqa: S606 - no shell is needed

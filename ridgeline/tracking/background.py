"""A child process that imports MLflow while its parent computes, and then calls it for the parent.

MLflow takes a second to import and to open its store. A stage needs it only when its work is done,
and computes in a process that MLflow never enters.
"""

import signal
from contextlib import suppress
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from ridgeline.errors import TrackingError

_children: list[Connection] = []  # at most one


def start() -> None:
    """Start the child of a stage's process. It ends with its parent, however that ends."""
    context = get_context("fork")  # before the stage's imports, so it starts small and at once
    connection, child_connection = context.Pipe()
    context.Process(target=_answer, args=(connection, child_connection), daemon=True).start()
    child_connection.close()
    _children.append(connection)


def call(module: str, function: str, *arguments: object) -> Any:
    """Call a function of a module of `tracking`: in the child, or here if none was started.

    Parameters
    ----------
    module, function : str
        Their names, since the parent does not import the module.
    *arguments : object
        What the function takes.

    Returns
    -------
    object
        What the function returns.

    Raises
    ------
    TrackingError
        If the child was killed, or the function raises it; as any other exception it raises.
    """
    if not _children:
        return _call(module, function, *arguments)
    try:
        _children[0].send((module, function, *arguments))
        succeeded, result = _children[0].recv()
    except (EOFError, OSError):
        raise TrackingError("the process that calls MLflow was killed") from None
    if not succeeded:
        raise result
    return result


def _answer(parent: Connection, connection: Connection) -> None:
    """Call what is received and send what it returns or raises, until the parent is gone."""
    parent.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent receives it as well, and ends this
    with suppress(Exception):  # what fails here fails again when it is called
        _call("runs", "open_ahead")
    with suppress(EOFError, BrokenPipeError):
        while True:
            try:
                answer = True, _call(*connection.recv())
            except EOFError:
                return
            except Exception as error:  # noqa: BLE001 - the parent raises it
                answer = False, error
            connection.send(answer)


def _call(module: str, function: str, *arguments: object) -> Any:
    return getattr(import_module(f"ridgeline.tracking.{module}"), function)(*arguments)

"""What befalls a process that has this folder on its PYTHONPATH, as environment variables say.

``KILL`` is a stage, an audit event of Python's and a piece of what it is about: at the first such
event the stage's process is killed. ``FULL`` is a stage, and the bytes after which its disk is
full. ``CLOCK`` is by how many seconds the clock is wrong.
"""

import os
import resource
import signal
import sys
import time

_stage = os.environ.get("DVC_STAGE")
_killed, _event, _place = os.environ.get("KILL", "- - -").split()
_full, _bytes = os.environ.get("FULL", "- 0").split()


def _kill(event: str, arguments: tuple[object, ...]) -> None:
    if event == _event and any(_place in str(argument) for argument in arguments):
        os.kill(os.getpid(), signal.SIGKILL)


if _stage == _killed:
    sys.addaudithook(_kill)
if _stage == _full:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(_bytes), resource.RLIM_INFINITY))
if "CLOCK" in os.environ:
    _now, _wrong = time.time, float(os.environ["CLOCK"])
    time.time = lambda: _now() + _wrong

"""Children are certain to start, or to say why not, and certain to end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from local.layout import REPOSITORY
from local.ports import free_port
from local.processes import Child, ProcessFailedError

pytestmark = pytest.mark.stack


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie that nobody has collected yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def _gone(pid: int) -> None:
    for _ in range(1000):
        if not alive(pid):
            return
        time.sleep(0.01)
    raise AssertionError(f"process {pid} is still there")


def _child(tmp_path: Path, script: str, **options: object) -> Child:
    return Child.start("script", [sys.executable, "-c", script], log=tmp_path / "log", **options)  # type: ignore[arg-type]


def test_a_child_is_ready_when_its_port_is(tmp_path: Path) -> None:
    port = free_port()
    child = _child(
        tmp_path,
        f"import time,socket; time.sleep(.2); s=socket.create_server(('127.0.0.1',{port})); time.sleep(600)",
    )
    child.wait_for_port(port)
    socket.create_connection(("127.0.0.1", port)).close()
    child.stop()
    assert child.returncode == -signal.SIGTERM
    child.stop()


def test_a_child_that_ends_too_early_tells_why(tmp_path: Path) -> None:
    child = _child(tmp_path, "raise SystemExit('no such luck')")
    with pytest.raises(ProcessFailedError, match=r"(?s)script ended with code 1 .*no such luck"):
        child.wait_for_port(free_port())


def test_a_child_that_stays_silent_is_told_of(tmp_path: Path) -> None:
    child = _child(tmp_path, "import time; print('waiting', flush=True); time.sleep(600)")
    with pytest.raises(ProcessFailedError, match=r"not ready .* within 0\.5 s"):
        child.wait_for_port(free_port(), timeout=0.5)
    child.kill()


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProcessFailedError, match="ghost cannot be started"):
        Child.start("ghost", [tmp_path / "nothing"], log=tmp_path / "log")


def test_a_child_that_ignores_the_signal_is_killed_with_its_children(tmp_path: Path) -> None:
    script = (
        "import signal,subprocess,sys,time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "p=subprocess.Popen([sys.executable,'-c','import time; time.sleep(600)']);"
        "print(p.pid, flush=True); time.sleep(600)"
    )
    child = _child(tmp_path, script)
    child.wait_until(lambda: bool(child.log_tail()), what="a line")
    grandchild = int(child.log_tail())
    child.stop(grace=0.2)
    assert child.returncode == -signal.SIGKILL
    _gone(grandchild)


def test_what_a_child_left_behind_ends_with_it(tmp_path: Path) -> None:
    script = (
        "import subprocess,sys,time;"
        "s='import signal,time; signal.signal(15, signal.SIG_IGN); time.sleep(600)';"
        "p=subprocess.Popen([sys.executable,'-c',s]);"
        "print(p.pid, flush=True); time.sleep(600)"
    )
    child = _child(tmp_path, script)
    child.wait_until(lambda: bool(child.log_tail()), what="a line")
    time.sleep(0.2)
    child.stop()
    _gone(int(child.log_tail()))


@pytest.mark.parametrize("in_thread", [False, True])
def test_children_end_when_their_parent_is_killed(tmp_path: Path, in_thread: bool) -> None:
    script = f"""
import sys, threading, time
from pathlib import Path
from local.processes import Child
def start():
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    child = Child.start("child", command, log=Path({str(tmp_path / "log")!r}))
    print(child.pid, flush=True)
if {in_thread}:
    thread = threading.Thread(target=start); thread.start(); thread.join()
else:
    start()
time.sleep(600)
"""
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{REPOSITORY / 'src'}:{REPOSITORY}"}
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=env)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    time.sleep(0.3)
    assert alive(pid), "a child lives on after the thread that started it"
    parent.kill()
    parent.wait()
    _gone(pid)

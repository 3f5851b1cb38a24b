"""No port is given twice while it may be in use, whoever asks and however processes end."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from local.layout import REPOSITORY
from local.ports import Ports, free_port
from local.processes import ProcessFailedError
from tests.integration.test_local_processes import alive

pytestmark = pytest.mark.stack

_ENV = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{REPOSITORY / 'src'}:{REPOSITORY}"}
_FEW = range(20_000, 20_064)
"""Two blocks."""


def _holds(_descriptor: int) -> None:
    """No guard: a lock ends with its instance."""


def _python(script: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_ENV
    )


def test_threads_of_a_process_share_no_port() -> None:
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.extend(free_port() for _ in range(20))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 80


def test_processes_that_ask_at_once_share_no_port(tmp_path: Path) -> None:
    # 30 blocks of 40: processes that knew nothing of each other would hardly ever choose other ones.
    script = f"""
import sys
from pathlib import Path
from local.ports import Ports
ports = Ports(Path({str(tmp_path)!r}), range(20_000, 20_000 + 40 * 32))
print("ready", flush=True)
sys.stdin.readline()
print(*[ports.take() for _ in range(5 * 24)], flush=True)
sys.stdin.read()
"""
    processes = [_python(script) for _ in range(6)]
    found: list[str] = []
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        assert process.stdout is not None
        found += process.stdout.readline().split()
    for process in processes:
        process.communicate()
    assert len(found) == len(set(found)) == 6 * 5 * 24


def test_a_port_that_somebody_else_listens_on_is_passed_over(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ports = Ports(tmp_path, range(port, port + 1), holder=_holds)
        with pytest.raises(ProcessFailedError, match=f"between {port} and {port} .*{tmp_path}"):
            ports.take()
        ports.close()


def test_ports_come_back_when_their_holder_is_gone(tmp_path: Path) -> None:
    first, second = Ports(tmp_path, _FEW, holder=_holds), Ports(tmp_path, _FEW, holder=_holds)
    third = Ports(tmp_path, _FEW, holder=_holds)
    given = {first.take(), second.take()}
    assert len(given) == 2
    with pytest.raises(ProcessFailedError, match="No free port"):
        third.take()
    first.close()
    assert third.take() in _FEW
    with pytest.raises(ProcessFailedError, match="No free port"):
        Ports(tmp_path, _FEW, holder=_holds).take()
    second.close()
    third.close()


@pytest.mark.parametrize("taken", ["before the child", "after it"])
def test_ports_of_a_killed_process_are_held_until_its_children_ended(tmp_path: Path, taken: str) -> None:
    child = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(.3), sys.exit()))\n"
        "print('up', flush=True)\ntime.sleep(600)"
    )
    script = f"""
import sys, time
from pathlib import Path
from local.ports import Ports
from local.processes import Child
folder = Path({str(tmp_path)!r})
ports = Ports(folder, range(20_000, 20_032))
if {taken!r} == "before the child":
    ports.take()
child = Child.start("child", [sys.executable, "-c", {child!r}], log=folder / "log")
child.wait_until(lambda: bool(child.log_tail()), what="a line")
if {taken!r} == "after it":
    ports.take()
print(child.pid, flush=True)
time.sleep(600)
"""
    parent = _python(script)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    ports = Ports(tmp_path, range(20_000, 20_032), holder=_holds)
    while not _gives(ports):
        time.sleep(0.01)
    assert not alive(pid), "the ports are free and the server may still come"
    ports.close()


def _gives(ports: Ports) -> bool:
    try:
        ports.take()
    except ProcessFailedError:
        return False
    return True

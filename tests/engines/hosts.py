"""Two pretend hosts: a network namespace each, with addresses of their own, joined by a bridge."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Hosts:
    """``inside`` gives the command that runs another one on a host."""

    address: str
    """Of this machine, as the hosts see it."""
    names: tuple[str, ...]

    def inside(self, name: str, command: Sequence[str]) -> list[str]:
        """The command, on that host and under its name."""
        script = f'hostname {name}; exec "$@"'
        return ["ip", "netns", "exec", name, "unshare", "--uts", "bash", "-c", script, "_", *command]


def why_not() -> str | None:
    """Why this machine cannot have pretend hosts; None when it can."""
    missing = [tool for tool in ("ip", "unshare", "bash", "hostname") if shutil.which(tool) is None]
    if missing:
        return f"{', '.join(missing)} is missing (Debian: iproute2, util-linux)"
    if os.geteuid() != 0:
        return "network namespaces need root"
    done = subprocess.run(["unshare", "--net", "--uts", "true"], capture_output=True, text=True)
    return None if done.returncode == 0 else f"this machine makes no namespaces: {done.stderr.strip()}"


@contextmanager
def two_hosts() -> Iterator[Hosts]:
    """Make them, and take them away again."""
    tag = f"{os.getpid() % 100_000:05d}"
    bridge, net = f"etlr{tag}", f"10.{213 + os.getpid() % 30}.{os.getpid() % 250}"
    names = (f"etl-a-{tag}", f"etl-b-{tag}")
    try:
        _ip(f"link add {bridge} type bridge")
        _ip(f"addr add {net}.1/24 dev {bridge}")
        _ip(f"link set {bridge} up")
        for number, name in enumerate(names):
            outer = f"etl{'ab'[number]}{tag}"
            _ip(f"netns add {name}")
            _ip(f"link add {outer} type veth peer name e0 netns {name}")
            _ip(f"link set {outer} master {bridge} up")
            _ip(f"-n {name} addr add {net}.{number + 2}/24 dev e0")
            _ip(f"-n {name} link set e0 up")
            _ip(f"-n {name} link set lo up")
        yield Hosts(f"{net}.1", names)
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
        subprocess.run(["ip", "link", "del", bridge], capture_output=True, check=False)


def _ip(arguments: str) -> None:
    subprocess.run(["ip", *arguments.split()], check=True, capture_output=True)


class Forwarder:
    """Passes connections to ``address``:port on to 127.0.0.1:port, where servers of the tests listen."""

    def __init__(self, address: str, port: int) -> None:
        self._port = port
        self._listener = socket.create_server((address, port))
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Take no more of them."""
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return  # closed
            far = socket.create_connection(("127.0.0.1", self._port))
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=_pump, args=(source, target), daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        source.close()
        target.close()

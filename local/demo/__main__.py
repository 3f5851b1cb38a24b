"""``python -m local.demo``: exit code 0 when source and destination agree at the end, 1 when they do not."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from etl_runner.errors import EtlError
from local.demo.story import PASSWORD_VARIABLE, Story, new_password
from local.layout import REPOSITORY, write_settings
from local.postgres import remove_data
from local.stack import Stack


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m local.demo", description=__doc__)
    parser.add_argument(
        "--tamper", action="store_true", help="change one value in the destination first: the demo must fail"
    )
    parser.add_argument(
        "--stay", action="store_true", help="leave everything running until Enter is pressed, to look around"
    )
    options = parser.parse_args(argv)
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=200)
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # read when its library is loaded, by the first server
    # A terminated demo cleans up like an interrupted one.
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
    folder = REPOSITORY / ".local"
    folder.mkdir(exist_ok=True)
    data = Path(tempfile.mkdtemp(prefix="demo-", dir=folder))
    agreed = False
    try:
        agreed = _play(data, console, tamper=options.tamper, stay=options.stay)
    except EtlError as error:
        console.print(f"The demo failed: {error}", style="bold red", markup=False, soft_wrap=True)
    except KeyboardInterrupt:
        console.print("Interrupted.")
    finally:
        remove_data(data / "postgres")
        if agreed or options.tamper:
            shutil.rmtree(data, ignore_errors=True)
        else:
            console.print(f"The logs are in {data / 'logs'}", markup=False, soft_wrap=True)
    return 0 if agreed else 1


def _play(data: Path, console: Console, *, tamper: bool, stay: bool) -> bool:
    began = time.monotonic()
    password = new_password()
    stack = Stack.start(data, environ={**os.environ, PASSWORD_VARIABLE: password})
    try:
        seconds = stack.seconds["all"]
        console.print(f"The whole topology is up on this machine: {seconds:.1f} s", style="bold")
        story = Story(stack, password, console)
        story.prepare()
        story.play()
        if tamper:
            story.tamper()
        agreed = story.agree()
        console.print(f"The demo took {time.monotonic() - began:.0f} s.")
        if stay:
            _stay(stack, data, password, console)
        return agreed
    finally:
        stack.stop()


def _stay(stack: Stack, data: Path, password: str, console: Console) -> None:
    settings = data / "settings.env"
    write_settings(settings, {**stack.environ, PASSWORD_VARIABLE: password})
    console.print("It stays up. Look around, for example:")
    for command in ("status", "runs flights", "plan flights", "run planes"):
        console.print(f"  .venv/bin/etl-runner {command} --settings {settings}", soft_wrap=True)
    console.input("Enter stops it. ")


if __name__ == "__main__":
    sys.exit(main())

"""``python -m local.workflows``: check a definition, or serve its executions."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from local.workflows.clock import SystemClock
from local.workflows.definition import load
from local.workflows.errors import DefinitionError


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local.workflows", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--check", type=Path, metavar="FILE", help="only check a definition")
    what.add_argument("--definition", type=Path, metavar="FILE", help="serve this definition's executions")
    parser.add_argument("--name", default="etl", help="the workflow's name")
    parser.add_argument("--project", default="local")
    parser.add_argument("--location", default="local")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument(
        "--env",
        type=_pair,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a variable of the workflow",
    )
    parser.add_argument(
        "--endpoint",
        type=_pair,
        action="append",
        default=[],
        metavar="SERVICE=URL",
        help="where a connector's service is, e.g. run=http://127.0.0.1:8081",
    )
    parser.add_argument(
        "--sleep-factor", type=float, default=1.0, help="shortens every wait, 0.1 to a tenth (default 1)"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, or 1 with every problem of the definition on standard error."""
    options = _parser().parse_args(argv)
    try:
        if options.check is not None:
            load(options.check.read_text(), name=str(options.check))
            sys.stdout.write(f"{options.check}: valid\n")
            return 0
        return _serve(options)
    except (DefinitionError, ValueError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _serve(options: argparse.Namespace) -> int:
    from local.workflows.service import serve

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    server = serve(
        options.definition,
        name=options.name,
        project=options.project,
        location=options.location,
        env=dict(options.env),
        endpoints=dict(options.endpoint),
        host=options.host,
        port=options.port,
        clock=SystemClock(options.sleep_factor),
    )

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a handler
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    sys.stdout.write(f"serving {server.parent} on {options.host}:{server.port}\n")
    sys.stdout.flush()
    try:
        server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())

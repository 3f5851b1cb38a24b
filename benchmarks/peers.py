"""The other tools: where they are installed, and their command lines.

They live in an environment of their own (``.local/peers``), since they and this project want different
versions of the same libraries. Each is told to write what a load into BigQuery would start from (Parquet,
or CSV where it has nothing else), and is given its faster settings.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import ROOT

HOME = ROOT / ".local" / "peers"
_LIST = Path(__file__).with_name("peers.txt")
_DLT = Path(__file__).with_name("peer_dlt.py")


def python() -> str:
    """The Python of the peers' environment, which is made when it is missing or its list has changed.

    Raises:
        CalledProcessError: it could not be installed; pip's own words are shown.
    """
    stamp, wanted = HOME / "stamp", hashlib.sha256(_LIST.read_bytes()).hexdigest()
    program = HOME / "bin" / "python"
    if not stamp.exists() or stamp.read_text() != wanted:
        uv = shutil.which("uv") or str(ROOT / ".local" / "uv" / "bin" / "uv")
        subprocess.run([uv, "venv", "-q", "--clear", "--python", "3.11", str(HOME)], check=True)
        subprocess.run([uv, "pip", "install", "-q", "--python", str(program), "-r", str(_LIST)], check=True)
        stamp.write_text(wanted)
    return str(program)


def rivet(url: str, kind: str, table: str, key: str, readers: int) -> Callable[[Path], list[str]]:
    """rivet: ranges of a dense key, its fast profile, Parquet with zstd."""

    def command(folder: Path) -> list[str]:
        config = {
            "source": {"type": kind, "url": url, "tuning": {"profile": "fast"}},
            "exports": [
                {
                    "name": "orders",
                    "table": table,
                    "mode": "chunked",
                    "chunk_column": key,
                    "chunk_size": 100_000,
                    "parallel": readers,
                    "format": "parquet",
                    "compression": "zstd",
                    "destination": {"type": "local", "path": str(folder / "out")},
                }
            ],
        }
        path = folder / "rivet.yaml"
        path.write_text(json.dumps(config))  # JSON is YAML
        return [str(HOME / "bin" / "rivet"), "run", "-c", str(path)]

    return command


def dlt(url: str, table: str) -> Callable[[Path], list[str]]:
    """dlt with its connectorx backend, to Parquet files in a folder."""
    return lambda folder: [python(), str(_DLT), url, table, str(folder)]


def ingestr(url: str, table: str) -> Callable[[Path], list[str]]:
    """ingestr, to a CSV file: it has no Parquet destination."""
    return lambda folder: [
        str(HOME / "bin" / "ingestr"),
        "ingest",
        *("--source-uri", url, "--source-table", table),
        *("--dest-uri", f"csv://{folder / 'orders.csv'}", "--dest-table", "orders"),
        *("--yes", "--progress", "log"),
    ]


def sling() -> str | None:
    """The sling program; None where its package has none for this machine."""
    found = sorted(HOME.glob("lib/python*/site-packages/sling_linux_amd64/bin/sling-linux-amd64"))
    return str(found[0]) if found else None


def sling_command(program: str, url: str, table: str) -> Callable[[Path], list[str]]:
    """sling, to a CSV file: for Parquet it downloads a program."""
    return lambda folder: [
        program,
        "run",
        *("--src-conn", url, "--src-stream", table, "--tgt-object", f"file://{folder / 'orders.csv'}"),
    ]

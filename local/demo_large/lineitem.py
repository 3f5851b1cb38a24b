"""TPC-H's largest table, made on the spot and copied straight into PostgreSQL.

Columns and types are those of the TPC-H specification, clause 1.4.1 (https://www.tpc.org/tpch/); the rows
come from ``tpchgen-cli``, which makes what the TPC's own ``dbgen`` makes.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from etl_runner.errors import PermanentError

ROWS_AT_1 = 6_001_215
"""At scale 1; clause 4.2.5."""
_PROGRAM = "tpchgen-cli"
_CREATE = """
CREATE TABLE lineitem (
    l_orderkey bigint NOT NULL,
    l_partkey bigint NOT NULL,
    l_suppkey bigint NOT NULL,
    l_linenumber integer NOT NULL,
    l_quantity numeric(15, 2) NOT NULL,
    l_extendedprice numeric(15, 2) NOT NULL,
    l_discount numeric(15, 2) NOT NULL,
    l_tax numeric(15, 2) NOT NULL,
    l_returnflag char(1) NOT NULL,
    l_linestatus char(1) NOT NULL,
    l_shipdate date NOT NULL,
    l_commitdate date NOT NULL,
    l_receiptdate date NOT NULL,
    l_shipinstruct char(25) NOT NULL,
    l_shipmode char(10) NOT NULL,
    l_comment varchar(44) NOT NULL
)
"""


def fill(connection: Any, scale: float) -> int:
    """Create the table and copy its rows in; their number.

    Raises:
        PermanentError: the generator is not installed, or failed.
    """
    connection.run(_CREATE)
    command = [
        _program(),
        "csv",
        "--scale-factor",
        f"{scale:g}",
        "--tables",
        "lineitem",
        "--stdout",
        "--quiet",
    ]
    generator = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        connection.run("COPY lineitem FROM STDIN WITH (FORMAT csv, HEADER)", stream=generator.stdout)
        rows = int(connection.row_count)
    finally:
        if generator.stdout is not None:
            generator.stdout.close()
        code = generator.wait()
    if code:
        raise PermanentError(f"{_PROGRAM} ended with {code}")
    if scale == 1 and rows != ROWS_AT_1:
        raise PermanentError(f"{_PROGRAM} made {rows:,} rows, and TPC-H has {ROWS_AT_1:,} at scale 1")
    connection.run("ALTER TABLE lineitem ADD PRIMARY KEY (l_orderkey, l_linenumber)")
    connection.run("VACUUM ANALYZE lineitem")
    return rows


def _program() -> str:
    # Beside the interpreter, whether or not its environment is active.
    found = shutil.which(_PROGRAM, path=str(Path(sys.executable).parent)) or shutil.which(_PROGRAM)
    if found is None:
        raise PermanentError(f"{_PROGRAM} is not installed: run `make setup`")
    return found

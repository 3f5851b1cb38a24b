"""``dask worker``, whose worker processes are forked from one that has imported what they all need: some
seconds less for each of them, and for each that takes the place of a killed one."""

from __future__ import annotations

import sys

_NEEDED = [
    "apache_beam.runners.dask.dask_runner",
    "etl_runner.execution.beam.pipeline",
    "tests.engines.scripted",
]

if __name__ == "__main__":
    import dask.config
    from dask.__main__ import main
    from distributed.utils import get_mp_context

    dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"})
    get_mp_context().set_forkserver_preload(["distributed", *_NEEDED])  # type: ignore[no-untyped-call]
    sys.argv[1:1] = ["worker"]
    main()  # type: ignore[no-untyped-call]

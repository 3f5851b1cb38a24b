"""The run history in BigQuery: ``etl_runs`` and ``etl_files``, one row a run and a file, exactly once.

A finished run leaves a note beside its receipt (:mod:`etl_runner.state.notes`), and a *drain* loads what all
noted runs have to tell in one load job a table, however many runs they are. A drain is a run of the commit
protocol itself, of a source that only the runner has (:mod:`etl_runner.history.streams`).
"""

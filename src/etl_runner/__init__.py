"""ETL Runner: loads databases and cloud files into BigQuery, every row exactly once.

The way of one row, and the package that carries it at each step::

    config      what to load (source document) and how to reach it (connection document)
    state       the one mutable object per source: slot, watermark, ledger
    planning    window, estimate, work units, engine: the run's immutable plan
    sources     a unit's rows as Arrow record batches
    convert     into the destination's types; rows that do not fit become rejects
    execution   a unit from reader to Parquet shards and its manifest
    commit      one BigQuery commit, then one compare-and-swap of the state
"""

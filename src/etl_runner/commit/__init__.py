"""The commit protocol: how a run's rows become visible exactly once.

Read in this order: :mod:`open_run` (taking the slot), :mod:`prepare` (from manifests to the commit
record), :mod:`roll_forward` (executing a record, by anybody, any number of times), :mod:`finalize` (the
step that the workflow calls), :mod:`close` (the ways out). The names of the steps are those of the model
in ``tests/model``.
"""

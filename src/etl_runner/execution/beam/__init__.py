"""The distributed engine: units of a plan over the workers of an Apache Beam runner (Dataflow).

Only this package imports Beam, and nothing that a function loads imports this package.
"""

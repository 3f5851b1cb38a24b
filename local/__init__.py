"""The whole topology on one machine: a stand-in for each Google service, on loopback, on free ports.

Production code speaks to these servers through the official clients and never knows: endpoints are part of
a deployment's settings. Nothing in ``src/`` imports this package except the command line's ``local`` part.
"""

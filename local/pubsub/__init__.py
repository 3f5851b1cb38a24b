"""Pub/Sub: an in-memory server that the official clients reach through ``PUBSUB_EMULATOR_HOST``.

Topics, publish, pull, streaming pull, push with a token, retry policies, dead letters, filters, ordering.
Not: seek, snapshots, schemas, exactly-once delivery; those calls answer UNIMPLEMENTED.
"""

from local.pubsub.server import PubSubServer

__all__ = ["PubSubServer"]

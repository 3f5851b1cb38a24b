"""A source's state: one mutable document, create-only objects beside it (DESIGN: objects)."""

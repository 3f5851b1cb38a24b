"""PostgreSQL as a source (server versions 13 and later)."""

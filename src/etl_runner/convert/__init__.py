"""Names and types: from what the source has to what the destination takes."""

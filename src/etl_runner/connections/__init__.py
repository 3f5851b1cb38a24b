"""Testing a connection: one sentence that says what answered, or what is wrong."""

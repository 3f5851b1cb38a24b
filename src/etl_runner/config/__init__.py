"""Source and connection documents: what they may say, and what is wrong with one that says otherwise."""

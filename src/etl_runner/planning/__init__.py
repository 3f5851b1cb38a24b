"""From a source and its state to an immutable plan: estimate, cut, choose."""

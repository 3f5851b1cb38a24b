"""A control plane that serves source documents over HTTP and is told what became of their runs."""

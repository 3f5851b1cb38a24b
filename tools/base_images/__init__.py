"""``python -m tools.base_images``: base images pinned by digest, as their registries answer."""

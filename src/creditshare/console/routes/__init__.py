"""Pages by kind of user; each handler shows one view or makes one change."""

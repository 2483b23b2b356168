"""May this be signed? Decides, never stores. Pure."""

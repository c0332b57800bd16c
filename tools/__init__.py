"""What the agents may touch: the only rooms with a door to the cluster, its metrics and its hosts."""

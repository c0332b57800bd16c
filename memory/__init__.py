"""What the agents remember between slots, epochs and runs, behind one protocol with two engines."""

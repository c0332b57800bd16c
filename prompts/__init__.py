"""What the agents are told, kept apart from the code so that a prompt can be read and changed as text."""

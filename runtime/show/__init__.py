"""What was decided in a run, from its folder alone: who keeps what, where prompts go, why, and how two runs differ."""

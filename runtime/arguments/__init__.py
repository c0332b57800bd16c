"""What each command of `runtime.cli` takes, and its help; the module of that name in `runtime.commands` does it."""

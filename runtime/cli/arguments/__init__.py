"""What each command of `edgewise` takes, and its help; the module of that name in `runtime.cli.commands` does it."""

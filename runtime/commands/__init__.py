"""What the commands of `runtime.cli` do; imported when one runs, so that --help does not wait for a compiler."""

"""What the commands of `edgewise` do; imported when one runs, so that --help does not wait for a compiler."""

"""The front door: `python -m runner` is the `edgewise` command."""

from runtime.cli.program import main

if __name__ == "__main__":
    main()

"""The front door: `python -m runner` is the `edgewise` command."""

from runtime.cli import main

if __name__ == "__main__":
    main()

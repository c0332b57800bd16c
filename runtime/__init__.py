"""Where slots run: the command line, the settings, the loop and the testbeds it drives."""

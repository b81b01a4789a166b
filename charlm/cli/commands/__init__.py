"""The way out: one subcommand a file, whose signature and docstring are its command line."""

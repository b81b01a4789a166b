"""The subcommands that need Lightning: fit, validate, test, predict, lr-find."""

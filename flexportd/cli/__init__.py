"""The command line: one module a group. Heavy modules are imported inside commands, so that `--help` is quick."""

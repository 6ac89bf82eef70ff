"""The daemon process: builds all parts, starts them in order, stops them in reverse; sockets, signals, systemd."""

"""The command line: one module a group of commands, each command parse, one call, one render.

May import every other package, but the heavy ones (aiohttp, pydantic, settings, daemon) only inside commands, so that
`--help` is quick. Exports nothing.
"""

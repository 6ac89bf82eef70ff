"""The help of `flexportd` itself: all commands on one screen, grouped by purpose."""

from collections.abc import Iterable

import click

HelpLine = tuple[tuple[click.Command, ...], str]
"""Commands that share a line, and its text."""


class HelpMenu(click.Group):
    """A group that shows its commands by purpose."""

    lines: list[tuple[str, str, str]]  # purpose, name or names, text

    def add_section(self, purpose: str, commands: Iterable[click.Command | HelpLine]) -> None:
        """Add commands of one purpose, in this order; related commands may share a line."""
        if not hasattr(self, "lines"):
            self.lines = []
        for entry in commands:
            group, about = entry if isinstance(entry, tuple) else ((entry,), "")
            for command in group:
                self.add_command(command)
            self.lines.append((purpose, ", ".join(command.name or "" for command in group), about))

    def add_unlisted(self, commands: Iterable[click.Command]) -> None:
        """Add commands without a line on the screen: `resources` lists them."""
        for command in commands:
            self.add_command(command)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click names it)
        """The commands in the order of the screen, then the unlisted ones."""
        listed = [name for _, names, _ in self.lines for name in names.split(", ")]
        return list(dict.fromkeys((*listed, *self.commands)))

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Usage, description, commands by purpose, options: less than 24 lines of 80 columns."""
        formatter.write(f"Usage: {ctx.command_path} [--config FILE] COMMAND ...\n\n{self.help}\n\n")
        room = max(len(purpose) for purpose, _, _ in self.lines) + 2
        names = max(len(name) for _, name, _ in self.lines) + 1
        before = None
        for purpose, name, text in self.lines:
            title = "" if purpose == before else purpose
            about = text or self.commands[name].get_short_help_str(limit=79 - room - names)
            formatter.write(f"{title:<{room}}{name:<{names}}{about}\n")
            before = purpose
        formatter.write("\n")
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                formatter.write(f"{record[0]:<{room + names}}{record[1]}\n")

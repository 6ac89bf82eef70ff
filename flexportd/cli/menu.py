"""The help of `flexportd` itself: every command on one screen, grouped by what it is for."""

from collections.abc import Iterable

import click


class Menu(click.Group):
    """A group that shows its commands by purpose."""

    purposes: dict[str, str]

    def add_all(self, purpose: str, commands: Iterable[click.Command]) -> None:
        """Add commands that serve one purpose, in this order."""
        if not hasattr(self, "purposes"):
            self.purposes = {}
        for command in commands:
            self.add_command(command)
            self.purposes[command.name or ""] = purpose

    def add_unlisted(self, commands: Iterable[click.Command]) -> None:
        """Add commands that the screen has no line for: another command names them."""
        for command in commands:
            self.add_command(command)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click names it)
        """The commands in the order of the screen, then those that it does not list."""
        return list(dict.fromkeys((*self.purposes, *self.commands)))

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Usage, what it is, commands by purpose, options: less than 24 lines of 80 columns."""
        formatter.write(f"Usage: {ctx.command_path} [--config FILE] COMMAND ...\n\n{self.help}\n\n")
        room = max(map(len, self.purposes.values())) + 2
        before = None
        for name, purpose in self.purposes.items():
            title = "" if purpose == before else purpose
            about = self.commands[name].get_short_help_str(limit=79 - room - 12)
            formatter.write(f"{title:<{room}}{name:<12}{about}\n")
            before = purpose
        formatter.write("\n")
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                formatter.write(f"{record[0]:<{room + 12}}{record[1]}\n")

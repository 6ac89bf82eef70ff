"""`flexportd completion`: shell completion of commands and options."""

import click

from flexportd.cli.command import NearestChoice

_PLACES = {
    "bash": "~/.local/share/bash-completion/completions/flexportd",
    "zsh": "_flexportd in a directory of $fpath",
    "fish": "~/.config/fish/completions/flexportd.fish",
}


@click.command()
@click.argument("shell", type=NearestChoice(list(_PLACES)))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a shell completion script.

    For bash: flexportd completion bash > ~/.local/share/bash-completion/completions/flexportd
    """
    from click.shell_completion import get_completion_class

    script = get_completion_class(shell)
    if script is None:
        raise click.UsageError(f"No completion is available for {shell}.", context)
    text = script(context.find_root().command, {}, "flexportd", "_FLEXPORTD_COMPLETE").source()
    click.echo(f"{text.strip()}\n\n# Save this as {_PLACES[shell]} and open a new shell.")

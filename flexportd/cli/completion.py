"""`flexportd completion`: what a shell needs to complete commands and options."""

import click

from flexportd.cli.asking import NearestChoice

_PLACES = {
    "bash": "~/.local/share/bash-completion/completions/flexportd",
    "zsh": "a file _flexportd in a folder of $fpath",
    "fish": "~/.config/fish/completions/flexportd.fish",
}


@click.command(short_help="Print a script that completes commands in your shell.")
@click.argument("shell", type=NearestChoice(list(_PLACES)))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that lets a shell complete commands and options.

    For bash: flexportd completion bash > ~/.local/share/bash-completion/completions/flexportd
    """
    from click.shell_completion import get_completion_class

    script = get_completion_class(shell)
    if script is None:
        raise click.UsageError(f"there is no completion for {shell}", context)
    text = script(context.find_root().command, {}, "flexportd", "_FLEXPORTD_COMPLETE").source()
    click.echo(f"{text.strip()}\n\n# Put this into {_PLACES[shell]} and open a new shell.")

"""Writes the page on the command line: `python -m databosun.cli.reference > docs/reference/cli.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from enum import Enum

from typer.core import TyperCommand, TyperGroup, TyperOption
from typer.main import get_command

from databosun.cli.main import app

_HEAD = """# Command line

<!-- Generated from operator/databosun/cli/main.py. Do not edit. -->

`databosun` and `kubectl bosun` are the same program: the second name makes it a plugin of kubectl. How to install it,
and what to do with it, stands in [how-to/command-line.md](../how-to/command-line.md).

| exit code | meaning |
| --- | --- |
| 0 | It was done; with `backup --wait`: the backup succeeded. |
| 1 | It could not be done, and standard error says why. Or what was looked at is not well: `backup --wait`, `doctor`, \
`status --exit-code`. |
| 2 | The command line is not understood. |
| 124 | With `--wait`: still going on at `--timeout`. |
| 130 | Ctrl-C. What was started goes on. |

Colours appear on terminals only, and not where `NO_COLOR` is set.
"""


def reference() -> str:
    """The page, in Markdown."""
    root = get_command(app)
    return "\n".join([_HEAD, *_commands(root, ("databosun",))])


def _commands(command: object, path: tuple[str, ...]) -> Iterator[str]:
    """A section for each command, in the order of the help."""
    if isinstance(command, TyperGroup):
        for name, inner in command.commands.items():
            yield from _commands(inner, (*path, name))
    elif isinstance(command, TyperCommand):
        yield from _section(command, path)


def _section(command: TyperCommand, path: tuple[str, ...]) -> Iterator[str]:
    arguments = [one for one in command.params if not isinstance(one, TyperOption)]
    options = [one for one in command.params if isinstance(one, TyperOption)]
    names = "".join(f" {str(one.name).upper()}" for one in arguments)
    yield f"## {' '.join(path)}{names}\n"
    yield f"{_text(command.help)}\n"
    if options:
        yield "| option | meaning |\n| --- | --- |"
        yield "".join(f"| {_names(one)} | {_meaning(one)} |\n" for one in options)


def _names(option: TyperOption) -> str:
    value = "" if option.is_flag else f" {option.metavar or _choices(option)}"
    names = [*option.opts, *option.secondary_opts]
    return ", ".join(f"`{name}{value}`" for name in names)


def _choices(option: TyperOption) -> str:
    default = option.default
    return "\\|".join(str(one.value) for one in type(default)) if isinstance(default, Enum) else "TEXT"


def _meaning(option: TyperOption) -> str:
    default = option.default
    shown = getattr(default, "value", default)
    plain = option.is_flag or shown is None or option.required
    return (option.help or "") + ("" if plain else f" Default: `{shown}`.") + (" Required." if option.required else "")


def _text(help: str | None) -> str:
    """The help's paragraphs."""
    return "\n\n".join(" ".join(part.split()) for part in (help or "").split("\n\n"))


if __name__ == "__main__":
    sys.stdout.write(reference())

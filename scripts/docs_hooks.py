"""What the documentation site makes when it is built: the command-line reference, and pictures out of ``results``.

MkDocs calls `on_files` and `on_page_markdown` (see ``hooks`` in mkdocs.yml).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from typer.main import get_command

from shallowdeep.cli.main import app

ROOT = Path(__file__).parents[1]
REFERENCE = "reference/cli.md"
PICTURE = re.compile(r"\((?:\.\./)*\.\./(results/[\w./-]+\.(?:png|svg))\)")
"""A picture that a page shows out of ``results``, which lies beside ``docs``: no picture is kept twice."""

INTRODUCTION = """\
# Command line

This page is made from the program's own help when the site is built. `shallowdeep COMMAND --help` prints the same.

Every command takes `--json`: one JSON document on standard output and nothing else there. Progress and notes go to
standard error. Accuracies, shares and costs in it are fractions, not per cent.

Exit status: 0; 1 when some inputs of a batch failed; 2 for bad usage or bad input, with one line that says what was
expected and what was got; 130 after Ctrl-C.
"""


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the command-line reference, and the pictures that pages show out of ``results``."""
    shown = {name for page in files.documentation_pages() for name in PICTURE.findall(page.content_string)}
    files.append(File.generated(config, REFERENCE, content=reference()))
    for name in sorted(shown):
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links to these pictures point into the site, where ``results`` is one folder nearer."""
    del page, config, files
    return PICTURE.sub(lambda found: found[0].replace("../", "", 1), markdown)


def reference() -> str:
    """Return the page of the command line, in Markdown."""
    root: Any = get_command(app)
    parts = [INTRODUCTION, *(_section(command, name) for name, command in _commands(root, "shallowdeep"))]
    return "\n".join(parts)


def _commands(group: Any, name: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - typer ships its own click
    """Yield the commands of a group with their full names, those of groups in it behind the group itself."""
    for short, command in group.commands.items():
        if command.hidden:
            continue
        full = f"{name} {short}"
        yield full, command
        if hasattr(command, "commands"):
            yield from _commands(command, full)


def _section(command: Any, name: str) -> str:  # noqa: ANN401
    """Return a command's heading, help, usage, arguments and options."""
    is_group = hasattr(command, "commands")
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    arguments = [parameter for parameter in shown if parameter.param_type_name == "argument"]
    options = [parameter for parameter in shown if parameter.param_type_name == "option"]
    lines = [f"## {name}", "", _text(command.help or ""), ""]
    usage = " ".join([name, *(_argument_name(a) for a in arguments), *(_needed(o) for o in options if o.required)])
    lines += [f"    {usage} COMMAND" if is_group else f"    {usage} [OPTIONS]", ""]
    lines += _entries((f"`{_argument_name(argument)}`", argument) for argument in arguments)
    lines += _entries((_option_name(option), option) for option in options)
    return "\n".join(lines)


def _entries(named: Iterable[tuple[str, Any]]) -> list[str]:
    """Return a definition list of parameters by how they are written."""
    lines: list[str] = []
    for name, parameter in named:
        required = parameter.required and parameter.param_type_name == "option"
        notes = [_text(parameter.help or ""), "Required." if required else _default(parameter)]
        lines += [name, f":   {' '.join(note for note in notes if note)}", ""]
    return lines


def _argument_name(argument: Any) -> str:  # noqa: ANN401
    """Return how an argument is written: RUN, [RUN], IMAGES..."""
    name = argument.metavar or argument.name.upper()
    name = f"{name}..." if argument.nargs == -1 else name
    return name if argument.required else f"[{name}]"


def _needed(option: Any) -> str:  # noqa: ANN401
    """Return how an option that must be there stands in the usage."""
    return f"{option.opts[-1]} {_kind(option)}"


def _option_name(option: Any) -> str:  # noqa: ANN401
    """Return how an option is written, its kind beside it unless it is a flag."""
    names = ", ".join(f"`{name}`" for name in option.opts)
    if option.secondary_opts:
        names += " / " + ", ".join(f"`{name}`" for name in option.secondary_opts)
    return names if option.is_flag else f"{names} *{_kind(option)}*"


def _kind(option: Any) -> str:  # noqa: ANN401
    """Return what an option takes."""
    kinds = {"int": "INT", "float": "NUMBER", "str": "TEXT", "Path": "PATH"}
    name = str(option.type_descriptor.annotation.__name__)
    return str(option.metavar or kinds.get(name, name.upper()))


def _default(parameter: Any) -> str:  # noqa: ANN401
    """Return the default where the help does not name it already: none for flags, or where there is none."""
    value = parameter.default
    empty = value is None or value is False or callable(value) or type(value).__name__ == "Sentinel"
    if parameter.param_type_name == "argument" or empty or "(default:" in (parameter.help or ""):
        return ""
    return f"Default: `{value}`."


def _text(value: str) -> str:
    """Return help as Markdown: one paragraph, option names as code, defaults in a sentence of their own."""
    line = " ".join(value.split()).replace("<", "&lt;")
    line = re.sub(r"\(default: (.*?)\)", r"Default: \1.", line)
    return re.sub(r"(?<![\w`-])(--[a-z][a-z-]*)(?![\w`])", r"`\1`", line)

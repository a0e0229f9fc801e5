"""`@command`: from a function that takes settings to a command with options, help and error messages.

    @command(examples=("glpn predict photo.jpg",), arguments={"photos": Argument(...)})
    def predict(console: Console, photos: tuple[str, ...], *, output: OutputSettings, overwrite: bool) -> None: ...

Each settings class among the parameters becomes the options of its fields (`options.OPTIONS`), every other parameter
one option (`options.COMMON`, or the command's own) or argument. Values are converted by their settings class, in
one way for the command line and for Python.
"""

from __future__ import annotations

import inspect
import os
import re
import shutil
import textwrap
import typing
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from glpn_cli._version import __version__
from glpn_cli.cli.console import Console
from glpn_cli.cli.options import COMMON, OPTIONS, PANELS, Argument, Option, flag_of
from glpn_cli.convert import convert_value, field_types, without_none
from glpn_cli.errors import UsageError
from glpn_cli.output.formats import FORMATS, find_formats
from glpn_cli.settings import LoggingSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

_NARROWEST, _WIDEST = 40, 100
_NAME_COLUMNS = 28


@dataclass(frozen=True)
class _Parameter:
    """One option or argument of a command.

    Attributes:
        name: of the settings field or the command's parameter.
        kind: the type of its values.
        row: how it is written and described.
        owner: the settings class, or None.
        default: the default in help.
    """

    name: str
    kind: Any
    row: Option | Argument
    owner: type | None = None
    default: Any = None

    @property
    def is_flag(self) -> bool:
        return without_none(self.kind) is bool

    @property
    def is_repeatable(self) -> bool:
        return Ellipsis in typing.get_args(without_none(self.kind))

    @property
    def choices(self) -> list[str]:
        kind = without_none(self.kind)
        if self.is_repeatable:
            kind = typing.get_args(kind)[0]
        is_choice = isinstance(kind, type) and issubclass(kind, Enum)
        return [str(member.value) for member in kind] if is_choice else []

    @property
    def metavar(self) -> str:
        return "" if self.is_flag else self.row.metavar or "|".join(self.choices) or "TEXT"

    @property
    def default_text(self) -> str:
        """The default as help shows it; empty if it is obvious."""
        if isinstance(self.row, Argument) or self.is_flag or self.default is MISSING:
            return ""
        if self.row.default:
            return self.row.default
        if isinstance(self.default, tuple):
            return ", ".join(map(str, self.default))
        if isinstance(self.default, float):
            return f"{self.default:g}"
        return "" if self.default is None else str(self.default)

    def declaration(self) -> inspect.Parameter:
        """Return the parameter for Typer, which passes text on unchanged."""
        complete = self.row.complete or (lambda: self.choices)
        completion = _completer(complete) if self.row.complete or self.choices else None
        plain: Any = bool if self.is_flag else str
        if self.is_repeatable or (isinstance(self.row, Option) and self.row.once):
            plain = list[plain]
        if isinstance(self.row, Argument):
            info: Any = typer.Argument(metavar=self.row.metavar, help=self.row.help, autocompletion=completion)
        else:
            names = [self.row.flag or flag_of(self.name), *filter(None, [self.row.short]), *self.row.aliases]
            info = typer.Option(
                *names, metavar=None if self.is_flag else self.metavar, help=self.row.help, autocompletion=completion
            )
        needed = self.row.required
        return inspect.Parameter(
            self.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if needed else None,
            annotation=Annotated[plain if needed else plain | None, info],
        )


def command(
    *,
    arguments: Mapping[str, Argument] | None = None,
    options: Mapping[str, Option] | None = None,
    examples: Sequence[str] = (),
    without: Iterable[str] = (),
    name: str | None = None,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function a command.

    Args:
        arguments: its positional arguments, by parameter.
        options: rows of parameters that are not in `COMMON`, or that differ from them.
        examples: command lines for the end of the help.
        without: settings fields that are not options of this command.
        name: the command's name; by default that of the function.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        hints = typing.get_type_hints(function, include_extras=True)
        groups = {parameter: hint for parameter, hint in hints.items() if _settings_of(hint)}
        parameters = list(_parameters(function, hints, arguments or {}, options or {}, set(without)))

        def run(**values: Any) -> None:
            flags = {item.name: flag_of(item.name, item.row) for item in parameters if isinstance(item.row, Option)}
            given = {item.name: values[item.name] for item in fields(LoggingSettings) if values[item.name] is not None}
            with Console().errors_reported():
                logging = LoggingSettings(**given)
            console = Console(logging, flags)
            with console.errors_reported():
                function(console, **_arguments(values, parameters, groups, hints))

        signature = [parameter.declaration() for parameter in parameters]
        signature += [_help_all(), _version()]
        run.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]  # where Typer looks
        run.__annotations__ = {item.name: item.annotation for item in signature}
        run.__name__, run.__doc__, run.__module__ = function.__name__, function.__doc__, function.__module__
        run.help_class = _help_class(parameters, examples)  # type: ignore[attr-defined]
        run.command_name = name or function.__name__.replace("_", "-")  # type: ignore[attr-defined]
        run.parameters = parameters  # type: ignore[attr-defined]  # for the generated page of options
        return run

    return decorate


def add_command(app: typer.Typer, added: Any) -> None:
    """Add a decorated function, or a group of commands, to a program or a group."""
    if isinstance(added, typer.Typer):
        app.add_typer(added)
    else:
        app.command(added.command_name, cls=added.help_class)(added)


def _parameters(
    function: Callable[..., None],
    hints: Mapping[str, Any],
    arguments: Mapping[str, Argument],
    options: Mapping[str, Option],
    without: set[str],
) -> Iterator[_Parameter]:
    """Yield the options and arguments of a command, from its signature."""
    seen: set[str] = set()
    for name, parameter in list(inspect.signature(function).parameters.items())[1:]:
        hint = hints[name]
        settings = _settings_of(hint)
        if settings is not None:
            kinds = field_types(settings)
            for item in fields(settings):
                if item.name in OPTIONS[settings] and item.name not in without | seen:
                    seen.add(item.name)
                    row = options.get(item.name, OPTIONS[settings][item.name])
                    yield _Parameter(item.name, kinds[item.name], row, settings, item.default)
        elif name in arguments:
            yield _Parameter(name, hint, arguments[name])
        else:
            default = None if parameter.default is inspect.Parameter.empty else parameter.default
            yield _Parameter(name, hint, options.get(name) or COMMON[name], default=default)
    for item in fields(LoggingSettings):
        kind = field_types(LoggingSettings)[item.name]
        yield _Parameter(item.name, kind, OPTIONS[LoggingSettings][item.name], LoggingSettings, item.default)


def _settings_of(hint: Any) -> Any:
    """Return the settings class of a parameter: the annotation, or that of `Annotated[dict[str, Any], Class]`."""
    if typing.get_origin(hint) is Annotated:
        hint = typing.get_args(hint)[1]
    return hint if is_dataclass(hint) else None


def _arguments(
    values: Mapping[str, Any], parameters: Sequence[_Parameter], groups: Mapping[str, Any], hints: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the arguments of the command's function: settings are built, other values converted."""
    given = {name: _expand_home(value) for name, value in values.items() if value not in (None, [])}
    for item in parameters:
        if isinstance(item.row, Option) and item.row.once and item.name in given:
            if len(given[item.name]) > 1:
                raise UsageError("was given more than once", setting=item.name)
            (given[item.name],) = given[item.name]
    for item in parameters:
        if isinstance(item.row, Argument) and item.row.fills:
            _fill(item, item.row.fills, given)
    gathered: dict[str, Any] = {}
    for group, hint in groups.items():
        settings = _settings_of(hint)
        named = {item.name: given[item.name] for item in fields(settings) if item.name in given}
        if settings is hint:
            gathered[group] = settings(**named)
        else:  # a command that merges what was given with other settings
            gathered[group] = named
    for parameter in parameters:
        if parameter.owner is None and not (isinstance(parameter.row, Argument) and parameter.row.fills):
            gathered[parameter.name] = _own_value(parameter, given, hints[parameter.name])
    return gathered


def _own_value(parameter: _Parameter, given: Mapping[str, Any], hint: Any) -> Any:
    """Return the value of a parameter that belongs to no settings class, converted."""
    value = given.get(parameter.name, parameter.default)
    if parameter.name == "formats" and value is not None:
        value = [row.name for row in find_formats(value)]
    if value is None and (parameter.is_repeatable or parameter.is_flag):
        value = () if parameter.is_repeatable else False
    return convert_value(parameter.name, value, hint)


def _expand_home(value: Any) -> Any:
    """Return a value with a leading `~/` expanded, which shells do not do in `--out=~/depths`."""
    if isinstance(value, list):
        return [_expand_home(item) for item in value]
    return os.path.expanduser(value) if isinstance(value, str) and value.startswith("~/") else value


def _fill(argument: _Parameter, option: str, given: dict[str, Any]) -> None:
    """Use a positional argument as the value of an option.

    Raises:
        UsageError: both are given, or neither.
    """
    value = given.pop(argument.name, None)
    if value is None and option not in given:
        raise UsageError(f"missing argument '{argument.metavar}'", hint=f"it may also be set by `{option}`")
    if value is not None:
        if option in given:
            raise UsageError("was given more than once", setting=option)
        given[option] = value


def _completer(complete: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    def matching(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")  # of several formats
        return [before + comma + value for value in complete() if value.startswith(last)]

    return matching


# Help

_SHOW_ALL = "glpn_cli.help_all"


def _help_all() -> inspect.Parameter:
    option = typer.Option("--help-all", help="Show all options.", callback=_print_all_help, is_eager=True)
    return inspect.Parameter(
        "help_all", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, option]
    )


def _version() -> inspect.Parameter:
    option = typer.Option("--version", callback=print_version, is_eager=True, hidden=True)
    return inspect.Parameter(
        "version", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, option]
    )


def _print_all_help(ctx: typer.Context, asked: bool) -> None:
    if asked:
        ctx.meta[_SHOW_ALL] = True
        typer.echo(ctx.get_help())
        raise typer.Exit


def _help_class(parameters: Sequence[_Parameter], examples: Sequence[str]) -> type[TyperCommand]:
    """Return a command class that writes the help of these parameters."""

    class Command(TyperCommand):
        def format_help(self, ctx: Any, formatter: Any) -> None:
            show_all = bool(ctx.meta.get(_SHOW_ALL))
            formatter.write("\n".join(_help_lines(ctx.command_path, self.help or "", parameters, examples, show_all)))
            formatter.write("\n")

    return Command


def _help_lines(
    path: str, text: str, parameters: Sequence[_Parameter], examples: Sequence[str], show_all: bool
) -> Iterator[str]:
    """Yield the lines of a command's help."""
    arguments = [item for item in parameters if isinstance(item.row, Argument)]
    required = [_flag_and_value(item) for item in parameters if isinstance(item.row, Option) and item.row.required]
    named = [item.metavar if item.row.required else f"[{item.metavar}]" for item in arguments]
    usage = " ".join([path, *required, "[OPTIONS]", *named])
    yield from _wrap(f"{_heading('Usage:')} {usage}", _width() + len(_heading("")), "       ")
    yield ""
    yield from _paragraphs(text)
    if arguments:
        yield from ("", _heading("Arguments:"))
        for item in arguments:
            yield from _entry(item.metavar, item.row.help)
    hidden = 0
    for panel in PANELS:
        rows = [item for item in parameters if isinstance(item.row, Option) and item.row.panel == panel]
        shown = [item for item in rows if show_all or not item.row.rare]  # type: ignore[union-attr]
        hidden += len(rows) - len(shown)
        if shown:
            yield from ("", _heading(f"{panel}:"))
        for item in shown:
            yield from _entry(_option_names(item), _described(item))
    if show_all and any(item.name == "formats" for item in parameters):
        yield from ("", _heading("Formats:"))
        for row in FORMATS.values():
            yield from _entry(row.name, f"NAME{row.ending}: {row.holds}.")
    yield from ("", _heading("Help:"))
    yield from _entry("-h, --help", "Show this help.")
    more = f"Show all options ({hidden} more)." if hidden else "Show all options."
    yield from _entry("--help-all", more)
    if examples:
        yield from ("", _heading("Examples:"))
        for example in examples:
            together = re.sub(r"(?<= )(--?\w\S*) (?=[^-])", "\\1\xa0", example)  # an option and its value
            *lines, last = (line.replace("\xa0", " ") for line in _wrap(f"  {together}", _width() - 2, "      "))
            yield from (f"{line} \\" for line in lines)
            yield last


def _described(item: _Parameter) -> str:
    """Return the help of an option and its default."""
    if isinstance(item.row, Option) and item.row.required:
        return f"{item.row.help} Required."
    return f"{item.row.help} Default: {item.default_text}." if item.default_text else item.row.help


def _option_names(item: _Parameter) -> str:
    short = item.row.short if isinstance(item.row, Option) else ""
    return f"{short + ', ' if short else ''}{_flag_and_value(item)}"


def _flag_and_value(item: _Parameter) -> str:
    flag = (item.row.flag if isinstance(item.row, Option) else "") or flag_of(item.name)
    shown = re.sub(r"--(.*)/--no-\1", r"--[no-]\1", flag)
    return f"{shown} {item.metavar}".rstrip()


def _width() -> int:
    return max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size((80, 24)).columns))


def _heading(text: str) -> str:
    return typer.style(text, bold=True)


def _wrap(text: str, width: int, indent: str = "") -> list[str]:
    """Return lines of whole words; a list of choices may also break after a "|"."""
    lines = textwrap.wrap(
        text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, replace_whitespace=False
    )
    if all(len(line) <= width for line in lines):
        return lines
    spaced = textwrap.wrap(
        text.replace("|", "| "), width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return [line.replace("| ", "|") for line in spaced]


def _paragraphs(text: str) -> Iterator[str]:
    for index, paragraph in enumerate(inspect.cleandoc(text).split("\n\n")):
        if index:
            yield ""
        yield from _wrap(" ".join(paragraph.split()), _width())


def _entry(names: str, text: str) -> Iterator[str]:
    """Yield an option and its text beside it, or below it if there is no room."""
    column = _NAME_COLUMNS if _width() >= 2 * _NAME_COLUMNS else 6
    indent = " " * column
    lines = _wrap(text, _width() - column) or [""]
    if len(names) + 4 <= column:
        yield f"  {names:<{column - 2}}{lines.pop(0)}".rstrip()
    else:
        yield from _wrap(f"  {names}", _width(), "    ")
    yield from (indent + line for line in lines)


class HelpGroup(TyperGroup):
    """A group of commands whose help has the look of a command's."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the commands, each with the first line of its help."""
        lines = [f"{_heading('Usage:')} {ctx.command_path} COMMAND ...", "", *_paragraphs(self.help or "")]
        lines += ["", _heading("Commands:")]
        for name in self.list_commands(ctx):
            found = self.get_command(ctx, name)
            text = (getattr(found, "help", None) or "").strip().split("\n\n")[0]
            lines += _entry(name, " ".join(text.split()))
        lines += ["", _heading("Options:")]
        for option in self.get_params(ctx):
            names = ", ".join(sorted(option.opts, key=len))
            lines += _entry(
                names, "Show this help." if "--help" in option.opts else getattr(option, "help", None) or ""
            )
        if self.epilog:
            lines += ["", *_paragraphs(self.epilog)]
        formatter.write("\n".join(lines) + "\n")


def print_version(asked: bool) -> None:
    """Print the version and exit, if asked."""
    if asked:
        typer.echo(f"glpn {__version__}")
        raise typer.Exit

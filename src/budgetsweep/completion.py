"""`budgetsweep completion SHELL`: Tab completes commands, settings and their values, options, files.

What is printed is a function that asks `budgetsweep completion SHELL --line ...` for the candidates, and
leaves it to the shell to complete files where there are none.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any

_BASH = """\
_budgetsweep() {
    local line=${COMP_LINE:0:COMP_POINT} IFS=$'\\n'
    local word=${line##* }
    COMPREPLY=($("$1" completion bash --line "$line" 2>/dev/null))
    if [[ $COMP_WORDBREAKS == *=* && $word == *=* ]]; then
        COMPREPLY=("${COMPREPLY[@]#"${word%=*}="}")  # only what follows is replaced
    fi
    [[ $COMPREPLY != *[=./] ]] || compopt -o nospace 2>/dev/null
}
complete -o default -F _budgetsweep budgetsweep
"""
_ZSH = """\
_budgetsweep() {
    local -a found
    found=(${(f)"$($words[1] completion zsh --line "$words[1,CURRENT-1] $PREFIX" 2>/dev/null)"})
    if (( $#found )); then
        compadd -S '' -- ${(M)found:#*[=./]}
        compadd -- ${found:#*[=./]}
    else
        _files
    fi
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
compdef _budgetsweep budgetsweep
"""
_FISH = """\
function __budgetsweep
    set -l words (commandline -opc)
    set -l line (commandline -cp | string collect)
    set -l found ($words[1] completion fish --line $line 2>/dev/null | string match -r '.+')
    if set -q found[1]
        printf '%s\\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c budgetsweep -f -a '(__budgetsweep)'
"""
_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
# Hydra completes what can be overridden, but no options of its own.
_HYDRA_OPTIONS = (
    "--cfg", "--config-dir", "--help", "--hydra-help", "--info", "--multirun", "--package", "--resolve",
)  # fmt: skip


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        "budgetsweep completion",
        description="Print what lets a shell complete commands, settings, options and files.",
        epilog="""to switch it on, now or in the shell's own file:
  eval "$(budgetsweep completion bash)"        ~/.bashrc
  eval "$(budgetsweep completion zsh)"         ~/.zshrc
  budgetsweep completion fish | source         ~/.config/fish/config.fish
""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("shell", choices=_SCRIPTS)
    p.add_argument("--line", help=argparse.SUPPRESS)  # what was typed, up to the cursor
    return p


def main(argv: Sequence[str] | None = None) -> None:
    """Print the shell's function, or the candidates it asks for, one a line."""
    args = parser().parse_args(argv)
    if args.line is None:
        print(_SCRIPTS[args.shell], end="")
    else:
        _complete(args.line)


def _complete(line: str) -> None:
    from budgetsweep.commands import COMMANDS

    start, _, word = line.rpartition(" ")
    try:
        _, *words = shlex.split(start)
    except ValueError:  # the word has begun with a quote that is still open
        return
    if not words:
        _print_matches(word, COMMANDS)
    elif words[0] in COMMANDS:
        _complete_command(word, *words)


def _complete_command(word: str, name: str, *given: str) -> None:
    module = _module(name)
    if hasattr(module, "parser"):
        usage = module.parser().format_usage()
        _print_matches(word, _of_usage(usage, word, given))
        if not word.startswith("-") and _takes_settings(usage, given):
            _ask_hydra("sweep", word, [w for w in given if "=" in w and not w.startswith("-")])
    elif word.startswith("-"):
        _print_matches(word, _HYDRA_OPTIONS)
    else:
        _ask_hydra(name, word, given)


def _of_usage(usage: str, word: str, given: Sequence[str]) -> Iterable[str]:
    """The options, or the values of the last one that was given, where these are a closed set."""
    options = re.findall(r"--[\w-]+", usage)
    if word.startswith("-"):
        return options
    last = next((w for w in reversed(given) if w in options), "")
    choices = dict(re.findall(r"(?:(--[\w-]+)\s+)?\{(.*?)\}", usage))
    return choices.get(last, "").split(",")


def _takes_settings(usage: str, given: Sequence[str]) -> bool:
    """Whether key=value may come next: at once, or after the folder that comes before them."""
    before = re.search(r"(\S+)\s+\[key=value", usage)
    return before is not None and (
        before[1].endswith("]") or any(not w.startswith("-") for w in given)
    )


def _ask_hydra(name: str, word: str, given: Sequence[str]) -> None:
    """Let Hydra print keys, groups and their values, given the overrides before them."""
    many = ["--multirun"] if name == "sweep" else []
    words = [*many, *(w for w in given if " " not in w)]  # Hydra takes each blank for an end
    os.environ["COMP_LINE"] = " ".join(["budgetsweep", *words, word])
    sys.argv[1:] = ["--shell-completion", "query=fish"]  # fish's: one a line
    _module(name).main()


def _module(command: str) -> Any:
    from budgetsweep.commands import COMMANDS

    return import_module(COMMANDS[command][0].partition(":")[0])


def _print_matches(word: str, candidates: Iterable[str]) -> None:
    for candidate in candidates:
        if candidate and candidate.startswith(word):
            print(candidate)

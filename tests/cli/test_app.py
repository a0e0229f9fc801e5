from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from glpn_cli.cli.app import build_app

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    Glpn = Callable[..., subprocess.CompletedProcess[bytes]]


def complete(glpn_process: Glpn, words: str) -> set[str]:
    """Ask for what bash would be offered after some words."""
    environment = {"_GLPN_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
    return set(glpn_process(**environment, program="glpn").stdout.decode().split())


@pytest.mark.skipif(os.name == "nt", reason="bash")
def test_completion_knows_commands_options_and_their_values(glpn_process: Glpn) -> None:
    assert "predict" in complete(glpn_process, "glpn pre")
    # The second is one that the short help leaves out.
    assert {"--precision", "--png-compression"} <= complete(glpn_process, "glpn predict --")
    assert complete(glpn_process, "glpn predict --precision b") == {"bfloat16"}


def test_help_without_arguments_and_with_both_options(glpn: Glpn) -> None:
    for arguments in ([], ["--help"], ["-h"]):
        assert b"predict" in glpn(*arguments).stdout + glpn(*arguments).stderr
    assert b"--format" in glpn("predict", "-h").stdout


def test_a_command_that_is_named_comes_alone_and_all_come_otherwise() -> None:
    everything = {each.name or each.callback.__name__ for each in build_app().registered_commands if each.callback}
    assert {"predict", "batch", "train", "download_weights"} <= everything
    for asked in (None, "", "--version", "nonsense"):
        assert len(build_app(asked).registered_commands) == len(everything)
    alone = build_app("download-weights")
    assert [each.callback.__name__ for each in alone.registered_commands if each.callback] == ["download_weights"]
    assert not alone.registered_groups
    assert [group.typer_instance for group in build_app("weights").registered_groups if group.typer_instance]
    assert not build_app("weights").registered_commands

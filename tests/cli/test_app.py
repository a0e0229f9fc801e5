from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

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

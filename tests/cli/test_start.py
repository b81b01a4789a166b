"""How the command starts and ends: its help, its completion, what it imports, and its processes."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import charlm
from charlm.cli.subcommands import COMMANDS, TRAINER_COMMANDS

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Lightning's own use of jsonargparse


@pytest.mark.parametrize("args", [[], ["--help"]])
def test_help_lists_every_command(args, cli):
    done = cli(*args)
    assert (done.status, done.err) == (0, "")
    assert re.findall(r"^  ([a-z-]+)  +\w", done.out, re.M) == [*TRAINER_COMMANDS, *COMMANDS]
    assert cli("--version").out == f"charlm {charlm.__version__}\n"


@pytest.mark.parametrize("command", [*TRAINER_COMMANDS, *COMMANDS])
def test_every_command_has_a_help_of_its_own(command, cli):
    done = cli(command, "--help")
    assert (done.status, done.err) == (0, "")
    assert re.match(rf"usage: charlm (\[options\] )?{command} \[", done.out)
    assert ("one of the shipped configs: bigram, " in " ".join(done.out.split())) == (command in TRAINER_COMMANDS)


IMPORTS = """
import sys
from pathlib import Path
from charlm.cli.main import main
def say():
    print(*{"torch", "lightning", "tensorboard", "matplotlib"}.intersection(sys.modules), file=sys.stderr)
def run(line):
    main(line.split())
    say()
run("")
run("--version")
run("summary lightning_logs")
from charlm.cli.commands.dashboard import serve
serve(Path("lightning_logs"), "127.0.0.1", 0)
say()
run("plot lightning_logs --out a.png")
run("sample --new-only -n 3")
run("score anna")
"""


@pytest.mark.usefixtures("run")
def test_a_command_imports_no_more_than_it_needs():
    """Of these only `sample` and `score` need torch, and none needs Lightning."""
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, timeout=120)
    seen = [set(line.split()) for line in done.stderr.splitlines()]
    assert seen[:3] == [set(), set(), set()]
    assert seen[3] == {"tensorboard"}
    assert seen[4] == {"tensorboard", "matplotlib"}
    assert seen[5:] == [{"tensorboard", "matplotlib", "torch"}] * 2


def test_as_a_process_it_trains_with_a_bar_and_without_noise(small, python):
    """No advertisement, no warning and nothing else that a user cannot act on."""
    done = python("-m", "charlm", "fit", "--config", small)
    assert done.returncode == 0
    lines = [line for line in re.split(r"[\r\n]+", done.stderr) if line.strip()]
    expected = r"Seed set to|.*names over \d+ characters|.*(GPU|TPU) available|.*\d+ steps \["
    assert [line for line in lines if not re.match(expected, line)] == []
    assert "4/4 steps" in done.stderr
    assert "The first 10 names" in done.stdout


def test_a_reader_that_has_enough_ends_the_command_quietly(run):
    script = f'"{sys.executable}" -m charlm sample -n 20000 --max-length 5 --checkpoint {run} | head -n 1'
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {script}"], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (0, 1, "")


def test_the_completion_knows_commands_models_and_options(cli):
    done = cli("--print_completion=shtab-bash")
    assert done.status == 0
    Path("completion.sh").write_text(done.out)
    script = """source completion.sh
    complete -p charlm
    complete_words() { COMP_WORDS=(charlm "$@"); COMP_CWORD=$#; COMPREPLY=(); _shtab_charlm; echo "${COMPREPLY[@]}"; }
    complete_words comp
    complete_words fit --model ""
    complete_words fit --model.n_hi
    """
    answer = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert "_charlm" in answer.stdout.splitlines()[0]
    commands, models, options = map(str.split, answer.stdout.splitlines()[1:])
    assert commands == ["compare-counts"]
    assert {"LitMLP", "LitBigram"} <= {model.split(".")[-1] for model in models}
    assert options == ["--model.n_hidden"]

"""How the command starts and ends: its help, its completion, what it imports, and its processes."""

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

import charlm
from charlm.cli.command_parser import command_function
from charlm.cli.main import main
from charlm.cli.subcommands import COMMANDS, TRAINER_COMMANDS


@pytest.mark.parametrize("args", [[], ["--help"]])
def test_help_lists_every_command(args, cli):
    done = cli(*args)
    assert (done.status, done.err) == (0, "")
    assert re.findall(r"^  ([a-z-]+)  +\w", done.out, re.M) == [*TRAINER_COMMANDS, *COMMANDS]
    assert cli("--version").out == f"charlm {charlm.__version__}\n"


def test_a_command_does_its_work_without_docstrings_as_under_python_oo(cli, monkeypatch):
    monkeypatch.setattr(command_function("sample"), "__doc__", None)
    assert "--temperature" in cli("sample", "--help").out


def test_a_command_without_standard_output_does_its_work(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--print_config"])
    sys.stdout.close()
    assert stop.value.code == 0


def test_a_backend_that_matplotlib_has_no_more_is_a_sentence(tmp_path):
    command = [sys.executable, "-P", "-m", "charlm", "plot", "--out", "a.jpgg"]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "MPLBACKEND": "Qt4Agg"}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert re.match(
        "charlm: error: the environment has MPLBACKEND=Qt4Agg, which matplotlib refuses; unset it", done.stderr
    )


def test_a_working_directory_that_was_deleted_is_a_sentence(cli, tmp_path, monkeypatch):
    monkeypatch.chdir((tmp_path / "here").mkdir() or tmp_path / "here")
    Path("../here").rmdir()
    assert cli("summary").err == "charlm: error: the directory you are in was deleted; change to another one (cd)\n"
    assert cli("--version").status == 0


@pytest.mark.parametrize("command", [*TRAINER_COMMANDS, *COMMANDS])
def test_every_command_has_a_help_of_its_own(command, cli):
    done = cli(command, "--help")
    assert (done.status, done.err) == (0, "")
    assert re.match(rf"usage: charlm (\[options\] )?{command} \[", done.out)
    assert ("one of the shipped configs: best, " in " ".join(done.out.split())) == (command in TRAINER_COMMANDS)


@pytest.mark.parametrize("command", TRAINER_COMMANDS)
def test_the_help_of_a_training_begins_with_what_users_set_and_fits_a_screen(command, cli):
    """All of charlm's own options, and of the Trainer's some; the rest is in --help-all."""
    short, full = cli(command, "--help").out, cli(command, "--help-all").out
    lines = short.splitlines()
    assert len(lines) <= 120
    assert max(map(len, lines)) < 80
    order = ["--model NAME", "--data FILE", "--ckpt_path", "--trainer.max_steps", "--help-all"]
    if command in ("validate", "test", "predict"):
        order.insert(0, order.pop(2))
    assert sorted(order, key=short.index) == order
    options = set(re.findall(r"^  (?:-., )?--([\w.-]+)", full, re.M))
    known = set(re.findall(r"--([\w.-]+)", short)) | {"model", "data.path", "trainer.callbacks"}
    hidden = {"data", "trainer", "checkpoint", "weights_only", "verbose", "return_predictions"}
    if command != "fit":
        hidden |= {option for option in options if re.match("resume|init_from|name|note|dashboard|checkpoint", option)}
    assert {o for o in options - known - hidden if not re.match(r"trainer\.|.*\.help$", o)} == set()
    assert {
        option for option in known if option.startswith("trainer.") and option != "trainer.callbacks.ARGUMENT"
    } <= options


def test_the_help_lists_the_arguments_of_the_model_that_is_named(cli):
    assert "of the GRU: n_embd, n_hidden, n_layer, dropout," in cli("fit", "--model", "GRU", "--help").out
    assert "of the MLP: n_embd, n_hidden," in cli("fit", "--help").out


IMPORTS = """
import gc
import sys
from pathlib import Path
from charlm.cli.main import main
def say():
    heavy = {"torch", "torch._dynamo", "sympy", "lightning", "tensorboard", "matplotlib"}
    print(*heavy.intersection(sys.modules), file=sys.stderr)
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
run("sample --new-only -n 3 --seed 0 --checkpoint 1")
run("score anna --checkpoint 1")
print(gc.isenabled(), gc.get_freeze_count() > 100_000, file=sys.stderr)
"""


@pytest.mark.usefixtures("run")
def test_a_command_imports_no_more_than_it_needs():
    """Of these only `sample` and `score` need torch, and none needs Lightning or torch's compiler."""
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, timeout=120)
    seen = [set(line.split()) for line in done.stderr.splitlines()]
    assert seen[:3] == [set(), set(), set()]
    assert seen[3] == {"tensorboard"}
    assert seen[4] == {"tensorboard", "matplotlib"}
    assert seen[5:7] == [{"tensorboard", "matplotlib", "torch"}] * 2
    assert seen[7] == {"True"}  # collecting garbage, but not among the objects of torch


def on_terminal(folder, *args):
    """Start a command in a folder, its standard error a terminal; gives the process and a file with what it shows."""
    terminal, of_process = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "charlm", *args],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=of_process,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # shells ignore it for `pytest &`
    )
    os.close(of_process)
    return process, open(terminal, "rb", buffering=0)


def all_of(file):
    """What a terminal shows until its process ends, when Linux raises an error."""
    shown = b""
    with suppress(OSError), file:
        while more := file.read(1000):
            shown += more
    return shown.decode()


def test_on_a_terminal_it_trains_with_a_bar_and_a_row_a_validation_and_without_noise(small, tmp_path):
    """No advertisement, no warning and nothing else that a user cannot act on; the first line comes at once."""
    process, file = on_terminal(tmp_path, "fit", "--config", small)
    lines = [line for line in re.split(r"[\r\n]+", re.sub(r"\x1b\[\d*m", "", all_of(file))) if line.strip()]
    assert b"The first 10 names" in process.communicate()[0]
    assert process.returncode == 0
    expected = ["charlm fit: loading", "Seed set to", r".*names over \d+ characters", "MLP with 217 parameters on cpu"]
    for beginning, line in zip(expected, lines, strict=False):
        assert re.match(beginning, line)
    rows = [line.split() for line in lines[len(expected) :] if "]" not in line]
    assert rows[0] == ["step", "train", "val", "best", "new", "lr", "left"]
    assert [row[0] for row in rows[1:]] == ["2", "4"]
    assert re.match(r"100%.* 4/4, train \d\.\d+, val \d\.\d+ \[", lines[-1])


def test_ctrl_c_ends_the_start_at_once(tmp_path):
    process, file = on_terminal(tmp_path, "fit")
    first = b""
    while not first.endswith(b"\n"):
        first += file.read(1000)
    process.send_signal(signal.SIGINT)
    assert re.fullmatch(r"charlm fit: loading [^\n]*\r\n", first.decode() + all_of(file))
    assert (process.communicate()[0], process.returncode) == (b"", -signal.SIGINT)  # 130 in a shell


def test_a_reader_that_has_enough_ends_the_command_quietly(run):
    script = f'"{sys.executable}" -m charlm sample -n 20000 --seed 0 --checkpoint {run} | head -n 1'
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {script}"], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (0, 1, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("command", ["--help", "sample", "summary"])
def test_a_full_disk_is_a_sentence(command, run):
    options = {"sample": ["--seed", "0", "--checkpoint", str(run)], "summary": [str(run)]}.get(command, [])
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "charlm", command, *options], stdout=full, stderr=subprocess.PIPE, text=True,
            timeout=120, check=False,
        )  # fmt: skip
    said = "charlm: error: cannot write everything: No space left on device; make room, or write to another place\n"
    assert (done.returncode, done.stderr) == (2, said)


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
    assert commands == ["compare", "compare-counts"]
    assert {"LitMLP", "LitBigram"} <= {model.split(".")[-1] for model in models}
    assert options == ["--model.n_hidden"]

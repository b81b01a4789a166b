"""What `charlm fit --help` shows: the options that users of charlm set; `--help-all` has every option."""

import argparse
import textwrap
from collections.abc import Iterable, Sequence
from importlib import import_module

from charlm.cli.trainer.checkpoint_settings import FROM_DATA
from charlm.cli.trainer.configs import config_names
from charlm.messages import parameters_of
from charlm.models.registry import MODELS

_WIDTH, _INDENT = 79, 28
_ASKS = ("help", "help_all", "print_config")
_RUN = (
    *("name", "note", "resume", "init_from", "ckpt_path"),
    *("ddp_timeout", "seed_everything", "float32_matmul_precision"),
)
_CALLBACKS = ("name_samples", "dashboard")
_ONLY_FIT = ("name", "note", "resume", "init_from", "name_samples", "dashboard", "checkpoint")
_HIDDEN = ("config", "model", "data", "trainer", "checkpoint", "weights_only", "verbose", "return_predictions")
_NAMES = {
    "data.path": "--data FILE",
    "trainer.callbacks": "--trainer.callbacks+=NAME",
}
_TEXTS = {
    "ckpt_path": "weights and settings of this run or checkpoint; by default, evaluations take the newest run's best",
    "seed_everything": "seed of the weights and the samples (default: 42)",
    "name_samples": "null: no names are sampled at the validations; --name_samples.n=50: more of them",
    "dashboard": "null: TensorBoard is not arranged; --dashboard.histograms=true: with histograms",
    "checkpoint.monitor": "the logged metric that chooses the best state; null: no best.ckpt (default: loss/val)",
    "checkpoint.save_weights_only": "no optimizer state in best.ckpt (default: False)",
    "trainer.max_steps": "optimizer steps in all, whatever the epochs",
    "trainer.max_epochs": "passes over the training names",
    "trainer.max_time": "days:hours:minutes:seconds, such as 00:01:30:00",
    "trainer.val_check_interval": "batches between two validations",
    "trainer.check_val_every_n_epoch": "or epochs between them",
    "trainer.log_every_n_steps": "steps between two points of loss/train",
    "trainer.gradient_clip_val": "gradients longer than this are shortened",
    "trainer.callbacks": "add LRFinder, StepDecay, EmbeddingPCA, StepsPerExecution or one of Lightning's;"
    " --trainer.callbacks.ARGUMENT=VALUE after it sets an argument",
    "trainer.accelerator": "cpu, gpu or auto",
    "trainer.devices": "how many of them",
    "trainer.logger": "false, or another logger, such as CSVLogger",
    "trainer.default_root_dir": "where the folder of the runs, lightning_logs, is",
    "trainer.fast_dev_run": "true: one batch of each kind, to see that all works",
    "print_config": "print all settings as they would be used",
}


def short_help(command: str, about: str, actions: Iterable[argparse.Action], model: str) -> str:
    """The options of a command in 80 columns, in the order in which users need them.

    Args:
        command: such as "charlm fit".
        about: a line on what it does.
        actions: the options of its parser.
        model: the name or path of the class whose arguments are listed.
    """
    by_dest = {action.dest: action for action in actions}
    if not command.endswith(" fit"):
        by_dest = {dest: action for dest, action in by_dest.items() if dest.partition(".")[0] not in _ONLY_FIT}
    known = (*_ASKS, *_RUN, *_CALLBACKS, *_HIDDEN)
    own = [dest for dest in by_dest if "." not in dest and dest not in known]
    parts = {part: [dest for dest in by_dest if dest.startswith(f"{part}.")] for part in ("data", "checkpoint")}
    trainer = [dest for dest in _TEXTS if dest.startswith("trainer.")]
    sections: dict[str, Sequence[str]] = {
        "Options of this command": own,
        "The model": (),
        "The names, and how they are split and batched": parts["data"],
        "The run": _RUN,
        "Callbacks": (*_CALLBACKS, "trainer.callbacks"),
        "The checkpoints of a run, last.ckpt and best.ckpt": parts["checkpoint"],
        "Some options of Lightning's Trainer": [dest for dest in trainer if dest != "trainer.callbacks"],
        "More": _ASKS,
    }
    if command.endswith((" validate", " test", " predict")):  # these begin with a run
        sections = {"The run": sections["The run"], **sections}
    lines = [f"usage: {command} [options]", "", f"{about[0].upper()}{about[1:]}."]
    for title, dests in sections.items():
        shown = [line for dest in dests if dest in by_dest for line in _option(by_dest[dest])]
        if title == "The model":
            shown = _of_model(model)
        if shown:
            lines += ["", f"{title}:", *shown]
    return "\n".join(lines) + "\n"


def _of_model(model: str) -> list[str]:
    kind = _class_of(model)
    name = kind.__name__.removeprefix("Lit") if kind in MODELS.values() else model
    arguments = [each for each in parameters_of(kind) if each not in FROM_DATA]
    return [
        *_entry(
            "--model NAME", "MLP, Bigram, GRU, Transformer or another one, or a class of your own: my_file.MyModel"
        ),
        *_entry("-c, --config NAME", f"a YAML file, or one of the shipped configs: {', '.join(config_names())}"),
        *_entry("--model.ARGUMENT ...", f"of the {name}: {', '.join(arguments)}; --model.help {name} explains them"),
    ]


def _option(action: argparse.Action) -> list[str]:
    dest = action.dest
    text = _TEXTS.get(dest) or str(action.help).split(". ")[0].removesuffix(".").removeprefix("with fit: ")
    shows_default = action.default not in (None, argparse.SUPPRESS) and not dest.startswith("data.")
    if shows_default and dest not in _TEXTS:
        text += f" (default: {action.default})"
    return _entry(_NAMES.get(dest) or ", ".join(option for option in action.option_strings if "+" not in option), text)


def _entry(option: str, text: str) -> list[str]:
    """An option and its text, which begins in the same line if there is room for it."""
    lines = textwrap.wrap(text, _WIDTH - _INDENT, break_long_words=False, break_on_hyphens=False)
    option = f"  {option}".rstrip()
    if len(option) < _INDENT - 1:
        return [f"{option:<{_INDENT}}{lines[0]}", *(" " * _INDENT + line for line in lines[1:])]
    return [option, *(" " * _INDENT + line for line in lines)]


def _class_of(path: str) -> type:
    """A model's class by its path or, for charlm's own, by its name."""
    module, _, name = path.rpartition(".")
    own = {kind.__name__: kind for kind in MODELS.values()}
    return own[name] if name in own else getattr(import_module(module), name)

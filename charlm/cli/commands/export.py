"""`charlm export`: a trained model as a file for other programs."""

from pathlib import Path
from typing import Literal

import torch
from torch import nn

from charlm.cli.chosen_run import load_chosen
from charlm.cli.out_file import write_out
from charlm.inference.export import about, check, to_onnx, to_safetensors, to_torch
from charlm.nets.interface import block_size_of, positions_of, takes_names
from charlm.runs.directory import run_directory, whole_path

_FORMATS = {"torch": (".pt2", to_torch), "onnx": (".onnx", to_onnx), "safetensors": (".safetensors", to_safetensors)}
_HOW_TO_LOAD = {
    "torch": "torch.export.load(FILE).module()(ids) gives the logits",
    "onnx": 'onnxruntime.InferenceSession(FILE).run(None, {"ids": ids})[0] gives the logits',
    "safetensors": "{net}(**net_args).load_state_dict(safetensors.torch.load_file(FILE))",
}


def export(
    checkpoint: str | None = None, format: Literal["torch", "onnx", "safetensors"] = "torch", out: str | None = None
) -> None:
    """Write a trained model to a file that other programs load, with its alphabet and hyperparameters.

    Before the file is written, its logits are compared with the checkpoint's.

    Args:
        checkpoint: a .ckpt file, or a run by directory, name or number; by default the newest run in lightning_logs.
        format: torch is a torch.export program (.pt2), onnx a model for onnxruntime and others; both take batches of
            any size and, if the model takes whole names, names of any length. safetensors has only the weights;
            of an n-gram model it has the counts, and is the only format.
        out: the file to write, an existing one is overwritten; by default the name of the run, in this directory.

    Raises:
        ModuleNotFoundError: the format needs a package that is not installed.
        OSError: no such checkpoint, or the file cannot be written.
        ValueError: a bad checkpoint, a suffix that is not the format's, or logits that differ.
    """
    suffix, make = _FORMATS[format]
    if out is not None and Path(out).suffix.lower() != suffix:
        raise ValueError(
            f"--out is {out!r}, and a file of --format {format} ends in {suffix}; give such a name, as names{suffix}"
        )
    loaded = load_chosen(checkpoint)
    file = Path(out or f"{_name(loaded.path)}{suffix}")
    told = about(loaded)
    V = told["net_args"]["vocab_size"]
    content, run = make(loaded.net, told)
    off = check(loaded.net, run, V)
    write_out(file, content)
    print(file)
    print(f"{told['net']}, {len(content) / 1000:,.1f} kB, at most {off:.1g} off the checkpoint's logits")
    print(_shapes(loaded.net, V))
    print(_HOW_TO_LOAD[format].replace("{net}", told["net"]))


def _shapes(net: nn.Module, V: int) -> str:
    """The shapes of the input and the output."""
    if not takes_names(net):
        logits = net(torch.zeros(1, block_size_of(net), dtype=torch.int64))
        kind = str(logits.dtype).removeprefix("torch.")
        return f"ids int64 (batch, {block_size_of(net)}) to logits {kind} (batch, {V})"
    longest = f" <= {positions_of(net)}" if positions_of(net) else ""
    return f"ids int64 (batch, length{longest}) to logits float32 (batch, length, {V})"


def _name(checkpoint: Path) -> str:
    """The name of the run, or of a checkpoint that is in no run."""
    place = whole_path(checkpoint)
    return run_directory(place).name if place.parent.name == "checkpoints" else place.stem

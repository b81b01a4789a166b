import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from charlm.cli.commands.export import export
from charlm.cli.main import main
from charlm.inference.export import check
from charlm.models.registry import LitCharLM
from charlm.runs.load_checkpoint import NETS, load_checkpoint

FORMATS = {"torch": ".pt2", "onnx": ".onnx", "safetensors": ".safetensors"}
ALPHABET = "aé 'я"
V = 6
SIZES = {
    "Bigram": {},
    "NGram": {"block_size": 2},
    "MLP": {"block_size": 3, "n_embd": 3, "n_hidden": 5},
    "BoW": {"block_size": 9, "n_embd": 4, "n_hidden": 3},
    "RNN": {"n_embd": 3, "n_hidden": 4, "n_layer": 2, "dropout": 0.2},
    "GRU": {"n_embd": 3, "n_hidden": 4, "n_layer": 2, "dropout": 0.2},
    "LSTM": {"n_embd": 3, "n_hidden": 4, "n_layer": 2},
    "Ensemble": {"kind": "RNN", "members": 2, "n_embd": 3, "n_hidden": 4},
    "DeepMLP": {"block_size": 4, "n_embd": 3, "n_hidden": 5, "n_layer": 2, "dropout": 0.2},
    "WaveNet": {"block_size": 4, "n_embd": 3, "n_hidden": 5},
    "Transformer": {"block_size": 9, "n_layer": 2, "n_head": 2, "n_embd": 4, "dropout": 0.2},
}
# each runs in a process of its own, in the folder of the files, without what it may not need; `run` makes from a file
# and its name what turns an int64 array into logits
LOADERS = {
    "torch": """
import torch
def run(file, name):
    program = torch.export.load(file).module()
    return lambda ids: program(torch.from_numpy(ids)).numpy()
""",
    "onnx": """
sys.modules["torch"] = None
import onnxruntime
def run(file, name):
    session = onnxruntime.InferenceSession(file)
    return lambda ids: session.run(None, {"ids": ids})[0]
""",
    "safetensors": """
del sys.modules["charlm"]
import json, importlib, torch
from safetensors import safe_open
from charlm.runs.load_checkpoint import NETS
def run(file, name):
    with safe_open(file, "pt") as opened:
        net_args = json.loads(opened.metadata()["charlm"])["net_args"]
        weights = {key: opened.get_tensor(key) for key in opened.keys()}
    net = getattr(importlib.import_module(NETS[name]), name)(**net_args)
    net.load_state_dict(weights)
    net.eval()
    return lambda ids: net(torch.from_numpy(ids)).detach().numpy()
""",
}
MAIN = """
import numpy
given = numpy.load("ids.npz")
logits, nets = {}, {}
for key in given:
    name = key.split()[0]
    if name not in NAMES:
        continue
    if name not in nets:
        nets[name] = run(name + SUFFIX, name)
    logits[key] = nets[name](given[key])
numpy.savez("logits" + SUFFIX + ".npz", **logits)
"""


def write_checkpoint(name, path, **sizes):
    """As Lightning writes it, of a model whose batch norms have seen data and whose logits are far from equal."""
    torch.manual_seed(0)
    model = LitCharLM.models[name](alphabet=ALPHABET, **{**SIZES.get(name, {}), **sizes})
    with torch.no_grad():
        for weight in model.net.parameters():
            weight.normal_()
        if name == "NGram":
            model.net.count(torch.randint(V, (50, 2)), torch.randint(V, (50,)))
        if name == "Mixture":
            model.net.count_names(torch.randint(V, (50, 3)), torch.randint(V, (50, 3)))
        for _ in range(3):
            model.net(torch.randint(V, (20, model.net.block_size or 5)))
    checkpoint = {
        "pytorch-lightning_version": "2.6.6",
        "global_step": 12,
        "state_dict": model.state_dict(),
        "hyper_parameters": dict(model.hparams),
    }
    model.on_save_checkpoint(checkpoint)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(checkpoint, path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint of every net, and ids for it: batches of 1 and 5, names of 1, 4 and 9 characters."""
    folder = tmp_path_factory.mktemp("export")
    rng, ids = np.random.default_rng(0), {}
    for name in NETS:
        net = load_checkpoint(write_checkpoint(name, folder / f"{name}.ckpt")).net
        for batch in (1, 5):
            for length in (1, 4, 9) if net.takes == "names" else (net.block_size,):
                ids[f"{name} {batch} {length}"] = rng.integers(V, size=(batch, length))
    np.savez(folder / "ids.npz", **ids)
    return folder


def nets_of(form):
    """The nets that a format can hold: no program looks up n-grams."""
    return [name for name in NETS if name not in ("NGram", "Mixture") or form == "safetensors"]


@pytest.fixture(scope="module", params=FORMATS)
def exported(request, folder):
    """The format, and its logits by net and ids, from files that a fresh process read."""
    suffix = FORMATS[request.param]
    for name in nets_of(request.param):
        export(str(folder / f"{name}.ckpt"), format=request.param, out=str(folder / f"{name}{suffix}"))
    code = 'import sys\nfor name in ("charlm", "lightning"):\n    sys.modules[name] = None\n'
    code += f'SUFFIX, NAMES = "{suffix}", {nets_of(request.param)}\n{LOADERS[request.param]}{MAIN}'
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=folder, capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return request.param, dict(np.load(folder / f"logits{suffix}.npz"))


def about(form, file):
    """What a file tells about itself, read without charlm."""
    if form == "torch":
        files = {"charlm.json": ""}
        torch.export.load(file, extra_files=files)
        return json.loads(files["charlm.json"])
    if form == "onnx":
        import onnx

        return json.loads({entry.key: entry.value for entry in onnx.load(file).metadata_props}["charlm"])
    from safetensors import safe_open

    with safe_open(file, "pt") as opened:
        return json.loads(opened.metadata()["charlm"])


@pytest.mark.parametrize("name", NETS)
def test_a_fresh_process_without_charlm_gets_the_same_logits(exported, folder, name):
    form, logits = exported
    if name not in nets_of(form):
        with pytest.raises(ValueError, match="cannot be exported as a program; give --format safetensors"):
            export(str(folder / f"{name}.ckpt"), format=form)
        return
    net = load_checkpoint(folder / f"{name}.ckpt").net
    ids = {
        key: torch.from_numpy(of_key) for key, of_key in np.load(folder / "ids.npz").items() if key.split()[0] == name
    }
    assert len(ids) == (6 if net.takes == "names" else 2)
    for key, of_key in ids.items():
        with torch.no_grad():
            wanted = net(of_key).numpy()
        assert np.ptp(wanted) > 0.5
        np.testing.assert_allclose(logits[key], wanted, rtol=0, atol=1e-5)


def test_every_file_tells_what_it_holds_and_not_where_it_was_made(exported, folder):
    form, _ = exported
    for name in nets_of(form):
        file = folder / f"{name}{FORMATS[form]}"
        told = about(form, file)
        assert (told["format"], told["net"], told["alphabet"], told["step"]) == (1, name, ALPHABET, 12)
        assert told["net_args"] == {"vocab_size": V, **told["net_args"], **SIZES.get(name, {})}
        assert "init" not in told["net_args"]
        assert told["takes"] == load_checkpoint(folder / f"{name}.ckpt").net.takes
        assert told["hyperparameters"].get("lr") == LitCharLM.models[name]().hparams.get("lr")
        assert not [place for place in (b"site-packages", b"charlm/", b".py") if place in file.read_bytes()]


def test_the_file_is_named_after_the_run_and_lies_here(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for place, file in {"lightning_logs/version_3/checkpoints/last.ckpt": "version_3", "best.ckpt": "best"}.items():
        write_checkpoint("WaveNet", tmp_path / place)
        export(place, format="safetensors")
        assert capsys.readouterr().out.splitlines()[0] == f"{file}.safetensors"
        assert Path(f"{file}.safetensors").is_file()


def test_the_recurrent_layers_of_a_program_are_whole(folder, tmp_path):
    """One operator for all characters, as fast as in training; and torch is as it was before."""
    key = torch._C.DispatchKey.CompositeImplicitAutograd
    before = torch.ops.aten.gru.input.py_kernels[key]
    export(str(folder / "GRU.ckpt"), out=str(tmp_path / "model.pt2"))
    graph = torch.export.load(tmp_path / "model.pt2").graph
    assert [str(node.target) for node in graph.nodes if "gru" in str(node.target)] == ["aten.gru.input"]
    assert torch.ops.aten.gru.input.py_kernels[key] is before


@pytest.mark.parametrize(
    ("weight", "fine", "change", "message"),
    [
        (1.0, 3e-6, 3e-5, r"for ids \(1, 3\) .* are off by 3.0e-05, and 1.0e-05 is allowed"),
        (1.0, 3e-6, float("nan"), "are off by nan"),
        (100.0, 5e-4, 2e-3, "are off by 2.0e-03, and 1.0e-03 is allowed"),  # as float32 holds large ones
    ],
)
def test_logits_that_are_off_are_refused(weight, fine, change, message):
    net = torch.nn.Embedding(V, V)
    net.block_size = 3
    torch.nn.init.constant_(net.weight, weight)
    assert check(net, lambda ids: net(ids) + fine, V) == pytest.approx(fine, rel=0.1)
    with pytest.raises(ValueError, match=f"{message}.*, so nothing is written; give another --format"):
        check(net, lambda ids: net(ids) + change, V)


def test_a_file_of_another_suffix_or_that_cannot_be_written_is_named_and_nothing_is_left(folder, tmp_path):
    with pytest.raises(ValueError, match=r"--out is 'model', and a file of --format onnx ends in \.onnx; give"):
        export(str(folder / "MLP.ckpt"), format="onnx", out="model")
    (tmp_path / "model.pt2").mkdir()
    with pytest.raises(OSError, match=r"cannot write .*model\.pt2 \(Is a directory\); give another file as --out"):
        export(str(folder / "MLP.ckpt"), out=str(tmp_path / "model.pt2"))
    assert [each.name for each in tmp_path.iterdir()] == ["model.pt2"]


@pytest.mark.parametrize(("form", "package"), [("onnx", "onnxruntime"), ("safetensors", "safetensors")])
def test_a_missing_package_is_a_sentence_with_its_remedy(folder, tmp_path, monkeypatch, capsys, form, package):
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    out = tmp_path / f"model{FORMATS[form]}"
    with pytest.raises(SystemExit, match="2"):
        main(["export", "--checkpoint", str(folder / "MLP.ckpt"), "--format", form, "--out", str(out)])
    assert capsys.readouterr().err == (
        f"charlm: error: --format {form} needs the package {package}, which is not installed:"
        f" pip install 'lightning-charlm[export]'\n"
    )
    assert not out.exists()


def test_it_says_what_it_wrote_and_how_to_load_it(folder, tmp_path, capsys):
    file = tmp_path / "new" / "folder" / "model.pt2"
    main(["export", "--checkpoint", str(folder / "Transformer.ckpt"), "--out", str(file)])
    path, what, ids, load = capsys.readouterr().out.splitlines()
    assert path == str(file)
    assert what.startswith(f"Transformer, {file.stat().st_size / 1000:,.1f} kB, at most ")
    assert ids == "ids int64 (batch, length <= 9) to logits float32 (batch, length, 6)"
    assert load == "torch.export.load(FILE).module()(ids) gives the logits"

import os
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from jsonargparse import ArgumentParser

from charlm.cli.trainer.configs import CONFIGS, as_config, config_names, read_config

MODELS = ("bigram", "bow", "deepmlp", "ensemble", "gru", "lstm", "mlp", "ngram", "rnn", "transformer", "wavenet")


def test_the_shipped_configs_go_by_bare_names():
    assert config_names() == sorted((*MODELS, "best", "debug", "lecture", "mlp-best", "mlp-fast"))
    for name in MODELS:
        config = read_config(name)
        assert config.source == str(CONFIGS / f"{name}.yaml")
        assert config.settings["model"]["class_path"].lower() == f"charlm.lit{name}"


def test_a_path_has_a_slash_or_an_ending_and_json_has_braces(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("mlp", "mlp.yaml"):
        Path(name).write_text("seed_everything: 1")
    for value in ("./mlp", "mlp.yaml", "~/mlp"):
        config = read_config(value)
        assert (config.settings, config.note) == ({"seed_everything": 1}, "")
        assert Path(config.source).samefile(value.replace("~", "."))
    read, write = os.pipe()
    os.write(write, b"seed_everything: 1")
    os.close(write)
    assert read_config(f"/dev/fd/{read}").settings == {"seed_everything": 1}
    os.close(read)
    text = ' {"seed_everything": 1}'
    assert (read_config(text).source, read_config(text).settings) == (text, {"seed_everything": 1})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"model: GRU\ndata: {\n", r"mine.yaml is not YAML \(line 3: "),
        (b"\xff\x00", r"mine.yaml is not YAML \(not UTF-8 text\)"),
        (b"", "mine.yaml holds no settings such as `model: LitGRU`"),
        (b"- model: GRU", "mine.yaml holds no settings"),
        (b"data: " + b"9" * 5000, r"mine.yaml has a value that cannot be read \(Exceeds the limit"),
        (b"data: 2020-02-31", r"mine.yaml has a value that cannot be read \(day is out of range"),
        (b"trainer: [3]", r"mine.yaml: `trainer` is \[3\]; give it settings, or leave it out"),
    ],
)
def test_a_config_without_settings_is_refused_by_its_name(content, said, tmp_path):
    (tmp_path / "mine.yaml").write_bytes(content)
    with pytest.raises(ValueError, match=said):
        read_config(str(tmp_path / "mine.yaml"))


@given(st.dictionaries(st.text(), st.text() | st.floats(allow_nan=False) | st.none() | st.lists(st.text())))
def test_settings_come_back_from_a_config_in_all_of_unicode(settings):
    assert yaml.safe_load(as_config(settings)) == settings


@given(st.lists(st.text() | st.from_regex(r"[-+]?[0-9._]{1,4}([eE][-+]?[0-9]{1,2})?", fullmatch=True)))
@example(["._0E-0", "._E+1"])
def test_a_text_that_looks_like_a_number_is_still_a_text_for_jsonargparse(texts):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--texts", type=list[str])
    assert parser.parse_string(as_config({"texts": texts})).texts == texts


def test_a_section_comes_from_a_file_or_json_and_a_directory_is_none(tmp_path):
    (tmp_path / "mine.yaml").write_text("max_steps: 3")
    for value in (str(tmp_path / "mine.yaml"), '{"max_steps": 3}'):
        config = read_config(value, "--trainer")
        assert yaml.safe_load(config.source) == config.settings == {"trainer": {"max_steps": 3}}
    for option, value, said in (
        (
            "--trainer",
            "nowhere",
            "there is no config file nowhere; --trainer takes a file with the settings of trainer",
        ),
        ("--trainer", str(tmp_path), "is a directory; give a config file"),
        ("--config", str(tmp_path), "is a directory; give a config file"),
    ):
        with pytest.raises(ValueError, match=said):
            read_config(value, option)

"""`.ci/run` with a PATH of stand-ins: whether the browser tests are asked for."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INSTALLS = 'case "$*" in *" install "*) touch "$BIN/chromium" "$BIN/chromedriver"; chmod +x "$BIN"/chrom*;; esac'


@pytest.fixture
def ci_run(tmp_path):
    """Run a copy of it, beside a scripts/test that says how it was called."""
    for name, text in {".ci/run": (ROOT / ".ci/run").read_text(), "scripts/test": 'echo "$CHARLM_BROWSER|$*"'}.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "dirname", "env", "timeout", "touch", "chmod", "true"):
        (programs / name).symlink_to(shutil.which(name))
    (programs / "sudo").write_text('#!/bin/bash\nshift\nexec "$@"\n')
    (programs / "sudo").chmod(0o755)

    def ci_run(**stand_ins):
        for name, text in stand_ins.items():
            (programs / name.replace("_", "-")).write_text(f"#!/bin/bash\n{text}\n")
            (programs / name.replace("_", "-")).chmod(0o755)
        env = {"PATH": str(programs), "BIN": str(programs), "CHARLM_BROWSER": ""}
        ran = subprocess.run(
            [programs / "bash", tmp_path / ".ci/run", "-k", "a b"], env=env, capture_output=True, text=True, timeout=60
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.strip(), ran.stderr.splitlines()

    return ci_run


def test_a_browser_is_installed_where_that_is_possible(ci_run):
    out, err = ci_run(apt_get=f'echo "$DEBIAN_FRONTEND $*"\n{INSTALLS}')
    assert out == "required|-k a b"
    assert err[0] == ".ci/run: installing chromium, chromium-driver and fonts-dejavu-core"
    assert [line.split()[0] for line in err[1:]] == ["noninteractive"] * 2
    assert err[1].endswith(" update")
    assert err[2].endswith(" install -y --no-install-recommends chromium chromium-driver fonts-dejavu-core")


@pytest.mark.parametrize("stand_ins", [{}, {"apt_get": "exit 100"}, {"apt_get": ""}, {"chromium": ""}])
def test_where_none_can_be_had_that_is_said_and_the_rest_is_checked(ci_run, stand_ins):
    out, err = ci_run(**stand_ins)
    assert out == "|-k a b"
    assert err[-1] == ".ci/run: no browser could be installed here: the browser tests are skipped"

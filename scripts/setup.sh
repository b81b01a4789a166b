# Sourced by run and test. Makes the virtual environment once and updates it when pyproject.toml or the pins change.
# CHARLM_VENV names another directory than .venv, CHARLM_PINS another file of pins than constraints.txt (/dev/null for
# the newest versions).

root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
venv=${CHARLM_VENV:-$root/.venv}
[[ $venv == /* ]] || venv=$PWD/$venv
pins=${CHARLM_PINS:-$root/constraints.txt}
[[ $pins == /* ]] || pins=$PWD/$pins

say() { printf '%s\n' "$*" >&2; }
fail() {
    say "scripts/${0##*/}: $*"
    exit 1
}

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

# Prints the first suitable Python; 3.11 first, because constraints.txt is tested with it.
find_python() {
    local name found=""
    for name in python3.11 python3 python3.14 python3.13 python3.12 python; do
        if new_enough "$name"; then
            printf '%s\n' "$name"
            return
        fi
        found=${found:-$("$name" --version 2>/dev/null || true)}
    done
    fail "charlm needs Python 3.11 or newer, but the PATH offers ${found:-none}; install Python 3.11 first"
}

# What the environment has to match; the root is part of it because an editable install points there.
wanted() { printf '%s %s\n' "$(cat "$root/pyproject.toml" "$pins" | cksum)" "$root"; }

# An environment for the tests serves `run` as well.
is_set_up() {
    local stamp
    [[ -x $venv/bin/charlm && -x $venv/bin/python && -f $venv/charlm-set-up ]] || return 1
    stamp=$(<"$venv/charlm-set-up")
    [[ $stamp == "$(wanted) ${1:-run}" || $stamp == "$(wanted) test" ]]
}

make_venv() {
    local python
    if "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        new_enough "$venv/bin/python" || fail "$venv has a Python older than 3.11; remove it and start again"
        return
    fi
    # --clear empties the directory, so only a virtual environment, broken or half made, may be there
    if [[ -d $venv && ! -f $venv/pyvenv.cfg && -n $(ls -A "$venv") ]]; then
        fail "$venv is not a virtual environment; remove it, or name another directory in CHARLM_VENV"
    fi
    python=$(find_python)
    "$python" -m venv --clear "$venv" >&2 ||
        fail "$python could not make $venv; on Debian and Ubuntu, run 'apt install python3-venv' first"
}

# With constraints, pip reports "conflicting dependencies" even where only the network is missing.
pip_install() {
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -c "$pins" "$@" >&2 ||
        fail "pip failed for the reason above (without a network it reports conflicts); run the same command to go on"
}

install() {
    local extra=$1
    rm -f "$venv/charlm-set-up"
    make_venv
    say "Installing packages into $venv (once; a minute or more, most of it for torch)"
    # torch first and by itself, so that the resolver cannot exchange it for another build later
    pip_install "$(grep -m 1 '^torch==' "$pins" || echo torch)"
    pip_install -e "$root${extra:+[$extra]}"
    printf '%s %s\n' "$(wanted)" "${extra:-run}" >"$venv/charlm-set-up"
}

# set_up ""|test: returns at once if the stamp, which is written last, says that everything is installed.
set_up() {
    if is_set_up "$1"; then return; fi
    mkdir -p "$(dirname "$venv")"
    # a subshell, so that the lock is released before anything long starts
    (
        if command -v flock >/dev/null && ! flock -n 9; then
            say "Waiting for another set-up of $venv to end"
            flock 9
        fi
        if ! is_set_up "$1"; then install "$1"; fi
    ) 9>"$venv.lock"
}

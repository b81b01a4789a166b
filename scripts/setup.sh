# Sourced by run and test. Makes the virtual environment once and keeps it as pyproject.toml and constraints.txt say.
# CHARLM_VENV names another directory for it than .venv.

root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
venv=${CHARLM_VENV:-$root/.venv}
[[ $venv == /* ]] || venv=$PWD/$venv

say() { printf '%s\n' "$*" >&2; }
fail() {
    say "scripts/${0##*/}: $*"
    exit 1
}

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

# Prints the first Python that will do; 3.11 first, since constraints.txt is tested with it.
find_python() {
    local name found=""
    for name in python3.11 python3 python3.14 python3.13 python3.12 python; do
        if new_enough "$name"; then
            printf '%s\n' "$name"
            return
        fi
        found=${found:-$("$name" --version 2>/dev/null || true)}
    done
    fail "charlm needs Python 3.11 or newer, and the PATH offers ${found:-none}; install Python 3.11 first"
}

# What the environment has to match; the root is in it because an editable install points there.
wanted() { printf '%s %s\n' "$(cat "$root/pyproject.toml" "$root/constraints.txt" | cksum)" "$root"; }

# A set-up for the tests serves `run` as well.
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
    # --clear empties the directory, so only one that is a virtual environment already, broken or half made
    if [[ -d $venv && ! -f $venv/pyvenv.cfg && -n $(ls -A "$venv") ]]; then
        fail "$venv is no virtual environment; remove it, or name another directory in CHARLM_VENV"
    fi
    python=$(find_python)
    "$python" -m venv --clear "$venv" >&2 ||
        fail "$python could not make $venv; on Debian and Ubuntu, 'apt install python3-venv' first"
}

# pip's words for "not to be had" are "conflicting dependencies" where a constraint is given, so the network is named here.
pip_install() {
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -c "$root/constraints.txt" "$@" >&2 ||
        fail "pip stopped for the reason above (without a network it speaks of conflicts); the same command goes on from here"
}

install() {
    local extra=$1
    rm -f "$venv/charlm-set-up"
    make_venv
    say "Installing the pinned packages into $venv (once; a minute or more, most of it torch)"
    # torch first and by itself: left to the resolver, a later step could exchange it for another build
    pip_install "$(grep -m 1 '^torch==' "$root/constraints.txt")"
    pip_install -e "$root${extra:+[$extra]}"
    printf '%s %s\n' "$(wanted)" "${extra:-run}" >"$venv/charlm-set-up"
}

# set_up ""|test: returns at once where the stamp, written last, says that all is installed.
set_up() {
    if is_set_up "$1"; then return; fi
    mkdir -p "$(dirname "$venv")"
    # a subshell, so that the lock is gone before anything long starts
    (
        if command -v flock >/dev/null && ! flock -n 9; then
            say "Waiting for another set-up of $venv to end"
            flock 9
        fi
        if ! is_set_up "$1"; then install "$1"; fi
    ) 9>"$venv.lock"
}

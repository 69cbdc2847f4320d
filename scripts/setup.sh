#!/bin/sh
# Makes this checkout ready: a Python 3.13 or 3.12, the packages pinned in requirements/dev.txt and the project
# itself, all in .venv. Installs nothing outside the checkout. Run it as often as you like, also after Ctrl-C.
#
#   scripts/setup.sh                      set up .venv (returns at once when it is up to date)
#   scripts/setup.sh --find-python        print the Python that .venv would be made with
#   scripts/setup.sh --peers VENV FILE    a second environment, with the packages of FILE
#
# LAMBDAFIT_PYTHON names the Python to take. Exit codes: 3 no Python, 4 packages could not be installed,
# 5 no room on the disk, 6 another set-up is at work in this checkout.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
cd "$root"
home=${HOME:-/nonexistent}
system=${LAMBDAFIT_SEARCH_ROOT:-} # tests keep "/opt" and its like below a folder of their own
log=.python/setup.log
at_work=.python/at-work # holds the process id of the set-up that is at work, or that died at work
mine=                   # set while $at_work is this process's
room_kib=3000000        # packages and their cache; both are the same files on one disk

# Settings of the caller that would lead packages astray.
unset PYTHONPATH PYTHONHOME PIP_TARGET PIP_PREFIX UV_SYSTEM_PYTHON
export PIP_USER=0 PIP_NO_INPUT=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_PROGRESS_BAR=off
# A cache beside .venv lets uv link files instead of copying them. Compiled here once, TensorFlow is not compiled
# again by every worker that starts.
export UV_CACHE_DIR="${UV_CACHE_DIR:-$root/.python/cache}" UV_NO_PROGRESS=1 UV_COMPILE_BYTECODE="${UV_COMPILE_BYTECODE:-1}"

say() { printf '%s\n' "$@" >&2; }

fail() { # CODE LINE...
    code=$1
    shift
    if [ -n "$mine" ]; then rm -f "$at_work"; fi
    say "" "$@"
    exit "$code"
}

stage() { # TITLE COMMAND...: one line, and the seconds it took; what the command prints goes to the log
    title=$1
    shift
    begun=$(date +%s)
    printf '%s ... ' "$title" >&2
    mkdir -p .python
    "$@" >"$log" 2>&1 </dev/null || {
        say "failed after $(($(date +%s) - begun)) s"
        return 1
    }
    say "$(($(date +%s) - begun)) s"
}

log_end() { # without pip's remarks on folders of its configuration and on what it need not fetch
    grep -v -e '^ *$' -e '^WARNING: Location' -e '^WARNING: Url' -e '^Looking in' -e '^Requirement already' "$log" |
        tail -n 6 | cut -c1-300 | sed 's/^/    /'
}

# --- which Python -------------------------------------------------------------------------------------------------

try() { # PATH: sets $python if this Python really runs (a shim may be there and fail) and is one of $wanted
    [ -x "$1" ] && [ ! -d "$1" ] || return 1
    case $1 in "$root"/.venv/* | .venv/*) return 1 ;; esac # an activated .venv may be about to be rebuilt
    runs "$1" || return 1
    python=$1
}

runs() { # PATH: 64-bit CPython, not free-threaded (TensorFlow has no packages for that), able to make environments
    "$1" -c "
import sys, ctypes, ssl, venv, ensurepip
v = sys.version_info[:2]
ok = $wanted and sys.implementation.name == 'cpython' and sys.maxsize > 2**32 and 't' not in sys.abiflags
sys.exit(not ok)" >/dev/null 2>&1 </dev/null
}

on_path() { # NAME: in every folder of PATH, since a failing shim may hide a Python that works
    rest=$PATH:
    while [ -n "$rest" ]; do
        folder=${rest%%:*}
        rest=${rest#*:}
        if try "${folder:-.}/$1"; then return 0; fi
    done
    return 1
}

find_python() {
    wanted='(3, 12) <= v <= (3, 13)'
    if [ -n "${LAMBDAFIT_PYTHON:-}" ]; then
        if try "$(command -v "$LAMBDAFIT_PYTHON")"; then return 0; fi
        say "LAMBDAFIT_PYTHON=$LAMBDAFIT_PYTHON is not a Python 3.13 or 3.12 that runs: looking elsewhere."
    fi
    for name in python3.13 python3.12 python3 python; do
        if on_path "$name"; then return 0; fi
    done
    data=${XDG_DATA_HOME:-$home/.local/share}
    conda=${CONDA_EXE:-$home/miniconda3/bin/conda}
    for version in 3.13 3.12; do
        for folder in \
            "$root"/.python/pythons/*/bin \
            "${PYENV_ROOT:-$home/.pyenv}"/versions/*/bin \
            "${ASDF_DATA_DIR:-$home/.asdf}"/installs/python/*/bin \
            "${MISE_DATA_DIR:-$data/mise}"/installs/python/*/bin \
            "${conda%/bin/conda}"/bin "${conda%/bin/conda}"/envs/*/bin "$home"/.conda/envs/*/bin \
            "$home"/*conda3/bin "$home"/*conda3/envs/*/bin "$home"/*forge*/bin "$home"/*forge*/envs/*/bin \
            "${MAMBA_ROOT_PREFIX:-$home/micromamba}"/envs/*/bin \
            "$system"/opt/*conda*/bin "$system"/opt/*conda*/envs/*/bin "$system"/opt/*forge*/bin \
            "${UV_PYTHON_INSTALL_DIR:-$data/uv/python}"/*/bin \
            "$system"/opt/homebrew/bin "$system"/opt/homebrew/opt/python@*/bin \
            "$system"/usr/local/bin "$system"/usr/local/opt/python@*/bin \
            "$system"/home/linuxbrew/.linuxbrew/bin \
            "$system"/Library/Frameworks/Python.framework/Versions/*/bin \
            "$system"/opt/python*/bin "$system"/opt/python*/*/bin \
            "$system"/usr/bin; do
            if try "$folder/python$version"; then return 0; fi
        done
    done
    return 1
}

find_uv() { # sets $uv: one that is there already, else one in .python/uv, made by any Python that can hold it
    for uv in .python/uv/bin/uv "$(command -v uv || :)" "$home/.local/bin/uv" "$home/.cargo/bin/uv"; do
        if [ -x "$uv" ] && "$uv" --version >/dev/null 2>&1; then return 0; fi
    done
    wanted='v >= (3, 8)'
    for name in python3 python3.14 python3.11 python3.10 python3.9 python3.8 python; do
        if on_path "$name"; then break; fi
    done
    [ -n "${python:-}" ] || return 1
    rm -rf .python/uv
    stage "uv, to fetch Python 3.13" private_uv || return 1
    uv=.python/uv/bin/uv
}

private_uv() {
    "$python" -m venv .python/uv && .python/uv/bin/python -m pip install uv
}

run_uv() { # OPTION...: with uv's own certificates, and where a proxy has others, with the system's
    if "$uv" "$@"; then return 0; fi
    grep -q -i 'certificate' "$log" && UV_SYSTEM_CERTS=1 "$uv" "$@"
}

choose_python() { # sets $python
    python=
    if find_python; then return 0; fi
    reason="    (there is neither uv nor a Python 3.8 or later to install it with)"
    if find_uv; then
        # Without the two variables uv would put Python in the user's home and a link to it in ~/.local/bin.
        if UV_PYTHON_INSTALL_DIR="$root/.python/pythons" UV_PYTHON_INSTALL_BIN=0 \
            stage "Python 3.13, by uv" run_uv python install 3.13 && find_python; then
            return 0
        fi
        reason=$(log_end | sed -n -e 1p -e '$p')
    elif [ -n "$python" ]; then
        reason=$(log_end)
    fi
    fail 3 "No Python 3.13 or 3.12 that runs (64-bit CPython with venv and ensurepip)." \
        "  Looked for: python3.13, python3.12, python3 and python on PATH; Pythons of pyenv, asdf, mise, conda, uv," \
        "  Homebrew and python.org; /opt/python*. Nor could uv fetch one:" "$reason" \
        "  What to do: install Python 3.13 (with its venv package, on Debian and Ubuntu python3.13-venv) and run this" \
        "  again, or name one: LAMBDAFIT_PYTHON=/path/to/python3.13 make setup"
}

# --- packages -----------------------------------------------------------------------------------------------------

check_room() {
    free_kib=$(df -Pk . 2>/dev/null | awk 'NR == 2 { print $4 }')
    case $free_kib in '' | *[!0-9]*) return 0 ;; esac # a df of another kind: then the installer will tell
    held_kib=$(du -sk .python 2>/dev/null | awk '{ print $1 }') # what an earlier run has fetched needs no new room
    [ $((free_kib + ${held_kib:-0})) -ge "$room_kib" ] || no_room
}

full() { grep -q -i -e 'no space left' -e 'quota exceeded' "$log"; }

no_room() {
    fail 5 "No room on the disk: the packages need $((room_kib / 1000000)) GB in $root." "$(df -Ph . | sed 's/^/    /')" \
        "  Make room and run this again."
}

packages_failed() {
    if full; then
        mine= # the packages are half written: the mark stays, so the next run starts afresh
        no_room
    fi
    # Otherwise nothing is lost: both installers fetch everything before they change anything.
    fail 4 "The packages could not be installed. The last lines of $log:" "$(log_end)" \
        "  Is the package index reachable? pip's own settings (pip.conf, PIP_INDEX_URL, PIP_CERT) are obeyed." \
        "  Run this again when it is: what has been fetched is kept."
}

usable() { # VENV: complete (activate is written last), and still where it was made
    wanted='(3, 12) <= v <= (3, 13)'
    runs "$1/bin/python" && grep -q -F "$root/$1" "$1/bin/activate" 2>/dev/null
}

make_venv() { # VENV PYTHON
    rm -rf "$1"
    "$2" -m venv "$root/$1"
}

install() { # VENV OPTION...: by uv, which is faster; by pip where only pip knows how to reach the packages
    venv=$1
    shift
    uv=.venv/bin/uv
    if run_uv pip install --python "$venv/bin/python" "$@"; then return 0; fi
    if full; then return 1; fi
    with_pip "$venv" "$@"
}

with_pip() { # VENV OPTION...
    venv=$1
    shift
    if ! "$venv/bin/python" -c 'import pip'; then "$venv/bin/python" -m ensurepip; fi
    "$venv/bin/python" -m pip install "$@"
}

pip_setting() { # NAME, as pip would see it: its environment variable before [install] before [global]
    .venv/bin/python -m pip config list 2>/dev/null | sed 's/^:env:/z/' | sort |
        sed -n -E "s/^(global|install|z)\\.$1='(.*)'\$/\\2/p" | tail -n 1
}

hand_pip_settings_to_uv() { # uv reads none of them; the rest of them pip itself obeys when uv has failed
    index=$(pip_setting index-url)
    certificates=$(pip_setting cert)
    if [ -n "$index" ]; then export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-${UV_INDEX_URL:-$index}}"; fi
    if [ -n "$certificates" ]; then export SSL_CERT_FILE="${SSL_CERT_FILE:-$certificates}"; fi
    if [ -n "$(pip_setting no-index)" ]; then export UV_NO_INDEX=1; fi
}

digest() { # FILE...; the checkout's path belongs to it, since programs in .venv/bin hold that path
    { printf '%s\n' "$root" && cat "$@"; } | cksum
}

is_ready() { # VENV DIGEST
    [ -f "$1/.ready" ] && [ "$(cat "$1/.ready")" = "$2" ] && "$1/bin/python" -c '' 2>/dev/null
}

begin() { # VENV: alone in this checkout, and on nothing that an interrupted set-up left half done
    mkdir -p .python || no_room
    if ! (set -C && echo $$ >"$at_work") 2>/dev/null; then
        other=$(cat "$at_work" 2>/dev/null || :)
        if [ -n "$other" ] && [ "$other" != $$ ] && kill -0 "$other" 2>/dev/null; then
            fail 6 "Another set-up (process $other) is at work in this checkout. Run this again when it is done;" \
                "  if there is none, delete $at_work."
        fi
        rm -rf "$1"
        echo $$ >"$at_work" || no_room
    fi
    mine=yes
}

finish() { # VENV DIGEST
    echo "$2" >"$1/.ready" || no_room
    rm -f "$at_work"
}

set_up() {
    now=$(digest requirements/dev.txt pyproject.toml)
    if is_ready .venv "$now" && [ -x .venv/bin/lambdafit ]; then return 0; fi
    started=$(date +%s)
    begin .venv
    if ! usable .venv; then
        check_room
        choose_python
        stage ".venv, with $python" make_venv .venv "$python" || packages_failed
    fi
    rm -f .venv/.ready
    if ! .venv/bin/uv --version >/dev/null 2>&1; then
        awk '/^[^ #]/ { here = /^uv==/ } here' requirements/dev.txt >.venv/uv.txt || no_room
        stage "uv" with_pip .venv --require-hashes -r .venv/uv.txt || packages_failed
    fi
    hand_pip_settings_to_uv
    stage "packages (the first time about 600 MB to fetch, 2 GB on the disk)" \
        install .venv --require-hashes -r requirements/dev.txt || packages_failed
    stage "lambdafit itself" install .venv --no-deps --no-build-isolation -e . || packages_failed
    finish .venv "$now"
    say "ready in $(($(date +%s) - started)) s"
}

peers() { # VENV FILE
    now=$(digest "$2")
    if is_ready "$1" "$now"; then return 0; fi
    begin "$1"
    hand_pip_settings_to_uv
    stage "$1" make_venv "$1" .venv/bin/python || packages_failed
    stage "packages of $2" install "$1" -r "$2" || packages_failed
    finish "$1" "$now"
}

case ${1:-} in
'') set_up ;;
--find-python)
    choose_python
    printf '%s\n' "$python"
    ;;
--peers)
    [ $# -eq 3 ] || fail 2 "usage: scripts/setup.sh --peers VENV FILE"
    peers "$2" "$3"
    ;;
*) fail 2 "usage: scripts/setup.sh [--find-python | --peers VENV FILE]" ;;
esac

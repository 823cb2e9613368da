#!/bin/sh
# Make or update .venv from requirements.lock; the Makefile calls this when .venv/.complete is missing or out of date.
# It needs Python >= 3.11 and nothing else: uv comes from the lock as well, checked by its hash.
set -eu
cd "$(dirname "$0")/.."
python=.venv/bin/python
complete=.venv/.complete
changing=.venv/.changing # holds our process id from the first change to the last
supported='import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))'

if [ -e $changing ] && other=$(cat $changing) && kill -0 "$other" 2>/dev/null; then
  echo "waiting for process $other, which is setting up .venv (if it is something else: rm $changing)" >&2
  while kill -0 "$other" 2>/dev/null; do sleep 1; done
fi
if [ -e $changing ]; then # a kill left it half-way, and nothing in it is to be trusted
  echo "removing .venv: its set-up was interrupted" >&2
  rm -rf .venv
fi

if ! $python -c "$supported" 2>/dev/null; then
  base=
  for candidate in python3.13 python3.12 python3.11 python3; do
    # Run it: a name on the PATH may be a shim with nothing behind it, or lack ensurepip (Debian's python3-venv).
    if $candidate -c "$supported" 2>/dev/null; then base=$candidate && break; fi
  done
  if [ -z "$base" ]; then
    echo "error: no Python >= 3.11 and < 3.14 that can make a virtual environment; looked for python3.13, python3.12," \
      "python3.11 and python3. Install one (Debian, Ubuntu: apt install python3-venv; macOS: brew install" \
      "python@3.13), or use conda: conda env create -f environment.yml && conda activate xcnn &&" \
      "make PYTHON=python TARGET" >&2
    exit 2
  fi
  echo "making .venv with $base ($($base -c 'import platform; print(platform.python_version())'))" >&2
  rm -rf .venv
  mkdir .venv
  echo $$ >$changing
  $base -m venv .venv
fi
echo $$ >$changing

# An update that fails by itself (no network) does so before it changes anything, and the old environment stays.
failed() {
  status=$?
  if [ $status -lt 128 ] && [ -e $complete ]; then rm -f $changing; fi
  exit $status
}

if ! grep -q "^uv==$($python -m uv --version 2>/dev/null | cut -d ' ' -f 2) " requirements.lock; then
  awk '/^[^ #]/ { uv = /^uv==/ } uv' requirements.lock >.venv/uv.txt
  $python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r .venv/uv.txt || failed
fi
if [ -t 2 ]; then quiet=; else quiet=--quiet; fi # progress bars where someone watches
echo "installing requirements.lock into .venv (about 7 GB on Linux, with CUDA; the first time takes minutes)" >&2
# Compiled at once: where Python writes no bytecode (read-only places, PYTHONDONTWRITEBYTECODE), every process would
# compile all that it imports anew, and take more than twice as long to start.
$python -m uv pip install $quiet --python $python --compile-bytecode --require-hashes -r requirements.lock || failed
$python -m uv pip install $quiet --python $python --no-deps --no-build-isolation --editable . || failed
rm -f $changing
touch $complete

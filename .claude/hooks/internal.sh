#!/bin/sh
# Runs `mnemosyne internal` with these arguments and with what is on stdin: of the installed program, else of a build of
# this repository. Where there is none it does nothing. An agent waits for this, so it says nothing and always succeeds;
# what could not be recorded is counted in the data directory.
root=$(dirname "$0")/../..
for program in "$(command -v mnemosyne)" \
    "$root"/target/release/mnemosyne "$root"/target/*/release/mnemosyne \
    "$root"/target/debug/mnemosyne "$root"/target/*/debug/mnemosyne; do
    if [ -f "$program" ] && [ -x "$program" ]; then
        "$program" internal "$@" >/dev/null 2>&1
        exit 0
    fi
done
exit 0

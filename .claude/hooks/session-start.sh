#!/bin/sh
# An agent's session in this repository has started: the hook's payload is on stdin.
exec sh "$(dirname "$0")/internal.sh" session-started

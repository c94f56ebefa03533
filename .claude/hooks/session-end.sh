#!/bin/sh
# An agent's session in this repository has ended: the hook's payload is on stdin.
exec sh "$(dirname "$0")/internal.sh" session-ended

#!/bin/sh
# Hands one hook payload to the installed program. Without one it does nothing: an agent waits for this.
command -v mnemosyne >/dev/null 2>&1 || exit 0
exec mnemosyne hook --plugin

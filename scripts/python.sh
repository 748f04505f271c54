#!/bin/sh
# python.sh: prints the path of a Python that is new enough, or one line on what to do.
# PYTHON names the one to take. Each candidate is run, since a version switcher may have
# put a command on the path that does not work.
set -eu

for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3 python}; do
    if found=$("$candidate" -c '
import sys
if sys.version_info >= (3, 11):
    print(sys.executable)
' 2>/dev/null) && [ -n "$found" ]; then
        echo "$found"
        exit 0
    fi
done

if [ -n "${PYTHON:-}" ]; then
    echo "knight: PYTHON=$PYTHON does not run or is older than Python 3.11" >&2
elif command -v python3 >/dev/null 2>&1; then
    have=$(python3 -c 'import platform; print(platform.python_version())' 2>/dev/null || echo unknown)
    echo "knight: Python 3.11 or later is needed; python3 here is $have. Install a newer one, or name it: make PYTHON=/path/to/python3" >&2
else
    echo "knight: Python 3.11 or later is needed and none was found. On Debian or Ubuntu: apt-get install python3 python3-venv" >&2
fi
exit 1

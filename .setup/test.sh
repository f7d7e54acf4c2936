#!/usr/bin/env bash
# Run the tests: .setup/test.sh PYTHON [PYTEST ARGUMENT...]
#
# Without paths among the arguments all tests run, in two sessions side by side: those of the labs, which mostly wait for
# clusters, and all others. The labs' output comes when both have ended. Everything a session makes has its own names.
set -uo pipefail
cd "$(dirname "$0")/.."
python=$1
shift
for argument in "$@"; do
	case $argument in
	-*) ;;
	*) exec "$python" -m pytest "$@" ;;
	esac
done
scratch=$(mktemp)
labs=
trap '[ -z "$labs" ] || kill "$labs" 2>/dev/null; rm -f "$scratch"' EXIT
"$python" -m pytest "$@" tests/labs >"$scratch" 2>&1 &
labs=$!
"$python" -m pytest "$@" --ignore=tests/labs tests
rest=$?
wait "$labs"
status=$?
labs=
echo "The labs' tests:"
cat "$scratch"
[ "$rest" -ne 0 ] || exit "$status"
exit "$rest"

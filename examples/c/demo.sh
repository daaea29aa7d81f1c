#!/bin/sh
# C programs that know only TIMCloud.h talk through a server: first two small ones, then a tour of all callbacks. Part of `make demo`.
set -eu
cd "$(dirname "$0")/../.."
BIN=${BIN:-bin/tidings} LIB=${LIB:-lib}
dir=$(mktemp -d)
server=
finish() {
  status=$?
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  [ $status = 0 ] || cat "$dir/log" >&2
  rm -rf "$dir"
}
trap finish EXIT
mkfifo "$dir/server" "$dir/in" "$dir/out"
for program in chat device; do
  cc -std=gnu11 -Wall -Wextra -Werror -pthread -I"$LIB/include" -o "$dir/$program" "examples/c/$program.c" -L"$LIB" -lImSDK -Wl,-rpath,"$(cd "$LIB" && pwd)"
done

echo "Two C programs"

"$BIN" serve --listen 127.0.0.1:0 --data "$dir/data" >"$dir/server" 2>"$dir/log" &
server=$!
exec 3<"$dir/server"
while read -r word value <&3; do
  [ "$word" != server ] || break
done
TIDINGS_SERVER=$value
export TIDINGS_SERVER
ticket() { "$BIN" usersig --data "$dir/data" --user "$1"; }

XDG_DATA_HOME=$dir/bob "$dir/chat" bob "$(ticket bob)" <"$dir/in" >"$dir/out" 2>>"$dir/log" &
bob=$!
exec 4>"$dir/in" 5<"$dir/out"
read -r line <&5
echo "  bob:   $line"
XDG_DATA_HOME=$dir/alice "$dir/chat" alice "$(ticket alice)" bob "Hello from C" </dev/null 2>>"$dir/log" | sed 's/^/  alice: /'
read -r line <&5
echo "$line" | sed 's/^\(new messages: \).*\("text_elem_content":"[^"]*"\).*/  bob:   \1... \2 .../'
case $line in
*'"text_elem_content":"Hello from C"'*) ;;
*) echo "bob heard something else" >&2; exit 1 ;;
esac
exec 4>&-
wait "$bob"
echo "  bob:   logged out"

BIN=$BIN DEVICE=$dir/device ${GO:-go} run ./examples/c/tour

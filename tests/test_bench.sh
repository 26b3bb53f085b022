#!/bin/sh
# test_bench.sh: the benchmark runs, and what it writes can be drawn. Nothing here
# depends on how fast anything is. Run it from the repository root.
CC=${CC:-cc}
T=$(mktemp -d) || exit 1
trap 'rm -rf "$T"' EXIT
trap 'exit 1' HUP INT TERM
LC_ALL=C
export LC_ALL
passed=0
failed=0

# check "what" command...: passes if the command succeeds.
check() {
    what=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $what"
    fi
}

bench() { "$T/bench" --seconds 0.01 --threads 1 "$@" >"$T/out" 2>"$T/err" </dev/null; }
plot() { python3 tests/plot.py "$@" >"$T/out" 2>"$T/err"; }
has() { grep -q -e "$2" "$T/$1" || { sed 's/^/  | /' "$T/$1"; return 1; }; }
# The exit status and one line on standard error that has WORD in it.
fails() {
    want=$1 word=$2
    shift 2
    "$@"
    status=$?
    [ $status -eq "$want" ] && [ "$(wc -l <"$T/err")" -eq 1 ] && has err "$word"
}

check "bench.c compiles" "$CC" -O1 -o "$T/bench" tests/bench.c -lm
mkdir "$T/tmp"
TMPDIR=$T/tmp
export TMPDIR

bench --models story --types f16,q8 --batch story --tokens 300 --json "$T/json"
check "bench: exit status" [ $? -eq 0 ]
check "bench: nothing is wrong" [ ! -s "$T/err" ]
for type in f16 q8; do
    check "bench: a line for $type" has out "^story  *$type  *1  *[1-9]"
    check "bench: where a token's time goes, $type" has out "^story $type, one thread: "
done
check "bench: states at once" has out "64 states"
check "bench: the straight line" has out "from the straight line of "
check "bench: a point for 300 tokens" has out "^ *300  *0[.]"
check "bench: its files are gone" [ -z "$(ls "$T/tmp")" ]
check "bench: figures of 2 lines, 8 batches, 10 points, a line, 2 breakdowns" \
    [ "$(wc -l <"$T/json")" -eq 23 ]

# ---- another program

printf '#!/bin/sh\necho "$@" >>"%s/asked"\necho loading\necho "0.5 0.25 tokens/s"\n' "$T" >"$T/peer"
bench --models story --types f16 --parts table --peer "sh $T/peer --fast"
check "peer: exit status" [ $? -eq 0 ]
check "peer: what it says" has out "peer: decode 0.5, here .* times; prompt 0, here .* times"
check "peer: what it is asked" has asked "^--fast story f16 1 256$"
check "peer: in rounds" [ "$(wc -l <"$T/asked")" -eq 3 ]
check "peer: that says nothing" fails 1 "true story f16 1 256: .* two numbers" \
    bench --models story --types f16 --parts table --peer true
check "peer: that fails" fails 1 "false story f16 1 256: failed" \
    bench --models story --types f16 --parts table --peer false

# ---- what goes wrong

check "no such file" fails 1 "nothing.rwkv" bench --models nothing.rwkv
for wrong in "--types f17" "--threads 0" "--threads 1,x" "--tokens 1" "--models" "--what 1" "extra"; do
    # shellcheck disable=SC2086
    bench $wrong
    check "bench $wrong: usage" [ $? -eq 2 ]
done

"$T/bench" --models 169M --types q4 >"$T/out" 2>&1 &
while [ -z "$(ls "$T/tmp")" ] && kill -0 $! 2>/dev/null; do sleep 0.05; done
kill $!
wait $!
check "ended by a signal: exit status" [ $? -eq 143 ]
check "ended by a signal: its file is gone" [ -z "$(ls "$T/tmp")" ]

# ---- drawing

if command -v python3 >/dev/null; then
    check "plot: draws" plot "$T/json" "$T/svg"
    check "plot: says nothing" [ ! -s "$T/out" ]
    check "plot: an SVG" has svg '<svg xmlns="http://www.w3.org/2000/svg"'
    check "plot: is XML" python3 -c 'import sys, xml.dom.minidom as x; x.parse(sys.argv[1])' "$T/svg"
    check "plot: is small" [ "$(wc -c <"$T/svg")" -lt 30000 ]
    for title in "Writing one token" "Reading a prompt" "Many texts" "Linear time"; do
        check "plot: $title" has svg "$title"
    done
    grep '"table"' "$T/json" >"$T/part"
    check "plot: a part alone" plot "$T/part" "$T/svg"
    check "plot: table" plot --table "$T/part"
    check "plot: a row of the table" has out '^| story q8 | 1 | [0-9]'
    check "plot: no file" fails 1 "nothing.json" plot "$T/nothing.json" "$T/svg"
    check "plot: not of bench" fails 1 "line 1 is not of bench" plot README.md "$T/svg"
    : >"$T/empty"
    check "plot: nothing measured" fails 1 "nothing measured" plot "$T/empty" "$T/svg"
    check "the picture of the README is XML" \
        python3 -c 'import sys, xml.dom.minidom as x; x.parse(sys.argv[1])' tests/bench.svg
else
    echo "skipped: drawing (python3 is not installed)"
fi

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]

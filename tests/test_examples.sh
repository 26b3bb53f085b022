#!/bin/sh
# test_examples.sh: compile and run every program in examples/. Run it from the
# repository root. CC, CFLAGS and MODEL may be given.
CC=${CC:-cc}
CFLAGS=${CFLAGS:--O1}
MODEL=${MODEL:-examples/story.rwkv}
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

# fails STATUS WORD program args...: that exit status, nothing on standard output,
# and one line on standard error that has WORD in it.
fails() {
    status=$1 word=$2
    shift 2
    "$@" >"$T/out" 2>"$T/err" </dev/null
    got=$?
    if [ $got -eq "$status" ] && [ ! -s "$T/out" ] && [ "$(wc -l <"$T/err")" -eq 1 ] &&
        grep -q -e "$word" "$T/err"; then
        return 0
    fi
    echo "  $*: exit status $got, expected $status; standard error:"
    sed 's/^/  | /' "$T/err"
    return 1
}

runs() { "$@" >"$T/out" 2>"$T/err" </dev/null; }
same() { cmp -s "$T/$1" "$T/$2" || { diff "$T/$1" "$T/$2" | head -5; return 1; }; }
differ() { ! cmp -s "$T/$1" "$T/$2"; }
text() { [ -s "$T/$1" ]; }
tell() { "$T/complete" --quiet --temperature 0.7 --top-p 0.9 "$@"; }
chat() { "$T/chat" --length 60 --seed 7 "$@" "$MODEL"; }

# ---- they compile, and they are short

programs=$(cd examples && ls ./*.c | sed 's|^./||; s|[.]c$||')

# Each is compiled as it is, whole. What is tested below has one implementation for all, which takes
# long to optimize; arena, of another kind, keeps its own, without kernels.
pthread=
echo 'int main(void) { return 0; }' >"$T/none.c"
$CC -pthread -o "$T/none.out" "$T/none.c" 2>/dev/null && pthread=-pthread
# shellcheck disable=SC2086
{
    $CC -std=c99 $CFLAGS -c -o "$T/rwkv.o" tests/rwkv.c &
    $CC -std=c99 -DRWKV_NO_SIMD $CFLAGS -o "$T/arena" examples/arena.c -lm &
    for name in $programs; do
        $CC -std=c99 -DRWKV_NO_SIMD $pthread -o "$T/whole-$name" "examples/$name.c" -lm
        [ "$name" = arena ] || $CC -std=c99 $CFLAGS -DRWKV__DONE -c -o "$T/$name.o" "examples/$name.c"
    done
    wait
    for name in $programs; do
        [ "$name" = arena ] || $CC $pthread -o "$T/$name" "$T/$name.o" "$T/rwkv.o" -lm
    done
}
for name in $programs; do
    check "$name.c compiles" [ -x "$T/whole-$name" ]
    check "$name.c: under 150 lines" [ "$(wc -l <"examples/$name.c")" -lt 150 ]
done
check "hello.c: under 30 lines" [ "$(wc -l <examples/hello.c)" -lt 30 ]

# ---- complete

tell --seed 3 --length 200 "$MODEL" "Once upon a time" >"$T/story" 2>"$T/err"
check "complete: exit status" [ $? -eq 0 ]
check "complete: --quiet is quiet" [ ! -s "$T/err" ]
check "complete: begins with the prompt" grep -q '^Once upon a time' "$T/story"
check "complete: goes on" [ "$(wc -c <"$T/story")" -gt 100 ]
tell --seed 3 --length 200 "$MODEL" "Once upon a time" >"$T/again"
check "complete: a seed writes one text" same story again
tell --seed 4 --length 200 "$MODEL" "Once upon a time" >"$T/other"
check "complete: another seed, another text" differ story other
printf 'Once upon a time' | tell --seed 3 --length 200 "$MODEL" - >"$T/again"
check "complete: standard input is the same as the argument" same story again
printf 'Once upon a time\n' | tell --seed 3 --length 200 "$MODEL" - >"$T/again"
check "complete: without the newline at its end" same story again
tell --seed 3 --length 200 "$MODEL" "Once upon a time
" >"$T/again"
check "complete: which would change the text" differ story again
printf 'One\n\n' | tell --length 0 "$MODEL" - >"$T/out"
printf 'One\n' >"$T/expected"
check "complete: one newline only" same expected out
printf 'One\r\n' | tell --length 0 "$MODEL" - >"$T/out"
check "complete: a CRLF is one newline" same expected out
tell --seed=3 --threads=3 --length=200 -- "$MODEL" "Once upon a time" >"$T/again"
check "complete: --option=value, three threads: the same text" same story again
{ printf 'Once upon a time'; tell --no-echo --seed 3 --length 200 "$MODEL" "Once upon a time"; } \
    >"$T/again"
check "complete: --no-echo leaves out the prompt alone" same story again
tell --seed 2 --length 50 --presence 2 --frequency 1 "$MODEL" "Once upon a time" >"$T/again"
tell --seed 2 --length 50 "$MODEL" "Once upon a time" >"$T/fifty"
for isa in $("$T/complete" --help | sed -n 's/.*kernels to use: \(.*\) (.*/\1/p' | tr -d ,); do
    tell --isa "$isa" --seed 2 --length 50 "$MODEL" "Once upon a time" >"$T/isa"
    check "complete: --isa $isa: the same text" same fifty isa
done
check "complete: the penalties do something" differ fifty again
tell --seed 1 --temperature 0 --length 20 "$MODEL" "The" >"$T/greedy"
tell --seed 2 --top-k 1 --length 20 "$MODEL" "The" >"$T/again"
check "complete: temperature 0 and top-k 1 are greedy" same greedy again
tell --seed 1 --length 40 "$MODEL" >"$T/out"
check "complete: no prompt begins a text" text out
tell --seed 1 --length 40 "$MODEL" "" >"$T/again"
check "complete: an empty prompt is the same" same out again
tell --seed 1 --length 40 "$MODEL" - </dev/null >"$T/again"
check "complete: so is empty standard input" same out again
tell --seed 1 --length 1000 --no-stop "$MODEL" "The end." >"$T/again"
check "complete: --no-stop goes on" [ "$(wc -c <"$T/again")" -gt 2000 ]

printf 'a\000b\n' | tell --length 0 "$MODEL" - >"$T/out"
printf 'a\000b\n' >"$T/expected"
check "complete: NUL bytes are text, --length 0 writes nothing" same expected out
printf 'a\377b\342\202c\355\240\200\364\220\200\200d\303\251\342\202' |
    tell --length 0 "$MODEL" - >"$T/out"
r='\357\277\275'
# shellcheck disable=SC2059
printf "a${r}b${r}c${r}${r}${r}${r}${r}${r}${r}d\303\251${r}\n" >"$T/expected"
check "complete: what is no UTF-8 becomes U+FFFD" same expected out
if command -v iconv >/dev/null; then
    tell --seed 1 --temperature 3 --top-p 0 --length 300 --no-stop "$MODEL" >"$T/wild"
    check "complete: writes whole characters only" runs iconv -f UTF-8 -t UTF-8 "$T/wild"
    for program in hello arena; do
        "$T/$program" tests/fixtures/f16-bytes.rwkv >"$T/wild" 2>"$T/err"
        check "$program: writes whole characters only" runs iconv -f UTF-8 -t UTF-8 "$T/wild"
        # shellcheck disable=SC2059
        check "$program: and U+FFFD for the rest" grep -q "$(printf "$r")" "$T/wild"
    done
else
    echo "skipped: no iconv to check the UTF-8 with"
fi
i=0
while [ $i -lt 150 ]; do
    echo "The dog and the cat went to the $i. "
    i=$((i + 1))
done >"$T/long"
tell --seed 1 --length 9 "$MODEL" - <"$T/long" >"$T/out"
tell --seed 1 --length 9 "$MODEL" "$(cat "$T/long"; echo .)" >"$T/again"
check "complete: a long prompt" [ "$(wc -c <"$T/out")" -gt "$(wc -c <"$T/long")" ]
check "complete: the prompt counts to its last byte" differ out again
"$T/complete" --no-stop --length 60000 "$MODEL" 2>"$T/err" | head -c 300 >"$T/out"
check "complete: its reader leaves" [ "$(wc -c <"$T/out")" -eq 300 ]
check "complete: and it ends at once" [ "$(grep -c 'wrote 60000' "$T/err")" -eq 0 ]
check "complete: and quietly" [ "$(grep -c '^complete: ' "$T/err")" -eq 0 ]
for program in complete batch prefix chat; do
    printf 'Hello.\nGo on.\n' |
        { "$T/$program" --length 200 "$MODEL" 2>"$T/err"; echo $? >"$T/status"; } | :
    check "$program: no reader: exit status" [ "$(cat "$T/status")" -eq 0 ]
    check "$program: no reader: quiet" [ "$(grep -c "^$program: " "$T/err")" -eq 0 ]
done
if [ -w /dev/full ]; then
    tell "$MODEL" "The" >/dev/full 2>"$T/err"
    check "complete: a full disk is an error" [ $? -eq 1 ]
    check "complete: and is said" grep -q '^complete: standard output: ' "$T/err"
    for program in $programs; do
        case $program in
        hello | arena) continue ;;
        esac
        "$T/$program" --help >/dev/full 2>"$T/err"
        check "$program: --help on a full disk is an error" [ $? -eq 1 ]
        check "$program: and is said" grep -q "^$program: standard output: " "$T/err"
    done
    "$T/arena" "$MODEL" >/dev/full 2>"$T/err"
    check "arena: a full disk is an error" [ $? -eq 1 ]
    check "arena: and is said" grep -q '^arena: standard output: cannot' "$T/err"
fi
"$T/complete" --seed 5 --length 5 "$MODEL" "The" >"$T/out" 2>"$T/err"
check "complete: says what it does" grep -q 'RWKV-4, [0-9]* layers x [0-9]*, vocabulary' "$T/err"
check "complete: says the seed and the speed" grep -q '^read .*/s), wrote .*/s)$' "$T/err"

for bad in temperature=x temperature=-1 temperature= top-p=1.5 top-p=nan top-k=1.5 top-k=-1 \
    presence=1e9 frequency=abc decay=2 min-p=2 seed=-1 seed=18446744073709551616 seed=1x length=-1 \
    length=99999999999 threads=0 threads=257 isa=abacus; do
    check "complete: --$bad is refused" \
        fails 2 "^complete: --${bad%%=*}: expected .*\"${bad#*=}\"" \
        "$T/complete" "--$bad" "$MODEL" a
done
check "complete: no arguments" fails 2 "expected a model file (" "$T/complete"
check "complete: an empty name" fails 2 'expected a model file, found ""' "$T/complete" ''
bpe=tests/fixtures/bpe.rwkv
check "complete: a prompt that cannot be read is not repeated" \
    fails 1 "byte 4: C0 hexadecimal" "$T/complete" --quiet $bpe "$(printf 'Bad \300 byte.')"
check "complete: nor a ban" fails 1 '^complete: --ban: .*byte 1: C1 hexadecimal' \
    "$T/complete" --quiet --ban "$(printf 'x\301')" $bpe a
check "complete: an unknown option" fails 2 "no such option: --tempo" "$T/complete" --tempo 1
check "complete: a value is missing" fails 2 "--seed: expected a value" "$T/complete" --seed
check "complete: too many arguments" fails 2 '"three"' "$T/complete" one two three
check "complete: nothing to continue" fails 2 "empty" "$T/complete" --quiet --no-bos "$MODEL"
check "complete: no such file" fails 1 "$T/none: " "$T/complete" "$T/none" a
check "complete: not a model file" fails 1 "hello.c: " "$T/complete" examples/hello.c a
head -c 100000 "$MODEL" >"$T/cut.rwkv"
check "complete: a file that is cut" fails 1 "100000" "$T/complete" "$T/cut.rwkv" a
check "complete: --help" runs "$T/complete" --help
check "complete: --help goes to standard output" grep -q '^usage: complete' "$T/out"
check "complete: --help: its seed" grep -q -e '--seed .*(the clock)' "$T/out"
check "complete: a folder for a model" fails 1 "$T: " "$T/complete" "$T" a
"$T/complete" --threads 2 --length 0 "$MODEL" a >"$T/out" 2>"$T/err"
if grep -q OpenMP "$T/err"; then
    check "complete: --threads without OpenMP: how to build" grep -q -e '-fopenmp' "$T/err"
    check "complete: and that comes first" [ "$(sed -n '/OpenMP/=' "$T/err")" -eq 1 ]
fi
if command -v python3 >/dev/null; then
    python3 -c '
import struct, sys, zlib
data = bytearray(open(sys.argv[1], "rb").read())
def write(path, tokenizer, size, vocabulary, first):
    struct.pack_into("<I", data, 20, tokenizer)
    struct.pack_into("<QQ", data, 48, size, vocabulary)
    data[128] ^= first
    struct.pack_into("<I", data, 120, zlib.crc32(data[128:size]))
    struct.pack_into("<I", data, 124, zlib.crc32(data[:124]))
    open(path, "wb").write(data[:size])
vocabulary = struct.unpack_from("<Q", data, 56)[0]
V, D = struct.unpack_from("<II", data, 24)
head = len(data) - vocabulary - 2 * V * D
kept = bytes(data)
struct.pack_into("<f", data, head - 4 * D, 100)           # the bias of ln_out, and so hidden[0]
for token in b"a"[0] + 1, b"b"[0] + 1:
    at = token // 16 * 16 * D + token % 16                # column 0 of the head, f16
    struct.pack_into("<H", data, head + 2 * at, 0xFC00)   # -infinity
write(sys.argv[2] + "/never.rwkv", 2, len(data), vocabulary, 0)
data[:] = kept
write(sys.argv[2] + "/other.rwkv", 2, len(data), vocabulary, 1)
write(sys.argv[2] + "/mute.rwkv", 0, len(data) - vocabulary, 0, 1)' "$MODEL" "$T"
    check "complete: no tokenizer" fails 1 "no tokenizer" "$T/complete" "$T/mute.rwkv" a
    check "hello: no tokenizer" fails 1 "no vocabulary" "$T/hello" "$T/mute.rwkv"
    runs "$T/arena" "$T/mute.rwkv"
    check "arena: no tokenizer" [ $? -eq 1 ]
    runs "$T/chat" --session "$T/others" "$T/other.rwkv"
    check "chat: a session of another model" \
        fails 1 "others: belongs to another model file" "$T/chat" --session "$T/others" "$MODEL"
    check "classify: labels that are impossible" \
        fails 1 "no label is possible: ln p of each is -inf" \
        "$T/classify" "$T/never.rwkv" --labels a,b "Once upon a"
    check "classify: one that is" runs "$T/classify" "$T/never.rwkv" --labels a,b,c "Once upon a"
    check "classify: is certain" grep -q '^1[.]00000  ln p .*  "c"$' "$T/out"
    check "classify: the others" [ "$(grep -c '^0[.]00000  ln p *-inf  "[ab]"$' "$T/out")" -eq 2 ]
else
    echo "skipped: no python3 to make other models"
fi

# ---- complete: stop strings, bans, biases

tell --seed 3 --length 100 "$MODEL" "Once upon a time" >"$T/whole"
for range in 22-22 24-27 30-44; do
    stop=$(head -n 1 "$T/whole" | cut -c $range)
    tell --seed 3 --length 100 --stop "never said" --stop "$stop" "$MODEL" "Once upon a time" >"$T/out"
    awk -v stop="$stop" 'BEGIN { RS = "\001" } {
        text = substr($0, 17)
        at = index(text, stop)
        out = "Once upon a time" (at ? substr(text, 1, at - 1) : text)
        sub(/\n$/, "", out)
        print out
    }' "$T/whole" >"$T/expected"
    check "complete: --stop '$stop': the text before it" same expected out
    check "complete: --stop '$stop': and no more" [ "$(wc -c <"$T/out")" -lt "$(wc -c <"$T/whole")" ]
done
tell --seed 3 --length 100 --stop "$(printf '\001')" "$MODEL" "Once upon a time" >"$T/again"
check "complete: a stop string that does not occur" same whole again
tell --seed 3 --length 100 --ban " a" --ban 0 --ban=' the' "$MODEL" "Once upon a time" >"$T/out"
check "complete: --ban" differ whole out
tell --seed 5 --temperature 0 --length 1 --no-echo "$MODEL" "Once upon a" >"$T/out"
check "complete: what it would say" grep -q '^ time$' "$T/out"
tell --seed 5 --temperature 0 --length 1 --no-echo --ban " time" "$MODEL" "Once upon a" >"$T/out"
check "complete: --ban: it says something else" [ "$(grep -c time "$T/out")" -eq 0 ]
tell --temperature 0 --length 1 --no-echo --bias " dog=100" "$MODEL" "Once upon a" >"$T/out"
check "complete: --bias" grep -q '^ dog$' "$T/out"
tell --seed 9 --temperature 3 --top-p 0 --min-p 1 --length 20 "$MODEL" "The" >"$T/out"
check "complete: --min-p 1 is greedy" same greedy out
check "complete: --ban: a text of more tokens" \
    fails 2 '--ban: expected 1 token, found [0-9]* in "xyzzy"' "$T/complete" --ban xyzzy "$MODEL" a
check "complete: --ban: no such token" \
    fails 2 "--ban: expected a token from 0 to [0-9]*, found 999999" \
    "$T/complete" --ban 999999 "$MODEL" a
check "complete: --bias: no number" fails 2 '--bias: .*"x"' "$T/complete" --bias "3=x" "$MODEL" a
check "complete: --bias: nothing to add" fails 2 'TOKEN=X, found "3"' "$T/complete" --bias 3 "$MODEL" a
check "complete: --stop: no text" fails 2 "1 to 255 bytes, found 0" "$T/complete" --stop= "$MODEL" a
# shellcheck disable=SC2046
check "complete: --stop: too many" fails 2 "more than 32" \
    "$T/complete" $(seq 1 33 | sed 's/^/--stop=/') "$MODEL" a

# ---- hello and arena write what complete writes

check "hello: runs" runs "$T/hello" "$MODEL"
check "hello: the same text as complete" same story out
if [ -c /dev/full ]; then
    "$T/hello" "$MODEL" >/dev/full
    check "hello: a full disk" [ $? -ne 0 ]
fi
check "hello: no such file" fails 1 "$T/none" "$T/hello" "$T/none"
tell --seed 1 --length 40 "$MODEL" "Once upon a time" >"$T/forty"
check "arena: runs" runs "$T/arena" "$MODEL"
check "arena: the same text as complete" same forty out
check "arena: nothing asked for while writing" grep -q '^ *0 bytes  asked for while' "$T/err"
check "arena: says where the bytes went" [ "$(grep -c ' bytes  ' "$T/err")" -eq 5 ]
if command -v nm >/dev/null && nm "$T/arena" >"$T/symbols" 2>/dev/null && [ -s "$T/symbols" ]; then
    check "arena: does not know malloc" [ "$(grep -c -w '[mc]alloc' "$T/symbols")" -eq 0 ]
fi
# shellcheck disable=SC2086
$CC -std=c99 -DRWKV_NO_SIMD $CFLAGS -O0 -DARENA_BYTES=100000 -o "$T/small" examples/arena.c -lm
check "arena: too small for the file: both numbers" \
    fails 1 "needs $(($(wc -c <"$MODEL"))) bytes, [0-9]* of 100000 .*ARENA_BYTES" \
    "$T/small" "$MODEL"
check "arena: no such file" fails 1 "none: cannot open it\$" "$T/arena" "$T/none"
check "arena: an empty name" fails 1 '^arena: "": cannot open it$' "$T/arena" ''
check "arena: a folder" fails 1 "cannot read it\$" "$T/arena" "$T"
"$T/arena" "$MODEL" >"$T/out" 2>&1
check "arena: in one pipe: the text" grep -q '^Once upon a time' "$T/out"
check "arena: and the numbers stay in order" \
    [ "$(sed -n '$s/.*  //p' "$T/out")" = "of the arena in use" ]

# ---- batch

check "batch: runs" runs "$T/batch" --length 40 --seed 1 "$MODEL"
check "batch: equal to one by one" grep -q 'in 8 texts: .*equal to the bit' "$T/err"
tell --seed 1 --length 40 "$MODEL" "Once upon a time" >"$T/expected"
echo >>"$T/expected"
head -n "$(wc -l <"$T/expected")" "$T/out" >"$T/first"
check "batch: the first story is the one complete writes" same expected first
printf 'The cat\n\nThe dog\nA bird' | "$T/batch" --length 99 "$MODEL" - >"$T/out" 2>"$T/err"
check "batch: prompts from standard input" grep -q 'in 3 texts: .*equal to the bit' "$T/err"
for prompt in "The cat" "The dog" "A bird"; do
    check "batch: has \"$prompt\"" grep -q "^$prompt" "$T/out"
done
printf '\r\n\nThe cat\r\n\r\nThe dog\nA bird\n\n' |
    "$T/batch" --length 99 "$MODEL" - >"$T/again" 2>"$T/err"
check "batch: line ends of both kinds, and empty lines" same out again
check "batch: no prompts" fails 1 "/dev/null: no prompts" "$T/batch" "$MODEL" /dev/null
check "batch: none on standard input" fails 1 "input: no prompts" "$T/batch" "$MODEL" -
yes 'The cat' | head -n 66 | "$T/batch" --length 9 "$MODEL" - >"$T/out" 2>"$T/err"
check "batch: more than a group" grep -q 'in 66 texts: .*equal to the bit' "$T/err"
tell --seed 66 --length 9 "$MODEL" "The cat" >"$T/expected"
echo >>"$T/expected"
tail -n "$(wc -l <"$T/expected")" "$T/out" >"$T/again"
check "batch: the last has its own seed" same expected again
"$T/batch" --length 5 "$MODEL" 2>&1 | tail -n 1 >"$T/out"
check "batch: in one pipe: the numbers come last" grep -q 'equal to the bit$' "$T/out"
check "batch: --length 0" runs "$T/batch" --length 0 "$MODEL"
printf 'One\n\nBad \300 byte.\nTwo' >"$T/bad"
{
    printf 'One' | "$T/batch" --length 20 $bpe - 2>/dev/null
    printf 'Two' | "$T/batch" --length 20 --seed 3 $bpe - 2>/dev/null
} >"$T/expected"
"$T/batch" --length 20 $bpe "$T/bad" >"$T/out" 2>"$T/err"
check "batch: a line that cannot be read: exit status" [ $? -eq 1 ]
check "batch: its number" grep -q '^batch: .*/bad, line 3: .*byte 4: C0 hexadecimal' "$T/err"
check "batch: the others are written, with their seeds" same expected out
check "batch: and are equal to one by one" grep -q 'in 2 texts: .*equal to the bit' "$T/err"
printf '\300' | "$T/batch" $bpe - >"$T/out" 2>"$T/err"
check "batch: nothing can be read: exit status" [ $? -eq 1 ]
check "batch: and the number" grep -q '^batch: standard input, line 1: .*byte 0: C0' "$T/err"
check "batch: a name that is empty" fails 1 '^batch: "": ' "$T/batch" "$MODEL" ""
check "batch: no such file" fails 1 "$T/none: " "$T/batch" "$MODEL" "$T/none"
check "batch: a bad value" fails 2 '--length: expected .*"-1"' "$T/batch" --length -1 "$MODEL"

# ---- prefix

printf 'The fox came to the river and said,' >"$T/fox"
check "prefix: runs" runs "$T/prefix" --count 3 --length 30 "$MODEL" "$T/fox"
check "prefix: the same as reading again" grep -q '^3 continuations .*same to the bit' "$T/err"
cp "$T/out" "$T/expected"
for i in 1 2 3; do
    printf '%d. ...' $i
    tell --no-echo --seed $i --length 30 "$MODEL" - <"$T/fox"
done >"$T/again"
check "prefix: each is the one complete writes" same expected again
"$T/prefix" --count 3 --length 30 "$MODEL" - <"$T/fox" >"$T/out" 2>"$T/err"
check "prefix: standard input" same expected out
echo >>"$T/fox"
check "prefix: with a newline at its end" runs "$T/prefix" --count 3 --length 30 "$MODEL" "$T/fox"
check "prefix: the same" same expected out
check "prefix: a folder" fails 1 "$T: Is a directory\$" "$T/prefix" "$MODEL" "$T"
check "prefix: --help" runs "$T/prefix" --help
check "prefix: --help: its seed" grep -q -e '--seed .*(1)' "$T/out"
check "prefix: its own text" runs "$T/prefix" --count 2 --length 5 "$MODEL"
check "prefix: an empty text" fails 1 "no text" "$T/prefix" "$MODEL" /dev/null

# ---- chat

printf 'Hello.\nTell me of the fox.\nAnd then?\n' | chat >"$T/unbroken" 2>"$T/err"
check "chat: exit status" [ $? -eq 0 ]
check "chat: answers" text unbroken
check "chat: nothing on standard error" [ ! -s "$T/err" ]
printf 'Hello.\nTell me of the fox.\nAnd then?\n' | chat >"$T/again"
check "chat: a seed gives one conversation" same unbroken again
turn='User: Tell me about the fox.

Assistant:'
greedy() { "$T/complete" --quiet --temperature 0 --no-echo --length 20 "$MODEL" "$1"; }
first=$(greedy "$turn")
second=$(greedy "$turn$first

User: Why?

Assistant:")
printf '%s\n%s\n' "$first" "$second" | sed 's/^ //; /^$/d' >"$T/expected"
printf 'Tell me about the fox.\nWhy?\n' |
    "$T/chat" --temperature 0 --presence 0 --frequency 0 --length 20 "$MODEL" >"$T/out"
check "chat: answers as complete does after the same transcript" same expected out
{
    printf 'Hello.\n' | chat --session "$T/s"
    printf 'Tell me of the fox.\n' | chat --session "$T/s"
    printf 'And then?\n/quit\nNo more.\n' | chat --session "$T/s"
} >"$T/again"
check "chat: a session goes on as if unbroken" same unbroken again
printf 'Hello.\n/save %s\nWhat?\n/reset\n/load %s\nTell me of the fox.\nAnd then?' "$T/k" "$T/k" |
    chat >"$T/all" 2>"$T/err"
printf 'Hello.\nWhat?\n' | chat >"$T/what"
lines=$(printf 'Hello.\n' | chat | wc -l)
{ cat "$T/what"; tail -n "+$((lines + 1))" "$T/unbroken"; } >"$T/again"
check "chat: /load goes on from /save" same all again
cp "$MODEL" "$T/precious.rwkv"
printf '/save %s\n' "$T/precious.rwkv" | chat >"$T/out" 2>"$T/err"
check "chat: /save does not replace a model" cmp -s "$MODEL" "$T/precious.rwkv"
check "chat: /save says so" grep -q 'precious.rwkv: is no session' "$T/err"
head -c 100 "$T/k" >"$T/cut" && cat "$T/k" "$T/k" >"$T/twice"
printf '/load %s\n/load %s\n' "$T/cut" "$T/twice" | chat >"$T/out" 2>"$T/err"
check "chat: /load of a damaged session" [ "$(grep -c 'a session of this model has' "$T/err")" -eq 2 ]
printf 'Hello.\nBad \300 byte.\nWhat?\n' |
    "$T/chat" --temperature 0 --length 5 tests/fixtures/bpe.rwkv >"$T/out" 2>"$T/err"
check "chat: a byte that no token has ends no talk" [ $? -eq 0 ]
check "chat: and is named" grep -q 'byte 4: C0 hexadecimal' "$T/err"
printf 'Hello.\nWhat?\n' | "$T/chat" --temperature 0 --length 5 tests/fixtures/bpe.rwkv >"$T/again"
check "chat: and changes nothing" same out again
printf '\n  \n/quit\nHello.\n' | chat >"$T/out"
check "chat: empty lines and /quit say nothing" [ ! -s "$T/out" ]
printf '/reset  \n/help\t\n/save %s/blank \t\r\n/quit \r\nHello.\n' "$T" |
    chat >"$T/out" 2>"$T/err"
check "chat: blanks after commands: nothing is said" [ ! -s "$T/out" ]
check "chat: and the commands are obeyed" \
    [ "$(sed 's/; .*//' "$T/err")" = "(/reset, /save [FILE], /load [FILE], /retry, /help, /quit
(saved $T/blank)" ]
check "chat: /save: a name without the blanks" [ -f "$T/blank" ]
printf 'Hello.\n' | chat >"$T/hello_once"
printf '/quit\000x\n/save %s/nul\000x\nHello. \t \n' "$T" | chat >"$T/out" 2>"$T/err"
check "chat: a NUL after /quit: goes on" same hello_once out
check "chat: and is said" [ "$(grep -a -c '^chat: there is a NUL in the command /' "$T/err")" -eq 2 ]
check "chat: and obeys no part" [ ! -f "$T/nul" ]
greedy 'User: /quit

Assistant:' | sed 's/^ //; /^$/d' >"$T/expected"
printf '//quit\n' | "$T/chat" --temperature 0 --presence 0 --frequency 0 --length 20 "$MODEL" \
    >"$T/out" 2>"$T/err"
check "chat: // says a slash" same expected out
printf '/load %s\n/nonsense\n/load %s\nHello.\n' "$T" "$T/none" | chat >"$T/out" 2>"$T/err"
printf 'Hello.\n' | chat >"$T/again"
check "chat: a bad command is said, and it goes on" same again out
check "chat: all three bad commands" [ "$(grep -c '^chat: ' "$T/err")" -eq 3 ]
printf 'One.\\\n\\\n\\\nTwo.\n' | chat >"$T/out"
printf 'One.\\\nTwo.\n' | chat >"$T/again"
check "chat: empty lines inside are left out" same again out
printf 'One. Two.\n' | chat >"$T/again"
check "chat: the line end inside is not" differ again out
head -c 100 "$T/s" >"$T/cut"
cp "$T/cut" "$T/kept"
check "chat: a session that is cut" fails 1 "$T/cut: .*100 bytes" chat --session "$T/cut"
check "chat: and it is left alone" same kept cut
check "chat: a session that cannot be kept" \
    fails 1 "/none/s: cannot be written: " chat --session "$T/none/s"
printf 'Hello.\n' | chat --session "$T/none/s" >"$T/out" 2>"$T/err"
check "chat: which is said once, before any answer" [ "$(cat "$T/out" "$T/err" | wc -l)" -eq 1 ]
printf 'Hello.\n/retry\n/retry\nAnd then?\n' | chat >"$T/out" 2>"$T/err"
printf 'Hello.\n' | chat >"$T/hello_once"
check "chat: /retry begins with the same answer" \
    [ "$(head -n "$(wc -l <"$T/hello_once")" "$T/out")" = "$(cat "$T/hello_once")" ]
check "chat: /retry answers again" [ "$(wc -c <"$T/out")" -gt "$(($(wc -c <"$T/hello_once") + 20))" ]
printf 'Hello.\n/retry\nWhy?\n' | "$T/chat" --temperature 0 --length 20 "$MODEL" >"$T/out"
printf 'Hello.\nWhy?\n' | "$T/chat" --temperature 0 --length 20 "$MODEL" >"$T/again"
printf 'Hello.\n' | "$T/chat" --temperature 0 --length 20 "$MODEL" | cat - "$T/again" >"$T/expected"
check "chat: /retry takes the first answer back" same expected out
printf '/retry\n/save\n/help\n/save %s\n/retry\nHello.\n/save\n/load\n/retry\n' "$T/f" |
    chat >"$T/out" 2>"$T/err"
check "chat: /retry without an answer, three times" \
    [ "$(grep -c '^chat: /retry: there is no answer' "$T/err")" -eq 3 ]
check "chat: /save, /load: what was done" \
    [ "$(grep -e '^(saved' -e '^(loaded' "$T/err" | tr '\n' ' ')" = \
        "(saved $T/f) (saved $T/f) (loaded $T/f) " ]
check "chat: /save: no file" grep -q '^chat: /save: expected a FILE' "$T/err"
check "chat: /help" grep -q '^(/reset, /save' "$T/err"
check "chat: /save, /load: the last file, and no more is said" [ "$(wc -l <"$T/err")" -eq 8 ]
printf 'Hello.\n/save\n' | chat --session "$T/named" 2>"$T/err" >"$T/out"
check "chat: /save: the session's" [ "$(cat "$T/err")" = "(saved $T/named)" ]
if ln -s named "$T/link" 2>/dev/null; then
    chmod 600 "$T/named"
    cp "$T/named" "$T/kept"
    printf 'Why?\n' | chat --session "$T/link" >"$T/out"
    check "chat: a session through a link" [ -L "$T/link" ]
    check "chat: which goes on in the file it leads to" differ named kept
    check "chat: and stays private" [ "$(find "$T/named" -perm 600)" = "$T/named" ]
fi
if [ -c /dev/zero ]; then
    check "chat: of a session no more is read than it could have" \
        fails 1 "/dev/zero: bad format ([0-9]* bytes or more; a session" chat --session /dev/zero
fi
check "chat: a name that cannot be read" \
    fails 1 "chat: --user: .*byte 1: C0" "$T/chat" --user "$(printf 'a\300')" $bpe
check "chat: a session without a name" \
    fails 2 '^chat: --session: expected the name of a file, found ""' chat --session ''
# what is written and then renamed: no other program's, and no file of that name
mkdir "$T/shared"
echo precious >"$T/shared/s.part"
cp "$T/shared/s.part" "$T/kept"
i=0
while [ $i -lt 150 ]; do
    echo "/save $T/shared/s"
    i=$((i + 1))
done >"$T/saves"
chat <"$T/saves" >"$T/out" 2>"$T/err" &
chat <"$T/saves" >"$T/again" 2>"$T/other"
wait
check "chat: two at once save one file, and nothing fails" \
    [ "$(cat "$T/err" "$T/other" | grep -c "^(saved $T/shared/s)\$")" -eq 300 ]
printf '/load %s/shared/s\n' "$T" | chat >"$T/out" 2>"$T/err"
check "chat: and it is whole" [ "$(cat "$T/err")" = "(loaded $T/shared/s)" ]
check "chat: a .part file of another is left alone" cmp -s "$T/kept" "$T/shared/s.part"
check "chat: and none is left behind" [ "$(ls "$T/shared" | tr '\n' ' ')" = "s s.part " ]
first=$(greedy "Bob: Tell me about the fox.

Alice:")
stop=$(printf '%s' "$first" | tail -n 1 | cut -c 5-9)
before() {
    awk -v stop="$stop" 'BEGIN { RS = "\001" } {
        at = index($0, stop); print at ? substr($0, 1, at - 1) : $0 }'
}
shown=$(printf '%s' "$first" | before)
second=$(greedy "Bob: Tell me about the fox.

Alice:$shown

Bob: Why?

Alice:" | before)
printf '%s\n%s\n' "$shown" "$second" | sed 's/^ //; /^$/d' >"$T/expected"
printf 'Tell me about the fox.\nWhy?\n' | "$T/chat" --temperature 0 --presence 0 --frequency 0 \
    --length 20 --user Bob --bot Alice --stop "$stop" "$MODEL" >"$T/out"
check "chat: --stop: there was something to stop" [ ${#shown} -lt ${#first} ]
check "chat: --stop, --user, --bot: and what was not shown was not said" same expected out
if [ -f $bpe ]; then
    # what was read is in the session, even if a tiny model answers all alike
    bpe_chat() { printf 'Hi.\nWhy?\n' | "$T/chat" --seed 1 --length 20 "$@" $bpe >/dev/null; }
    bpe_chat --session "$T/raven"
    bpe_chat --session "$T/names" --user Bob --bot Alice
    bpe_chat --session "$T/world" --user User --bot Assistant
    check "chat: a 20B vocabulary: Bob and Alice" same raven names
    check "chat: and not User and Assistant" differ raven world
else
    echo "skipped: no $bpe to chat with in the Raven format"
fi
check "chat: no model" fails 2 "expected a model file" "$T/chat"
check "chat: --help" runs "$T/chat" --help

# ---- perplexity: against a softmax of its own, and in pieces

cat >"$T/check.c" <<'END'
#define RWKV_IMPLEMENTATION
#include "rwkv.h"
#include <math.h>
#include <stdio.h>
int main(int argc, char **argv)
{
    static char text[1000000];
    static int  tokens[1000000];
    rwkv_model *model = rwkv_load(argv[argc - 1], NULL, NULL);
    rwkv_state *state = rwkv_state_new(model);
    size_t size = fread(text, 1, sizeof text, stdin);
    int    V = rwkv_model_info(model).n_vocab, n, i, k;
    double nats = 0;
    const float *logits = rwkv_eval(0, state);
    n = rwkv_tokenize(model, text, size, tokens, 1000000);
    for (i = 0; i < n; i++) {
        double sum = 0;
        for (k = 0; k < V; k++) sum += exp((double)logits[k] - (double)logits[tokens[i]]);
        nats += log(sum);
        logits = rwkv_eval(tokens[i], state);
    }
    printf("%d %.0f %.7f %.7f %.7f\n", n, (double)size, nats / n, exp(nats / n),
           nats / log(2) / (double)size);
    return 0;
}
END
# shellcheck disable=SC2086
$CC -std=c99 $CFLAGS -DRWKV__DONE -I. -o "$T/check" "$T/check.c" "$T/rwkv.o" -lm
# close FILE FILE: as many numbers, and all within 2e-5 of each other
close() {
    awk 'NR == FNR { for (i = 1; i <= NF; i++) a[++n] = $i; next }
         { for (i = 1; i <= NF; i++) { d = $i - a[++m]; if (d < 0) d = -d
           if (d > 2e-5 * (1 + $i)) bad = 1 } }
         END { exit bad || m != n || !n }' "$T/$1" "$T/$2"
}
cat examples/MODEL.md "$T/story" "$T/other" >"$T/book"
printf 'caf\303\251 \346\227\245\346\234\254 \360\237\231\202\n' >>"$T/book"
cat "$T/book" "$T/long" >"$T/big"
for file in story book big; do
    "$T/check" "$MODEL" <"$T/$file" >"$T/expected"
    check "perplexity: runs" runs "$T/perplexity" "$MODEL" "$T/$file"
    sed 's/.* //' "$T/out" | tr '\n' ' ' >"$T/again"
    check "perplexity: $file: the numbers of an independent softmax" close expected again
    check "perplexity: nothing on standard error without a terminal" [ ! -s "$T/err" ]
done
"$T/perplexity" "$MODEL" <"$T/big" >"$T/again"
check "perplexity: standard input" same out again
# shellcheck disable=SC2086
$CC -std=c99 $CFLAGS -DRWKV__DONE -DPIECE=2048 -o "$T/pieces" examples/perplexity.c "$T/rwkv.o" -lm
"$T/pieces" "$MODEL" "$T/big" >"$T/again"
check "perplexity: in small pieces: the same to the last digit" same out again
"$T/perplexity" --no-bos "$MODEL" "$T/big" >"$T/again"
check "perplexity: --no-bos is another text" differ out again
check "perplexity: an empty text" fails 1 "standard input: no text" "$T/perplexity" "$MODEL"
{ yes 'A line of plain text.' | head -n 5000; printf 'A \300.'; } >"$T/late"
"$T/perplexity" $bpe "$T/late" >"$T/out" 2>"$T/err"
check "perplexity: a byte far on: exit status" [ $? -eq 1 ]
in_piece=$(sed -n 's/.*, byte \([0-9]*\): C0 .*/\1/p' "$T/err")
piece=$(sed -n 's/.*: counted from byte \([0-9]*\) on$/\1/p' "$T/err")
check "perplexity: where it is" [ "$((in_piece + piece))" -eq 110002 ]
check "perplexity: no such file" fails 1 "$T/none: " "$T/perplexity" "$MODEL" "$T/none"
check "perplexity: a folder" fails 1 "$T: " "$T/perplexity" "$MODEL" "$T"
check "perplexity: no model" fails 2 "expected a model" "$T/perplexity"
check "perplexity: --help" runs "$T/perplexity" --help

# ---- classify

runs "$T/classify" "$MODEL" --labels " dog, time, king" "Once upon a"
check "classify: exit status" [ $? -eq 0 ]
check "classify: the obvious one first" grep -q '^[01][.][90].*" time"$' "$T/out"
check "classify: and that in the first row" [ "$(sed -n '/" time"/=' "$T/out")" = 1 ]
check "classify: all labels" [ "$(wc -l <"$T/out")" -eq 3 ]
sum=$(awk '{ s += $1 } END { printf "%.3f", s }' "$T/out")
check "classify: probabilities add up to 1" [ "$sum" = 1.000 ]
printf 'Once upon a\n' | "$T/classify" "$MODEL" --labels " dog, time, king" - >"$T/again"
check "classify: standard input" same out again
# ln p of one token: from the nats of the texts without and with it
nats() { printf '%s' "$1" | "$T/check" "$MODEL" | awk '{ printf "%.9f", $1 * $3 }'; }
expected=$(echo "$(nats 'Once upon a') $(nats 'Once upon a time')" | awk '{ printf "%.3f", $1 - $2 }')
check "classify: ln p is that of an independent softmax" \
    [ "$(awk '/time/ { printf "%.3f", $4 }' "$T/out")" = "$expected" ]
"$T/classify" "$MODEL" --labels " time, time there was" "Once upon a" >"$T/out"
check "classify: the shorter one of two" [ "$(sed -n '/" time"/=' "$T/out")" = 1 ]
"$T/classify" "$MODEL" --per-token --labels " time, time there was" "Once upon a" >"$T/again"
check "classify: --per-token" differ out again
check "classify: nothing comes before the labels" \
    fails 2 "nothing to go on from: the prompt is empty" "$T/classify" "$MODEL" --no-bos --labels a,b
"$T/classify" "$MODEL" --labels " dog, time, king" "Once upon a" >"$T/out"
"$T/classify" --no-bos "$MODEL" --labels " dog, time, king" "Once upon a" >"$T/again"
check "classify: --no-bos is another text" differ out again
check "classify: no prompt" runs "$T/classify" "$MODEL" --labels "Once,dog"
check "classify: is the beginning of a text" grep -q '^1[.]0.*"Once"$' "$T/out"
check "classify: no labels" fails 2 "expected --labels" "$T/classify" "$MODEL" a
check "classify: one label" fails 2 'at least 2, found 1: "a"' "$T/classify" "$MODEL" --labels a a
check "classify: an empty label" fails 2 "number 2 is empty" "$T/classify" "$MODEL" --labels a,,b a
check "classify: no such model" fails 1 "none: " "$T/classify" "$T/none" --labels a,b a
check "classify: --help" runs "$T/classify" --help

# ---- embed

printf 'The cat sat.\n\nThe dog ran.\nThe cat sat.\n' >"$T/lines"
check "embed: runs" runs "$T/embed" "$MODEL" "$T/lines"
check "embed: a row for each line" [ "$(wc -l <"$T/out")" -eq 3 ]
check "embed: equal lines: 1; and it is symmetric" awk '
    NF != 6 { bad = 1 } { for (i = 1; i <= 3; i++) a[NR, i] = $i }
    END { exit bad || a[1, 1] != 1 || a[2, 2] != 1 || a[1, 3] != 1 || a[3, 1] != 1 ||
          a[1, 2] != a[2, 1] || a[1, 2] >= 1 || a[1, 2] < -1 }' "$T/out"
cosine=$(awk 'NR == 1 { print $2 }' "$T/out")
runs "$T/embed" --vectors "$MODEL" "$T/lines"
check "embed: --vectors: their cosine" [ "$(awk '{ for (i = 1; i <= NF; i++) v[NR, i] = $i }
    END { for (i = 1; i <= NF; i++) { ab += v[1, i] * v[2, i]; aa += v[1, i]^2; bb += v[2, i]^2 }
          printf "%.3f", ab / sqrt(aa * bb) }' "$T/out")" = "$cosine" ]
check "embed: --vectors: equal lines, equal vectors" \
    [ "$(sed -n 1p "$T/out")" = "$(sed -n 3p "$T/out")" ]
"$T/embed" --vectors "$MODEL" <"$T/lines" >"$T/again"
check "embed: standard input" same out again
"$T/embed" --no-bos "$MODEL" "$T/lines" >"$T/out"
"$T/embed" "$MODEL" "$T/lines" >"$T/again"
check "embed: --no-bos is another text" differ out again
check "embed: --no-bos: each line begins anew" [ "$(awk 'NR == 1 { print $3 }' "$T/out")" = 1.000 ]
check "embed: a line that cannot be read: its number" \
    fails 1 "^embed: $T/bad, line 3: .*byte 4: C0 hexadecimal" "$T/embed" $bpe "$T/bad"
check "embed: no lines" fails 1 "standard input: no lines" "$T/embed" "$MODEL"
check "embed: a folder" fails 1 "$T: " "$T/embed" "$MODEL" "$T"
check "embed: --help" runs "$T/embed" --help

# ---- compress: what comes back is what it was, or an error

cat >"$T/noise.c" <<'END'
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv) /* that many bytes, of so many values */
{
    unsigned long n = strtoul(argv[1], NULL, 10), values = strtoul(argv[2], NULL, 10), x = argc, z;
    while (n-- > 0) {
        x = (x + 0x9E3779B9u) & 0xFFFFFFFFu;
        z = ((x ^ x >> 16) * 0x21F0AAADu) & 0xFFFFFFFFu;
        z = ((z ^ z >> 15) * 0x735A2D97u) & 0xFFFFFFFFu;
        putchar((int)((values > 26 ? 0 : 'a') + (z ^ z >> 15) % values));
    }
    return 0;
}
END
$CC -o "$T/noise" "$T/noise.c"
pack() { "$T/compress" --quiet "$@"; }
unpack() { "$T/compress" --quiet --decompress "$@"; }
# round "what" MODEL FILE: there and back, and not much larger
round() {
    rm -f "$T/z" "$T/back"
    check "compress: $1" runs pack "$2" "$T/$3" "$T/z"
    check "compress: $1: says nothing" [ ! -s "$T/out" -a ! -s "$T/err" ]
    check "compress: $1: and back" runs unpack "$2" "$T/z" "$T/back"
    check "compress: $1: the same" cmp -s "$T/$3" "$T/back"
    check "compress: $1: at most 0.1 % and 60 bytes larger" \
        [ "$(bytes z)" -le $(($(bytes "$3") * 1001 / 1000 + 60)) ]
}
bytes() { wc -c <"$T/$1" | tr -d ' '; }
tiny=tests/fixtures/f16-bytes.rwkv
: >"$T/no-bytes"
printf x >"$T/one"
"$T/noise" 1000 256 >"$T/all"
i=0
while [ $i -lt 256 ]; do
    # shellcheck disable=SC2059
    printf "\\$(printf %o $i)"
    i=$((i + 1))
done >>"$T/all"
printf 'Il \303\251tait une fois \342\202 un roi \303\050 \360\237\231 qui \377\376\n' >"$T/broken"
# NFD, which a tokenizer that normalizes does not give back; bytes that no token has
printf 'caf e\314\201te\314\201 \341\204\222\341\205\241\341\206\253 \300\301\365\377 end\n' >"$T/nfd"
{ "$T/noise" 40000 1; "$T/noise" 5000 26; } >"$T/word"
"$T/noise" 100000 256 >"$T/noisy"
tell --seed 1 --length 3000 --no-stop "$MODEL" "One day" >"$T/tale"
{ head -c 3000 "$T/tale"; "$T/noise" 3000 256; tail -c 3000 "$T/tale"; } >"$T/mixed"
for model in "$MODEL" $bpe $tiny; do
    name=$(basename $model .rwkv)
    for file in no-bytes one all broken nfd mixed; do
        round "$name: $file" "$model" $file
    done
done
round "a book" "$MODEL" big
cp "$T/z" "$T/big.z"
round "a long word" "$MODEL" word
round "a long word, in pieces of a merged vocabulary" $bpe word
for size in 14335 14336 14337 16383 16384 16385 18432 65536; do
    head -c $size "$T/noisy" >"$T/piece"
    round "$size bytes of noise" $tiny piece
done
round "noise" $tiny noisy
{ "$T/noise" 30000 256 | tr '\000-\177' '\200-\377'; cat "$T/book"; } >"$T/high"
round "bytes that no ASCII is among, and a book" $bpe high
check "compress: noise among text is coded as it is" \
    [ "$(pack "$MODEL" "$T/mixed" | wc -c)" -lt 4500 ]

# as small as the model's expectations allow, and the same archive however it is made
round "a tale" "$MODEL" tale
bits=$("$T/perplexity" "$MODEL" "$T/tale" | awk '{ v[$1] = $NF } END { print v["bytes"] * v["bits"] }')
check "compress: within 0.1 % of what the model expects, and what is not text" \
    [ "$(echo "$bits $(bytes z)" | awk '{ print ($1 < 8 * $2 && 8 * ($2 - 45) <= 1.001 * $1) }')" = 1 ]
pack "$MODEL" <"$T/big" >"$T/z"
check "compress: standard input and output" same big.z z
{ head -c 5000 "$T/big"; sleep 1; tail -c +5001 "$T/big"; } | pack "$MODEL" - "$T/z"
check "compress: a slow pipe" same big.z z
unpack --threads 3 "$MODEL" - - <"$T/big.z" >"$T/back"
check "compress: and back" same big back
pack --threads 3 "$MODEL" "$T/big" "$T/z"
check "compress: three threads" same big.z z
head -c 700 "$T/tale" >"$T/start"
pack "$MODEL" "$T/start" "$T/start.z"
for isa in $("$T/complete" --help | sed -n 's/.*kernels to use: \(.*\) (.*/\1/p' | tr -d ,); do
    pack --isa "$isa" "$MODEL" "$T/start" "$T/z"
    check "compress: --isa $isa: the same archive" same start.z z
    unpack --isa "$isa" "$MODEL" "$T/start.z" "$T/back"
    check "compress: --isa $isa: and back" same start back
done

# Damage: refused is "compress: what", status 1 and one line, and what OUT was before stays, alone.
mkdir "$T/z.d"
refused() {
    echo precious >"$T/z.d/out"
    fails 1 "$1" unpack "$tiny" "$T/bad.z" "$T/z.d/out" && [ "$(ls "$T/z.d")" = out ] &&
        [ "$(cat "$T/z.d/out")" = precious ]
}
# a text that has tokens, and bytes as they are
{ printf 'aaaaaa'; "$T/noise" 30 256; } >"$T/small"
pack $tiny "$T/small" "$T/small.z"
size=$(bytes small.z)
i=0
while [ $i -lt "$size" ]; do
    head -c $i "$T/small.z" >"$T/bad.z"
    check "compress: cut at $i of $size bytes" refused "it ends at byte $i of the archive, after [0-9]* bytes"
    byte=$(od -An -tu1 -j $i -N 1 "$T/small.z" | tr -d ' ')
    for bit in $((i % 8)) $(((i + 3) % 8)); do
        {
            head -c $i "$T/small.z"
            # shellcheck disable=SC2059
            printf "\\$(printf %o $((byte ^ 1 << bit)))"
            tail -c +$((i + 2)) "$T/small.z"
        } >"$T/bad.z"
        check "compress: bit $bit of byte $i turned" refused "^compress: $T/bad.z: "
    done
    i=$((i + 1))
done
{ cat "$T/small.z"; printf x; } >"$T/bad.z"
check "compress: a byte too many" refused "bad.z: damaged: it goes on after its end"
cp examples/hello.c "$T/bad.z"
check "compress: no archive" refused "bad.z: is no archive"
pack $bpe "$T/small" "$T/bad.z"
check "compress: an archive of another model" refused \
    "bad.z: needs the model file with the checksums [0-9A-F]\{8\} [0-9A-F]\{8\}; this one has [0-9A-F]\{8\} "
if command -v python3 >/dev/null; then
    pack "$MODEL" "$T/small" "$T/bad.z"
    check "compress: of one with other weights" fails 1 "bad.z: needs the model file with the" \
        unpack "$T/other.rwkv" "$T/bad.z" -
fi
{ head -c 3000 $tiny; printf x; tail -c +3002 $tiny; } >"$T/bad.rwkv"
check "compress: a damaged model" fails 1 "^compress: $T/bad.rwkv: " pack "$T/bad.rwkv" "$T/small" -

check "compress: no such file" fails 1 "$T/none: " pack "$MODEL" "$T/none" "$T/new.z"
check "compress: makes no archive then" [ ! -e "$T/new.z" ]
check "compress: a folder" fails 1 "$T: " pack "$MODEL" "$T" "$T/new.z"
check "compress: a folder to write to" fails 1 "$T: Is a directory" pack "$MODEL" "$T/one" "$T"
check "compress: no such folder" fails 1 "$T/none/z: " pack "$MODEL" "$T/one" "$T/none/z"
check "compress: no model" fails 2 "expected a model" "$T/compress"
check "compress: --isa is checked" fails 2 '--isa: .*"x"' "$T/compress" --isa x "$MODEL"
check "compress: --help" runs "$T/compress" --help
cp "$T/one" "$T/z.d/out"
(trap '' XFSZ; ulimit -f 20; unpack "$MODEL" "$T/big.z" "$T/z.d/out") >"$T/out" 2>"$T/err"
check "compress: a full disk is an error" [ $? -eq 1 ]
check "compress: and is said" grep -q "^compress: $T/z.d/out: " "$T/err"
check "compress: and leaves the old file, alone" [ "$(cat "$T/z.d/out"; ls "$T/z.d")" = xout ]
cp "$T/one" "$T/z.d/itself"
check "compress: in place of the text" runs pack "$MODEL" "$T/z.d/itself" "$T/z.d/itself"
check "compress: and back" runs unpack "$MODEL" "$T/z.d/itself" "$T/z.d/itself"
check "compress: the same" same one z.d/itself
if [ -c /dev/full ]; then
    check "compress: a full device" fails 1 "/dev/full: " pack "$MODEL" "$T/one" /dev/full
    check "compress: stays a device" [ -c /dev/full ]
fi
check "compress: --progress" runs "$T/compress" --progress "$MODEL" "$T/big" "$T/z"
check "compress: says how much and how far" grep -q \
    "$(bytes big) bytes, archive $(bytes big.z), [0-9.]* bits per byte, [0-9.]* KB/s" "$T/err"

# ---- quantize

rows='att.receptance att.key att.value att.output ffn.receptance ffn.key ffn.value head'
for type in q8 q4; do
    check "quantize: --type $type runs" \
        runs "$T/quantize" --type $type "$MODEL" "$T/$type.rwkv"
    check "quantize: $type: nothing on standard error without a terminal" [ ! -s "$T/err" ]
    check "quantize: $type: a row for each kind of matrix" \
        [ "$(sed '1d; $d; s/ .*//' "$T/out" | tr '\n' ' ')" = "$rows " ]
    check "quantize: $type: shares make 100 %, bits and errors make sense" awk '
        NR > 1 && $5 == "%" { s += $4; bad += $2 > $3 || $3 > $2 + 1 || $6 <= 0 || $6 > $8 }
        END { exit bad || s < 99.5 || s > 100.5 }' "$T/out"
    check "quantize: $type: the worst layer is named" \
        [ "$(grep -c '  layer [0-9]*$' "$T/out")" -eq 7 ]
    check "quantize: $type: its sizes are those of the files" grep -q \
        "^$(wc -c <"$MODEL" | tr -d ' ') bytes before, $(bytes $type.rwkv) after; [0-9.]* bits per" \
        "$T/out"
    cp "$T/out" "$T/$type.table"
    tell --temperature 0 --length 12 "$T/$type.rwkv" "Once upon a" >"$T/$type.text"
    check "quantize: $type: goes on as it should" grep -q '^Once upon a time, ' "$T/$type.text"
    check "quantize: $type: no part is left" [ ! -e "$T/$type.rwkv.part" ]
done
check "quantize: q8 is smaller" [ "$(bytes q8.rwkv)" -lt "$(wc -c <"$MODEL")" ]
check "quantize: and q4 than that" [ "$(bytes q4.rwkv)" -lt "$(bytes q8.rwkv)" ]
check "quantize: q4 has at most 5 bits per weight" \
    [ "$(awk 'END { print $6 <= 5 }' "$T/q4.table")" = 1 ]
cp "$MODEL" "$T/itself.rwkv"
check "quantize: q8 if nothing is said, three threads, in place of the model" \
    runs "$T/quantize" --threads 3 "$T/itself.rwkv" "$T/itself.rwkv"
check "quantize: the same file" same itself.rwkv q8.rwkv
check "quantize: the same table" same out q8.table
check "quantize: not twice" fails 1 "^quantize: $T/q8.rwkv" \
    "$T/quantize" --type q4 "$T/q8.rwkv" "$T/itself.rwkv"
check "quantize: which leaves the old file" same itself.rwkv q8.rwkv
(trap '' XFSZ; ulimit -f 200; "$T/quantize" "$MODEL" "$T/itself.rwkv") >"$T/out" 2>"$T/err"
check "quantize: a full disk is an error" [ $? -eq 1 ]
check "quantize: and is said" grep -q "^quantize: $T/itself.rwkv" "$T/err"
check "quantize: and leaves the old file" same itself.rwkv q8.rwkv
check "quantize: and no part of a new one" [ ! -e "$T/itself.rwkv.part" ]
head -c 1000000 "$MODEL" >"$T/cut.rwkv"
check "quantize: a model that is cut" fails 1 "^quantize: $T/cut.rwkv: .* ends at byte 1000000" \
    "$T/quantize" "$T/cut.rwkv" "$T/new.rwkv"
check "quantize: no such model" fails 1 "^quantize: $T/none: " "$T/quantize" "$T/none" "$T/new.rwkv"
check "quantize: makes no file then" [ ! -e "$T/new.rwkv" ]
check "quantize: no such folder" fails 1 "^quantize: $T/none/new" \
    "$T/quantize" "$MODEL" "$T/none/new.rwkv"
check "quantize: --type is checked" fails 2 '^quantize: --type: expected q8 or q4, found "q5"' \
    "$T/quantize" --type q5 "$MODEL" "$T/new.rwkv"
check "quantize: no OUT" fails 2 "the name of the one to write" "$T/quantize" "$MODEL"
check "quantize: an empty OUT" fails 2 "the name of the one to write" "$T/quantize" "$MODEL" ''
check "quantize: --help" runs "$T/quantize" --help

# ---- threads

runs "$T/threads" --threads 1 "$MODEL"
status=$?
if [ $status -eq 1 ] && grep -q '^threads: needs POSIX threads' "$T/err"; then
    echo "skipped: threads (this system has no POSIX threads)"
else
    check "threads: runs" [ $status -eq 0 ]
    tell --seed 2 --length 40 "$MODEL" "The old king" >"$T/expected"
    runs "$T/threads" --threads 5 --seed 2 --length 40 "$MODEL" "The old king"
    check "threads: exit status" [ $? -eq 0 ]
    check "threads: the text is the one complete writes" same expected out
    check "threads: a row for each number" \
        [ "$(sed -n 's/^ *\([0-9]*\) *[1-9][0-9]* *[1-9][0-9]*$/\1/p' "$T/err" | tr '\n' ' ')" \
        = "1 2 3 4 5 " ]
    check "threads: the same bits" grep -q '^1 to 5 threads: the same logits, to the bit$' "$T/err"
    check "threads: more than there are cores" \
        runs "$T/threads" --threads 16 --length 9 "$MODEL" "One day, the fox went to the river. "
    check "threads: the same bits then" grep -q '^1 to 16 threads: the same' "$T/err"
    check "threads: --length 0" runs "$T/threads" --threads 2 --length 0 "$MODEL"
    check "threads: a bad value" fails 2 '--threads: expected .*"0"' "$T/threads" --threads 0 "$MODEL"
    check "threads: no model" fails 2 "expected a model" "$T/threads"
    check "threads: no such model" fails 1 "none: " "$T/threads" "$T/none"
    check "threads: --help" runs "$T/threads" --help
fi

# ---- on a terminal: colours, lines, Ctrl-C

printf 'The \033[31mold king who lived in the castle on the hill had a daughter.\nNo.\n' >"$T/wide"
cat >"$T/terminal.py" <<'END'
import fcntl, os, select, signal, struct, sys, termios, time
model, where = sys.argv[1:]
signal.alarm(900)
# A program on a terminal of its own. This side keeps that open too, so that its end is the
# program's and not that of the line, which can come before what was written last; and no flush on
# Ctrl-C, which takes with it what was written before.
def start(name, *args, columns=80, **env):
    fd, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
    settings = termios.tcgetattr(terminal)
    settings[3] |= termios.NOFLSH
    termios.tcsetattr(terminal, termios.TCSANOW, settings)
    pid = os.fork()
    if pid == 0:
        os.setsid()
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
        for i in range(3): os.dup2(terminal, i)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.environ.pop("NO_COLOR", None)
        os.environ["TERM"] = "xterm"
        os.environ.update(env)
        os.execv(where + "/" + name, [name] + list(args))
    os.set_blocking(fd, False)
    ended.pop(fd, None)
    return pid, fd
ended = {} # file descriptor: status
# What it writes until done(that), or until it has ended and all is read.
def until(pid, fd, done):
    text = b""
    while not done(text):
        over = fd in ended
        try: text += os.read(fd, 4096)
        except BlockingIOError:
            if over: break
            found, status = os.waitpid(pid, os.WNOHANG)
            if found: ended[fd] = status
            else: select.select([fd], [], [], 0.05)
    return text
def end(pid, fd):
    text = until(pid, fd, lambda t: False)
    status = ended[fd]
    return text, os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
def check(what, ok, seen=""):
    print(what if ok else "FAILED: terminal: %s %r" % (what, seen))
    if not ok: sys.exit(1)
text, status = end(*start("complete", "--length", "3", model, "One"))
check("bold on a terminal", b"\033[1m" in text and status == 0, text)
text, status = end(*start("complete", "--length", "3", model, "One", NO_COLOR="1"))
check("no colours with NO_COLOR", b"\033" not in text and status == 0, text)
text, status = end(*start("complete", "--length", "3", model, "One", TERM="dumb"))
check("no colours on a dumb terminal", b"\033" not in text and status == 0, text)
text, status = end(*start("prefix", "--count", "1", "--length", "60", model, where + "/fox",
                          columns=30))
rows = text.split(b"\r\n\r\n")[0].split(b"\r\n")
check("prefix: the number is part of the line", rows[0].startswith(b"1. ...") and len(rows) > 3 and
      max(map(len, rows)) <= 30, rows)
text, status = end(*start("classify", "--labels", "dog,the old king who lived in the castle", model,
                          "The", columns=30))
check("classify: rows are not broken", text.count(b"\r\n") == 2 and b" in the castle\"" in text, text)
text, status = end(*start("embed", model, where + "/wide", columns=30))
check("embed: rows are not broken", text.count(b"\r\n") == 2 and
      b"The ?[31mold king who lived in the castle on the hill had a daughter.\r\n" in text, text)
with open(where + "/big", "rb") as small, open(where + "/bigger", "wb") as out:
    out.write(small.read() * 12)
began = time.time()
text, status = end(*start("perplexity", model, where + "/bigger", columns=40))
took = time.time() - began
shown = text[:text.find(b"tokens   ")].split(b"\r")
check("perplexity: at most four reports a second", 3 < len(shown) <= 4 * took + 4,
      (len(shown), took))
check("perplexity: each covers the one before", shown[0] == shown[-1] == b"" and
      all(len(line) == 39 for line in shown[1:-1]) and not shown[-2].strip(), shown)
pid, fd = start("perplexity", model)
os.write(fd, b"The fox.\n\004")
check("perplexity: one Ctrl-D is enough", b"bits per byte" in end(pid, fd)[0])
text, status = end(*start("perplexity", "--quiet", model, where + "/big"))
check("perplexity: --quiet", text.startswith(b"tokens"), text)
text, status = end(*start("quantize", model, where + "/terminal.rwkv", columns=40))
shown = text[:text.find(b"matrix  ")].split(b"\r")
check("quantize: each report covers the one before", len(shown) > 9 and
      shown[0] == shown[-1] == b"" and all(len(line) == 39 for line in shown[1:-1]) and
      not shown[-2].strip() and status == 0, shown)
text, status = end(*start("compress", model, where + "/tale", where + "/tale.z", columns=40))
shown = text.split(b"\r")
check("compress: each report covers the one before", len(shown) > 2 and shown[0] == b"" and
      shown[-1] == b"\n" and all(len(line) == 39 for line in shown[1:-1]) and status == 0, shown)
pid, fd = start("compress", model, "/dev/zero", where + "/zero.z")
until(pid, fd, lambda t: len(t) > 100)
os.write(fd, b"\003")
text, status = end(pid, fd)
check("Ctrl-C: compress leaves nothing behind", status == 130 and
      not [name for name in os.listdir(where) if name.startswith("zero.z")], (text, status))
pid, fd = start("compress", model, "/dev/zero", where + "/zero.z")
until(pid, fd, lambda t: len(t) > 100)
os.kill(pid, signal.SIGTERM)
text, status = end(pid, fd)
check("nor when it is told to end", status == 143 and
      not [name for name in os.listdir(where) if name.startswith("zero.z")], (text, status))
endless = ["--temperature", "0", "--length", "2000000000"]
pid, fd = start("complete", "--no-stop", *(endless + [model, "One"]))
until(pid, fd, lambda t: len(t) > 1000)
os.write(fd, b"\003")
text, status = end(pid, fd)
check("Ctrl-C: complete ends with its summary", b"tokens in" in text and status == 130,
      (text[-200:], status))
pid, fd = start("chat", "--length", "3", model, NO_COLOR="1")
until(pid, fd, lambda t: t.endswith(b"> "))
os.write(fd, b"the cat\n")
until(pid, fd, lambda t: t.endswith(b"\n> "))
os.write(fd, b"\003")
text, status = end(pid, fd)
check("Ctrl-C: after an answer it ends chat", status == -2, (text, status))
pid, fd = start("chat", "--presence", "0", "--frequency", "0", *(endless + [model]), NO_COLOR="1")
until(pid, fd, lambda t: t.endswith(b"> "))
os.write(fd, b"the cat\n")
until(pid, fd, lambda t: len(t) > 3000)
os.write(fd, b"\003")
text = until(pid, fd, lambda t: t.endswith(b"\n> "))
check("Ctrl-C: chat asks again", text.endswith(b"\n> "), text[-200:])
os.write(fd, b"/help\n")
text = until(pid, fd, lambda t: t.endswith(b"\n> "))
check("and goes on", b"/retry" in text, text)
os.write(fd, b"\003")
text, status = end(pid, fd)
check("a second Ctrl-C ends it", status == -2, (text, status))
END
if command -v python3 >/dev/null && python3 -c 'import termios' 2>/dev/null; then
    python3 "$T/terminal.py" "$MODEL" "$T" >"$T/out" 2>&1
    status=$?
    check "on a terminal: $(tail -n 1 "$T/out")" [ "$status, $(wc -l <"$T/out")" = "0, 19" ]
else
    echo "skipped: no python3 with termios to be a terminal"
fi

# ---- the program of the README: examples/hello.c, in a folder that has the header and nothing else
mkdir "$T/empty"
cp rwkv.h "$T/empty"
awk '/^```/ { if (inside) exit; inside = 1; next } inside' README.md >"$T/empty/hello.c"
sed 's|"\.\./rwkv\.h"|"rwkv.h"|' examples/hello.c >"$T/hello.c"
check "README: its program is examples/hello.c" cmp "$T/hello.c" "$T/empty/hello.c"
check "README: it compiles as it says" sh -c "cd '$T/empty' && $CC -O2 hello.c -o hello -lm"
"$T/empty/hello" "$MODEL" >"$T/again"
"$T/hello" "$MODEL" >"$T/out"
check "README: it writes what examples/hello.c writes" same out again

# What it shows of the others is what they print: "    $ command", and what comes of it.
grep '^    [$] ' README.md | sed 's/^    [$] //' >"$T/commands"
while IFS= read -r command; do
    printf '    $ %s\n' "$command"
    printf '%s\n' "$command" | sed "s|build/|$T/|g; s|examples/story.rwkv|$MODEL|" >"$T/command"
    sh "$T/command" 2>&1 </dev/null | sed 's/^/    /; s/ *$//'
done <"$T/commands" >"$T/again"
# Sizes in memory are those where a pointer has 64 bits.
sizes() { if [ "$(getconf LONG_BIT)" = 64 ]; then cat; else sed 's/^ *[1-9][0-9]* bytes  /N bytes  /'; fi; }
awk '/^    [$] / { on = 1 } on && !/^    / && NF { on = 0 } on && !/^$/' README.md | sizes >"$T/out"
check "README: commands are shown" [ "$(wc -l <"$T/commands")" -gt 5 ]
sed '/^$/d' "$T/again" | sizes >"$T/expected"
check "README: what it shows is what they print" same expected out

# The models are those that MODEL.md tells of.
if command -v sha256sum >/dev/null; then
    for file in story.rwkv baremetal/small.rwkv; do
        hash=$(sha256sum <"examples/$file" | cut -d' ' -f1)
        check "MODEL.md: the SHA-256 of $file is $hash" grep -q "^| .$(basename $file). | .$hash. |" examples/MODEL.md
    done
fi

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]

#!/bin/sh
# same_archive.sh: an archive that examples/compress.c makes on one machine is made on every other one
# byte for byte, and is what it was when it comes back there. One line for each machine that can be
# found here, emulated where need be.
#
#     tests/same_archive.sh FOLDER         the last line is "N the same, M not, K not found"
#     tests/same_archive.sh FOLDER NAME    the one of this name, after the first
#
# Run from the repository root; FOLDER, in it, is for what is built. CC may be given. The exit status is 1
# if M > 0.
set -u
folder=$1

# name | program to run it with | compiler and options; the first is what the others are compared with
list() {
    cat << END
this machine||${CC:-cc} -O2
aarch64|qemu-aarch64|aarch64-linux-gnu-gcc -O2 -static
armhf|qemu-arm|arm-linux-gnueabihf-gcc -O2 -static
s390x, big-endian|qemu-s390x|s390x-linux-gnu-gcc -std=gnu99 -O2 -static
wasm32|node --no-warnings tests/wasi.mjs|clang -O2 $wasm
wasm32 SIMD128|node --no-warnings tests/wasi.mjs|clang -O2 -msimd128 $wasm
END
}
wasm='--target=wasm32-wasi --sysroot=/usr -D_WASI_EMULATED_PROCESS_CLOCKS -D_WASI_EMULATED_SIGNAL
    -Wno-unused-command-line-argument -lwasi-emulated-process-clocks -lwasi-emulated-signal
    -Wl,--stack-first -Wl,-z,stack-size=1000000'
wasm=$(echo $wasm)

have() { command -v "$1" > /dev/null 2>&1; }

cases='text:examples/story.rwkv empty:examples/story.rwkv mixed:tests/fixtures/bpe.rwkv
    text:tests/fixtures/bpe.rwkv mixed:tests/fixtures/f16-bytes.rwkv'

# Make the archives in $at and bring back those of the first machine; says what went wrong.
there_and_back() {
    for case in $cases; do
        file=$folder/${case%:*} model=${case#*:}
        name=$(basename "$file")-$(basename "$model" .rwkv)
        "$@" "$model" "$file" "$at/$name" || { echo "$name: NOT MADE"; return 1; }
        cmp -s "$at/$name" "$first/$name" || { echo "$name: ANOTHER ARCHIVE"; return 1; }
        "$@" --decompress "$model" "$first/$name" "$at/back" || { echo "$name: NOT BACK"; return 1; }
        cmp -s "$at/back" "$file" || { echo "$name: ANOTHER TEXT"; return 1; }
    done
    echo "the same archives, $(cat "$at"/*-* | wc -c | tr -d ' ') bytes, and back"
}

# One result line on standard output; what went wrong in $at/log.
one() {
    compiler=${build%% *}
    for need in "$compiler" ${runner%% *}; do
        have "$need" || { printf '%-24s not found: %s\n' "$name" "$need"; return; }
    done
    echo 'int main(void) { return 0; }' > "$at/empty.c"
    $build "$at/empty.c" -o "$at/empty.exe" > "$at/log" 2>&1 ||
        { printf '%-24s not found: the C library of %s\n' "$name" "$compiler"; return; }
    $build -std=gnu99 examples/compress.c -o "$at/compress" -lm > "$at/log" 2>&1 ||
        { printf '%-24s NOT BUILT\n' "$name"; head -n 20 "$at/log"; return; }
    # shellcheck disable=SC2086
    printf '%-24s %s\n' "$name" "$(there_and_back $runner "$at/compress" --quiet 2> "$at/log")"
    head -n 5 "$at/log"
}

at_of() { printf '%s/%s' "$folder" "$(printf '%s' "$1" | tr -c 'A-Za-z0-9' _)"; }
first=$(at_of 'this machine')
if [ $# -gt 1 ]; then
    name=$2
    at=$(at_of "$name")
    line=$(list | awk -F'|' -v name="$name" '$1 == name')
    [ -n "$line" ] || { echo "no line called $name" >&2; exit 1; }
    runner=$(printf '%s' "$line" | cut -d'|' -f2)
    build=$(printf '%s' "$line" | cut -d'|' -f3)
    mkdir -p "$at"
    one < /dev/null
    exit
fi

rm -rf "$folder"
mkdir -p "$folder"
# text, nothing, and what is no text; for tokens of words, of merges that normalize, and of bytes
echo 'Once upon a time there was an old miller who had a mill by the river, and a daughter named Anna.' \
    > "$folder/text"
{
    head -c 300 README.md
    head -c 400 tests/fixtures/q8.rwkv
    printf 'cafe\314\201 \300\301\365\377 \342\202'
    head -c 300 README.md
} > "$folder/mixed"
: > "$folder/empty"
list | cut -d'|' -f1 > "$folder/list"
{
    sh "$0" "$folder" 'this machine'
    tail -n +2 "$folder/list" | tr '\n' '\0' | xargs -0 -P 2 -I{} sh "$0" "$folder" {}
} | tee "$folder/table"
same=$(grep -c 'the same archives, ' "$folder/table")
missing=$(grep -c ' not found: ' "$folder/table")
bad=$(($(wc -l < "$folder/list") - same - missing))
echo "$same the same, $bad not, $missing not found"
[ "$bad" -eq 0 ]

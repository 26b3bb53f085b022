#!/bin/sh
# bench_compress.sh: bits per byte of examples/compress.c beside other programs, and its speed.
#
#     tests/bench_compress.sh PROGRAM MODEL TEXT...      PROGRAM: as built, such as build/compress
#
# One row of a table for each text; what is not installed has an empty column. The speed is that of PROGRAM,
# by the processor's time, so that other programs beside it count for less.
set -u
program=$1 model=$2
shift 2
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
bits() { awk -v n="$1" -v all="$2" 'BEGIN { printf " %.3f |", 8 * n / all }'; }
# rate BYTES COMMAND...: run it, and say how many of these bytes it does in a second
rate() {
    all=$1
    shift
    ("$@" || exit 1; times) | awk -v all="$all" 'NR == 2 { split($1, t, /[ms]/)
        printf " %.0f KB/s |", all / 1000 / (60 * t[1] + t[2]) }'
}
echo '| text | bytes | compress | gzip -9 | bzip2 -9 | xz -9 | zstd -19 | compressing | and back |'
echo '| --- | --- | --- | --- | --- | --- | --- | --- | --- |'
for text in "$@"; do
    size=$(wc -c < "$text" | tr -d ' ')
    printf '| %s | %s |' "$(basename "$text")" "$size"
    there=$(rate "$size" "$program" --quiet "$model" "$text" "$work/z")
    back=$(rate "$size" "$program" --quiet --decompress "$model" "$work/z" "$work/back")
    cmp "$text" "$work/back" || exit 1
    bits "$(wc -c < "$work/z")" "$size"
    for other in 'gzip -9' 'bzip2 -9' 'xz -9' 'zstd -q -19'; do
        if command -v "${other%% *}" > /dev/null; then
            # shellcheck disable=SC2086
            bits "$($other -c < "$text" | wc -c)" "$size"
        else
            printf ' |'
        fi
    done
    echo "$there$back"
done

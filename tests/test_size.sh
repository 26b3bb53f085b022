#!/bin/sh
# test_size.sh: bytes of code and constant tables of the header, by configuration and processor.
#
#     tests/test_size.sh             compare them with tests/size.txt: within 3 % for the compilers that
#                                    made that, whose names stand in it; the last line is
#                                    "N passed, M failed"
#     tests/test_size.sh --table     print what becomes that file
#
# Run from the repository root. These are the sizes of all that is compiled: of functions that it
# does not call, a program has none if it is linked with -ffunction-sections -Wl,--gc-sections.
set -u
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
printf '#define RWKV_IMPLEMENTATION\n#include "rwkv.h"\n' > "$work/rwkv.c"

# name | switches: each line has those above it too
configurations() {
    cat << 'END'
everything|
no vector kernels|-DRWKV_NO_SIMD
no quantizer|-DRWKV_NO_QUANTIZE
no files, no malloc, no threads|-DRWKV_NO_STDIO -DRWKV_NO_MALLOC -DRWKV_NO_THREADS
no error messages|-DRWKV_NO_ERROR_STRINGS
no sampler|-DRWKV_NO_SAMPLER
no tokenizer|-DRWKV_NO_TOKENIZER
END
}

# name | compiler and options
processors() {
    cat << 'END'
x86-64 -O2|gcc -O2
Cortex-M4F -Os|arm-none-eabi-gcc -Os -mthumb -mcpu=cortex-m4 -mfloat-abi=hard -mfpu=fpv4-sp-d16
END
}

version() { "$1" --version | head -n 1; }

# processor | compiler's version | configuration | bytes
measure() {
    processors | while IFS='|' read -r processor compiler; do
        command -v "${compiler%% *}" > /dev/null ||
            { echo "skipped: $processor (${compiler%% *} is not installed)"; continue; }
        switches=
        configurations | while IFS='|' read -r name more; do
            switches="$switches $more"
            # shellcheck disable=SC2086
            $compiler -w -I. $switches -c "$work/rwkv.c" -o "$work/rwkv.o" < /dev/null || continue
            bytes=$(size_of "$work/rwkv.o") || continue
            echo "$processor|$(version "${compiler%% *}")|$name|$bytes"
        done
    done
}

# code and data, of an object for any machine
size_of() {
    LC_ALL=C readelf -SW "$1" | sed 's/^ *\[ *[0-9]*\]//' |
        awk '$7 ~ /A/ && $2 != "NOBITS" && $1 !~ /eh_frame|exidx/ { print $5 }' | {
        sum=0
        while read -r hex; do sum=$((sum + 0x$hex)); done
        echo $sum
    }
}

if [ "${1:-}" = --table ]; then
    measure
    exit
fi
measure > "$work/now"
passed=0
failed=0
grep '^skipped' "$work/now"
while IFS='|' read -r processor compiler name bytes; do
    [ "$name" ] || continue
    was=$(awk -F'|' -v p="$processor" -v c="$compiler" -v n="$name" '$1 == p && $2 == c && $3 == n { print $4 }' tests/size.txt)
    if [ -z "$was" ]; then
        echo "skipped: $processor, $name: tests/size.txt has no sizes of $compiler"
    elif [ $((bytes * 100)) -gt $((was * 103)) ] || [ $((bytes * 100)) -lt $((was * 97)) ]; then
        echo "FAILED: $processor, $name: $bytes bytes, tests/size.txt has $was"
        failed=$((failed + 1))
    else
        passed=$((passed + 1))
    fi
done < "$work/now"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]

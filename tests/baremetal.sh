#!/bin/sh
# baremetal.sh: examples/baremetal/story.c on emulated boards without a system. Each must write the
# story, and the checksum of all logits, that this machine writes with the kernels it has.
#
#     tests/baremetal.sh FOLDER          a table; the last line is "N the same, M not, K not found"
#     tests/baremetal.sh FOLDER NAME     the one of this name
#
# Run from the repository root; CC compiles for this machine. FOLDER is for what is built; there, or in
# what SMALL and LARGE name, are the models. The exit status is 1 if M > 0, or N is 0.
#
# flash: code and weights; code: without weights, but with the vocabulary's reader, the sampler and
# what they use of the C library. RAM: the state, the most stack in use, and all of it that the
# program takes, tables and buffers too. Instructions are those of one token, on the average, and of
# its longest step: see rwkv_eval_step.
set -u
folder=$1
CC=${CC:-cc}
from=examples/baremetal
LARGE=${LARGE:-$folder/story-q8.rwkv}
SMALL=${SMALL:-$from/small.rwkv}

# name | machine of qemu | options of the compiler | flash and RAM: where and how much |
# MHz of SysTick | stack | bytes for model and state | model | tokens
boards() {
    hard='-mfloat-abi=hard -mfpu='
    cat << END
Cortex-M0|microbit|-mcpu=cortex-m0 -DRWKV_NO_ERROR_STRINGS|0 0x40000 0x20000000 0x4000|16|2304|12800|$SMALL|100
Cortex-M3|mps2-an385|-mcpu=cortex-m3|0 0x400000 0x20000000 0x400000|25|4096|32768|$LARGE|30
Cortex-M4F|mps2-an386|-mcpu=cortex-m4 ${hard}fpv4-sp-d16|0 0x400000 0x20000000 0x400000|25|4096|32768|$LARGE|100
Cortex-M7|mps2-an500|-mcpu=cortex-m7 ${hard}fpv5-d16|0 0x400000 0x20000000 0x400000|25|4096|32768|examples/story.rwkv|30
Cortex-M33|mps2-an505|-mcpu=cortex-m33 ${hard}fpv5-sp-d16|0x10000000 0x400000 0x38000000 0x400000|20|4096|32768|$LARGE|100
RV32IMAC|sifive_e|-march=rv32imac -mabi=ilp32 -misa-spec=2.2|0x20400000 0xc00000 0x80000000 0x4000|0|2304|12800|$SMALL|100
END
}

have() { command -v "$1" > /dev/null 2>&1; }

# The text and the checksum; the rest of what story.c says follows
story() { sed '/^logits /q' "$1"; }
number() { sed -n "s/^$2 \\([0-9]*\\)\$/\\1/p" "$1"; }

row() { printf '%-11s %-12s %-7s %9s %7s %7s %7s %7s %11s %11s  %s\n' "$@"; }

one() {
    line=$(boards | awk -F'|' -v name="$1" '$1 == name')
    [ -n "$line" ] || { echo "no board called $1" >&2; return 1; }
    IFS='|' read -r name machine cpu memory mhz stack arena model tokens << END
$line
END
    at=$folder/$name
    case $cpu in
    -march=rv32*) tools=riscv64-unknown-elf emulator=qemu-system-riscv32 libc=picolibc ;;
    *) tools=arm-none-eabi emulator=qemu-system-arm libc=nano cpu="-mthumb $cpu" ;;
    esac
    for need in $tools-gcc $emulator "$CC"; do
        have "$need" || { echo "$name: not found: $need"; return; }
    done
    [ -f "$model" ] || { echo "$name: not found: $model"; return; }
    mkdir -p "$at"
    # shellcheck disable=SC2086
    set -- $memory
    # shellcheck disable=SC2086
    $tools-gcc -E -P -x c -DFLASH="$1" -DFLASH_BYTES="$2" -DRAM="$3" -DRAM_BYTES="$4" \
        -DSTACK="$stack" "$from/board.ld" > "$at/board.ld" &&
        $tools-gcc -Os $cpu -std=gnu99 -Wall -Wextra -Wshadow -Wconversion -Werror \
            -ffunction-sections -Wl,--gc-sections -DCLOCK_MHZ="$mhz" "-DMODEL=\"$model\"" -DARENA="$arena" \
            -DTOKENS="$tokens" "$from/story.c" "$from/board.c" -nostartfiles --specs=$libc.specs \
            -T "$at/board.ld" -lm -o "$at/story" > "$at/built" 2>&1 ||
        { echo "$name: NOT BUILT: see $at/built"; return 1; }
    "$CC" -O0 "-DMODEL=\"$model\"" -DARENA=1000000 -DTOKENS="$tokens" "$from/story.c" "$from/desktop.c" \
        -o "$at/desktop" -lm && "$at/desktop" > "$at/desktop.out" || return 1
    timeout 600 $emulator -M "$machine" -nographic -icount shift=0 \
        -semihosting-config enable=on,target=native -kernel "$at/story" < /dev/null > "$at/out" 2>&1
    status=$?
    story "$at/out" > "$at/story.out"
    story "$at/desktop.out" > "$at/expected"
    if [ "$status" -eq 0 ] && [ -s "$at/expected" ] && cmp -s "$at/story.out" "$at/expected"; then
        end='the same'
    else
        end="NOT THE SAME: see $at/out"
    fi
    weights=$(wc -c < "$model" | tr -d ' ')
    set -- $($tools-size "$at/story" | tail -n 1)
    row "$name" "$machine" "$(basename "$model" .rwkv | sed 's/story$/f16/; s/.*-//')" "$(($1 + $2))" \
        "$(($1 + $2 - weights))" "$(number "$at/out" state)" "$(number "$at/out" stack)" \
        "$(($2 + $3 - arena - stack + $(number "$at/out" used) + $(number "$at/out" stack)))" \
        "$(number "$at/out" instructions)" "$(number "$at/out" step)" "$end"
    [ "$end" = 'the same' ]
}

if [ $# -gt 1 ]; then
    one "$2"
    exit
fi
mkdir -p "$folder"
{
    row board machine model flash code state stack RAM 'instructions' 'step' ''
    boards | cut -d'|' -f1 | tr '\n' '\0' | xargs -0 -P 2 -I{} sh "$0" "$folder" {}
} | tee "$folder/table"
same=$(grep -c 'the same$' "$folder/table")
different=$(grep -c 'NOT' "$folder/table")
missing=$(grep -c 'not found' "$folder/table")
echo "$same the same, $different not, $missing not found"
[ "$different" -eq 0 ] && [ "$same" -gt 0 ]

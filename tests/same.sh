#!/bin/sh
# same.sh: the same bits everywhere: the checksums of test_bits by every compiler, with every option
# and on every machine, emulated where need be, that can be found here. One line for each.
#
#     tests/same.sh FOLDER           all; the last line is "N the same, M not, K not found"
#     tests/same.sh FOLDER NAME      the one of this name
#
# Run from the repository root; FOLDER is for what is built. The exit status is 1 if M > 0.
set -u
folder=$1

# name | program to run it with | compiler and options | kernels that must be found, if not any;
# what takes longest is first
list() {
    cat << 'END'
Cortex-M3|@board mps2-an385|arm-none-eabi-gcc -O2 -DTEST_NO_FLOATS=1 -mthumb -mcpu=cortex-m3 @bare @low|scalar
gcc -O0||gcc -O0|
gcc -O2||gcc -O2|
gcc -O3||gcc -O3|
gcc -Os||gcc -Os|
gcc -march=native||gcc -O3 -march=native|
gcc -ffp-contract=fast||gcc -O2 -mavx2 -mfma -ffp-contract=fast|
gcc without SIMD||gcc -O2 -DRWKV_NO_SIMD|scalar
gcc without SIMD, contracting||gcc -O2 -DRWKV_NO_SIMD -mfma -ffp-contract=fast|scalar
gcc -flto||gcc -O2 -flto|
g++||g++ -O2|
clang -O2||clang -O2|
clang -march=native||clang -O3 -march=native|
clang -ffp-contract=fast||clang -O2 -mavx2 -mfma -ffp-contract=fast|
clang-19 -O2||clang-19 -O2|
clang-19 -ffp-contract=fast||clang-19 -O2 -mavx2 -mfma -ffp-contract=fast|
tcc||tcc|scalar
AVX-512 by SIMDe||gcc -O1 -fno-tree-loop-optimize -Itests/simde -mavx2 -mfma -mf16c -w|scalar ssse3 avx2 avxvnni avx512 avx512vnni
i686 with SSE2|qemu-i386|i686-linux-gnu-gcc -O2 -static -msse2 -mfpmath=sse|scalar
aarch64, Cortex-A53|qemu-aarch64 -cpu cortex-a53|aarch64-linux-gnu-gcc -O2 -static|scalar neon
aarch64, Neoverse N1|qemu-aarch64 -cpu neoverse-n1|aarch64-linux-gnu-gcc -O2 -static|scalar neon dotprod
aarch64, all there is|qemu-aarch64 -cpu max|aarch64-linux-gnu-gcc -O2 -static|scalar neon dotprod
aarch64 for i8mm|qemu-aarch64 -cpu max|aarch64-linux-gnu-gcc -O2 -static -march=armv8.6-a -ffp-contract=fast|scalar neon dotprod
armhf|qemu-arm|arm-linux-gnueabihf-gcc -O2 -static|scalar
armhf, Cortex-A7|qemu-arm|arm-linux-gnueabihf-gcc -O2 -static -mcpu=cortex-a7 -mfpu=neon-vfpv4|scalar
riscv64|qemu-riscv64|riscv64-linux-gnu-gcc -O2 -static|scalar
s390x, big-endian|qemu-s390x|s390x-linux-gnu-gcc -O2 -static -std=gnu99|scalar
powerpc, big-endian|qemu-ppc|powerpc-linux-gnu-gcc -O2 -static|scalar
wasm32|node --no-warnings tests/wasi.mjs|clang -O2 @wasm|scalar
wasm32 SIMD128|node --no-warnings tests/wasi.mjs|clang -O2 @wasm -msimd128|scalar simd128
Windows|env WINEDEBUG=-all wine|x86_64-w64-mingw32-gcc -O2 -static|scalar ssse3
Cortex-M4F|@board mps2-an386|arm-none-eabi-gcc -O2 -mthumb -mcpu=cortex-m4 -mfloat-abi=hard -mfpu=fpv4-sp-d16 @bare @low|scalar
Cortex-M7|@board mps2-an500|arm-none-eabi-gcc -O2 -mthumb -mcpu=cortex-m7 -mfloat-abi=hard -mfpu=fpv5-d16 @bare @low|scalar
Cortex-M33|@board mps2-an505|arm-none-eabi-gcc -O2 -mthumb -mcpu=cortex-m33 -mfloat-abi=hard -mfpu=fpv5-sp-d16 @bare @high|scalar
END
}

have() { command -v "$1" > /dev/null 2>&1; }
c_of() { printf '%s' "$1" | sed 's/^g++/gcc/'; }

# flags for wasm32, and for a board without a system: see bare.c
wasm='--target=wasm32-wasi --sysroot=/usr -D_WASI_EMULATED_PROCESS_CLOCKS -Wno-unused-command-line-argument
    -lwasi-emulated-process-clocks -Wl,--stack-first -Wl,-z,stack-size=1000000'
bare='--specs=rdimon.specs'
low='-Wl,--section-start=.vectors=0 -Wl,-Tdata=0x20000000'
high='-DSTACK_TOP=0x38400000 -Wl,--section-start=.vectors=0x10000000 -Wl,-Ttext=0x10010000
    -Wl,-Tdata=0x80000000'

# One result line on standard output; what went wrong in FOLDER/NAME/log and out.
one() {
    name=$1
    line=$(list | awk -F'|' -v name="$name" '$1 == name')
    [ -n "$line" ] || { echo "no line called $name" >&2; return 1; }
    runner=$(printf '%s' "$line" | cut -d'|' -f2)
    build=$(printf '%s' "$line" | cut -d'|' -f3)
    wanted=$(printf '%s' "$line" | cut -d'|' -f4)
    compiler=${build%% *}
    at=$folder/$(printf '%s' "$name" | tr -c 'A-Za-z0-9' _)
    start=
    case $build in *@bare*) start=tests/bare.c ;; esac
    build=$(printf '%s' "$build" |
        sed "s|@wasm|$(echo $wasm)|; s|@bare|$bare|; s|@low|$low|; s|@high|$(echo $high)|")
    tool=$(printf '%s' "$runner" | sed 's/^env [^ ]* //; s/^@board.*/qemu-system-arm/')
    mkdir -p "$at"
    for need in "$compiler" ${tool%% *}; do
        have "$need" || { printf '%-32s not found: %s\n' "$name" "$need"; return; }
    done
    case $build in
    *-mavx2*) grep -qsw avx2 /proc/cpuinfo || { printf '%-32s not found: AVX2\n' "$name"; return; } ;;
    esac
    # a compiler may be without the C library of its machine, or SIMDe
    case $build in *simde*) empty='#include <immintrin.h>' ;; *) empty= ;; esac
    printf '%s\n#include <stdio.h>\nint main(void) { return 0; }\n' "$empty" > "$at/empty.c"
    $(c_of "$build") "$at/empty.c" $start -o "$at/empty.exe" > "$at/log" 2>&1 ||
        { printf '%-32s not found: the C library of %s\n' "$name" "$compiler"; return; }
    # a C++ compiler for the implementation, its C compiler for the test
    if ! { $build -c tests/rwkv.c -o "$at/rwkv.o" &&
        $(c_of "$build") tests/test_bits.c $start "$at/rwkv.o" -o "$at/test.exe" -lm
    } > "$at/log" 2>&1; then
        printf '%-32s NOT BUILT\n' "$name"
        return 1
    fi
    case $runner in
    @board*) set -- qemu-system-arm -M "${runner#@board }" -nographic \
        -semihosting-config enable=on,arg=test_bits,arg=every_isa -kernel "$at/test.exe" ;;
    *) set -- $runner "$at/test.exe" every_isa ;;
    esac
    timeout 900 "$@" < /dev/null > "$at/out" 2>&1
    status=$?
    found=$(sed -n 's/^kernels: \([a-z0-9 ]*\).*/\1/p' "$at/out")
    end=$(tail -n 1 "$at/out" | tr -d '\r')
    result=1
    if [ "$end" != '1 passed, 0 failed' ]; then end='NOT THE SAME'
    elif [ "$status" -ne 0 ]; then end="STATUS $status"
    elif [ -n "$wanted" ] && [ "$wanted" != "$found" ]; then end="NOT THE KERNELS $wanted"
    else end='the same bits'; result=0; fi
    printf '%-32s %-44s %s\n' "$name" "$found" "$end"
    return $result
}

if [ $# -gt 1 ]; then
    one "$2"
    exit
fi
rm -rf "$folder"
mkdir -p "$folder"
list | cut -d'|' -f1 | tr '\n' '\0' | xargs -0 -P 2 -I{} sh "$0" "$folder" {} | tee "$folder/table"
same=$(grep -c 'the same bits$' "$folder/table")
missing=$(grep -c ' not found: ' "$folder/table")
total=$(list | wc -l)
bad=$((total - same - missing))
if [ "$bad" -gt 0 ]; then
    for at in "$folder"/*/; do
        [ -f "$at/out" ] && [ "$(tail -n 1 "$at/out" | tr -d '\r')" = '1 passed, 0 failed' ] && continue
        [ -f "$at/test.exe" ] && show=$at/out || show=$at/log
        echo "$show:"
        head -n 20 "$show"
    done
fi
echo "$same the same, $bad not, $missing not found"
[ "$bad" -eq 0 ]

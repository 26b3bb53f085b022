#!/bin/sh
# test_api.sh: the header as compilers see it: standards, warnings, every switch, symbols, macros.
# Run from the repository root. The last line is "N passed, M failed".
set -u
CC=${CC:-cc}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
passed=0
failed=0

pass() { passed=$((passed + 1)); }
fail() { failed=$((failed + 1)); printf 'FAILED: %s\n' "$1"; head -n 4 "$work/log"; }
# check NAME COMMAND...: the command must succeed
check() { name=$1; shift; if "$@" > "$work/log" 2>&1; then pass; else fail "$name"; fi; }
# refuse NAME COMMAND...: the command must fail
refuse() { name=$1; shift; if "$@" > "$work/log" 2>&1; then fail "$name"; else pass; fi; }
have() { command -v "$1" > /dev/null 2>&1; }

warnings='-pedantic -Wall -Wextra -Wshadow -Wconversion -Wdouble-promotion -Wundef'
c_warnings="$warnings -Wvla -Wstrict-prototypes -Wmissing-prototypes"

cat > "$work/use.c" <<'EOF'
#include "rwkv.h"
int main(void)
{
    rwkv_error  error;
    static const uint32_t data[32] = {0}; /* at a multiple of 4 */
    rwkv_model *model = rwkv_load_memory(data, sizeof data, NULL, &error);
    rwkv_state *state = rwkv_state_new(model);
    if (rwkv_isa_available(0) == NULL || rwkv_version() != RWKV_VERSION) return 2;
    if (model || state || rwkv_eval(0, state)) return 3;
    return error.code == RWKV_ERR_FORMAT ? 0 : 4;
}
EOF
printf '#define RWKV_IMPLEMENTATION\n#include "rwkv.h"\n' > "$work/impl.c"
cat "$work/impl.c" "$work/use.c" > "$work/one.c"
for file in use impl one; do cp "$work/$file.c" "$work/$file.cpp"; done

# ---- standards, compilers, warnings -------------------------------------------------------------
# Optimizing takes long and finds more to warn of with gcc alone.
for compiler in gcc clang clang-19; do
    if have $compiler; then
        case $compiler in gcc) optimized=-O2 ;; *) optimized=-O0 ;; esac
        for std in 'c17 -DRWKV_NO_SIMD' 'c11 -DRWKV_NO_SIMD' "c99 $optimized"; do
            check "$compiler -std=$std without a warning" $compiler -std=$std $c_warnings -Werror -I. \
                "$work/one.c" -o "$work/one" -lm
        done
        check "$compiler: the program runs" "$work/one"
    else
        echo "skipped: $compiler is not installed"
    fi
done
for compiler in g++ clang++; do
    if have $compiler; then
        case $compiler in g++) optimized=-O2 ;; *) optimized=-O0 ;; esac
        for std in 'c++17 -DRWKV_NO_SIMD' "c++11 $optimized"; do
            check "$compiler -std=$std without a warning" $compiler -std=$std $warnings -Werror -I. \
                "$work/one.cpp" -o "$work/one" -lm
        done
        check "$compiler: the program runs" "$work/one"
    else
        echo "skipped: $compiler is not installed"
    fi
done
if have tcc; then
    check 'tcc without a warning' tcc -std=c99 -Wall -Werror -I. "$work/one.c" -o "$work/one" -lm
    check 'tcc: the program runs' "$work/one"
else
    echo 'skipped: tcc is not installed'
fi
check '-ffast-math is refused, with a reason' sh -c \
    "! $CC -O2 -ffast-math -I. -c '$work/impl.c' -o '$work/impl.o' 2> '$work/why' && grep -q 'changes the results' '$work/why'"
check '-ffinite-math-only is refused' sh -c "! $CC -ffinite-math-only -I. -c '$work/impl.c' -o '$work/impl.o' 2> '$work/why'"

# ---- several files ------------------------------------------------------------------------------
plain="$CC -I. -DRWKV_NO_SIMD"
check 'declarations and implementation in two files' sh -c \
    "$plain '$work/use.c' '$work/impl.c' -o '$work/two' -lm && '$work/two'"
printf '#include "rwkv.h"\n#include "rwkv.h"\n#define RWKV_IMPLEMENTATION\n#include "rwkv.h"\n#include "rwkv.h"\n' > "$work/many.c"
check 'included four times' sh -c "$plain '$work/use.c' '$work/many.c' -o '$work/two' -lm && '$work/two'"
if have g++; then
    check 'a C++ program with a C implementation' sh -c "$plain -c '$work/impl.c' -o '$work/impl.o' && \
        g++ -I. '$work/use.cpp' '$work/impl.o' -o '$work/two' -lm && '$work/two'"
fi
for n in 1 2; do
    printf '#define RWKV_STATIC\n#define RWKV_IMPLEMENTATION\n#include "rwkv.h"\nint f%s(void);\nint f%s(void) { return rwkv_version(); }\n' $n $n > "$work/static$n.c"
done
printf 'int f1(void); int f2(void); int main(void) { return f1() != f2(); }\n' > "$work/main.c"
check 'RWKV_STATIC in two files, without a warning' sh -c "$plain -std=c99 $c_warnings -Wno-missing-prototypes -Werror \
    '$work/static1.c' '$work/static2.c' '$work/main.c' -o '$work/two' -lm && '$work/two'"
mkdir -p "$work/renamed"
cp rwkv.h "$work/renamed/other.h"
printf '#define RWKV_IMPLEMENTATION\n#define RWKV_FILENAME "other.h"\n#include "other.h"\n' > "$work/renamed/impl.c"
check 'RWKV_FILENAME: under another name' $plain -c "$work/renamed/impl.c" -o "$work/renamed/impl.o"

# ---- a pipe is not waited for --------------------------------------------------------------------
cat > "$work/pipe.c" <<'EOF'
#define RWKV_IMPLEMENTATION
#include "rwkv.h"
int main(int argc, char **argv)
{
    rwkv_options options = {0, 0, 0, NULL, {NULL, NULL, NULL}, {NULL, NULL}};
    rwkv_error   error;
    options.flags = argc > 2 ? RWKV_FLAG_NO_MMAP : 0;
    return !(rwkv_load(argv[1], &options, &error) == NULL && error.code == RWKV_ERR_FILE &&
             strstr(error.message, "not a regular file"));
}
EOF
if have mkfifo && have timeout; then
    mkfifo "$work/fifo"
    check 'a program that loads a pipe' $plain "$work/pipe.c" -o "$work/pipe" -lm
    check 'a pipe is refused when mapping' timeout 10 "$work/pipe" "$work/fifo"
    check 'a pipe is refused when reading' timeout 10 "$work/pipe" "$work/fifo" read
else
    echo 'skipped: loading a pipe (no mkfifo or timeout)'
fi

# ---- symbols ------------------------------------------------------------------------------------
# object NAME FLAGS...: compile the implementation, warnings being errors; its symbols are in NAME.nm
object() { o=$1; shift; $CC -std=c99 -O0 $c_warnings -Werror -I. "$@" -c "$work/impl.c" -o "$work/$o.o" &&
    nm "$work/$o.o" > "$work/$o.nm"; }
# lacks NAME PATTERN: no symbol of the object matches; has: some symbol does
lacks() { ! grep -E " $2\$" "$work/$1.nm"; }
has() { grep -Eq " $2\$" "$work/$1.nm"; }
exported() { ! grep -E ' [TDBRVWC] ' "$work/$1.nm" | grep -Ev ' T rwkv_[a-z]'; }
no_globals() { ! grep -E ' [bBdDC] ' "$work/$1.nm"; }

if have nm; then
    for switch in NONE RWKV_STATIC RWKV_NO_STDIO RWKV_NO_MMAP RWKV_NO_MALLOC RWKV_NO_SIMD RWKV_NO_THREADS \
        RWKV_NO_TOKENIZER RWKV_NO_SAMPLER RWKV_NO_QUANTIZE RWKV_NO_ERROR_STRINGS; do
        # the kernels are the same with most of them, and take long to compile
        case $switch in NONE | RWKV_STATIC | RWKV_NO_THREADS) kernels= ;; *) kernels=-DRWKV_NO_SIMD ;; esac
        check "$switch compiles" object $switch $kernels -D$switch
        check "$switch exports rwkv_ alone" exported $switch
        check "$switch has no writable global" no_globals $switch
    done
    check 'PIC compiles' object PIC -fPIC
    check 'PIC has no writable global' no_globals PIC
    stdio='U (fopen|fread|fwrite|fclose|fseek|ftell|rewind|open|close|fstat|mmap|munmap|f?printf|snprintf|put[sc].*)'
    mapping='U (open|close|fstat|mmap|munmap)'
    check 'the default maps files' has NONE 'U mmap'
    check 'the default reads files' has NONE 'U fread'
    check 'the default allocates' has NONE 'U malloc'
    check 'nothing is printed and nothing exits' lacks NONE 'U (f?printf|v?snprintf|put[sc].*|exit|abort|__assert_fail)'
    check 'RWKV_STATIC exports nothing' lacks RWKV_STATIC 'T .*'
    check 'RWKV_NO_STDIO: no files' lacks RWKV_NO_STDIO "$stdio"
    check 'RWKV_NO_STDIO: no rwkv_load' lacks RWKV_NO_STDIO 'T rwkv_load'
    check 'RWKV_NO_MMAP: no mapping' lacks RWKV_NO_MMAP "$mapping"
    check 'RWKV_NO_MMAP: files are read' has RWKV_NO_MMAP 'T rwkv_load'
    check 'RWKV_NO_MALLOC: no allocation' lacks RWKV_NO_MALLOC 'U (malloc|calloc|realloc|free)'
    check 'RWKV_NO_SIMD: scalar alone' lacks RWKV_NO_SIMD '. rwkv__.*_(ssse3|avx2|avxvnni|avx512|neon|dotprod|simd128)'
    check 'RWKV_NO_TOKENIZER' lacks RWKV_NO_TOKENIZER 'T rwkv_(token|utf8).*'
    check 'RWKV_NO_SAMPLER' lacks RWKV_NO_SAMPLER 'T rwkv_sample'
    check 'RWKV_NO_SAMPLER leaves the probabilities' has RWKV_NO_SAMPLER 'T rwkv_(logprob|softmax|score)'
    check 'RWKV_NO_QUANTIZE' lacks RWKV_NO_QUANTIZE 'T rwkv_quantize.*'
    for symbol in rwkv_tokenize rwkv_token_bytes rwkv_utf8_push rwkv_logprob rwkv_softmax rwkv_score rwkv_sample \
        rwkv_quantize rwkv_quantize_with rwkv_load; do
        check "the default has $symbol" has NONE "T $symbol"
    done
    check 'the messages are in the default' grep -q 'file ends at byte' "$work/NONE.o"
    refuse 'RWKV_NO_ERROR_STRINGS: put_number is gone' has RWKV_NO_ERROR_STRINGS 't rwkv__put_number'
    if echo 'int main(void) { return 0; }' > "$work/omp.c" && $CC -fopenmp "$work/omp.c" -o "$work/omp" 2> "$work/log"; then
        check 'OpenMP compiles' object OMP -fopenmp -DRWKV_NO_SIMD
        check 'OpenMP is used' has OMP 'U (GOMP_parallel|__kmpc_fork_call|omp_get_max_threads)'
        check 'RWKV_NO_THREADS with OpenMP' object NO_OMP -fopenmp -DRWKV_NO_SIMD -DRWKV_NO_THREADS
        check 'RWKV_NO_THREADS: no OpenMP' lacks NO_OMP 'U (GOMP|__kmpc|omp_).*'
    else
        echo "skipped: $CC has no OpenMP"
    fi
    check 'RWKV_API' object API -DRWKV_NO_SIMD '-DRWKV_API=__attribute__((visibility("hidden"))) extern'
    printf 'void check_that(int condition);\n' > "$work/assert.h"
    check 'RWKV_ASSERT compiles' object ASSERT -DRWKV_NO_SIMD '-DRWKV_ASSERT(c)=check_that(c)' -include "$work/assert.h"
    check 'RWKV_ASSERT is called' has ASSERT 'U check_that'
    bare='-DRWKV_NO_STDIO -DRWKV_NO_MALLOC -DRWKV_NO_SIMD -DRWKV_NO_THREADS -DRWKV_NO_TOKENIZER -DRWKV_NO_SAMPLER
        -DRWKV_NO_QUANTIZE -DRWKV_NO_ERROR_STRINGS'
    check 'all switches together' object BARE $bare
    check 'then libc is memcpy, memset, memcmp, strcmp, and libm sqrtf' sh -c \
        "! grep ' U ' '$work/BARE.nm' | grep -Ev ' (memcpy|memset|memcmp|memmove|strcmp|sqrtf|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_)\$'"
    # a program without any library: five functions are all that the header wants
    cat > "$work/alone.c" << 'EOF'
#include <stddef.h>
#include "rwkv.h"
#define COPIES __attribute__((optimize("no-tree-loop-distribute-patterns"), used))
COPIES void *memcpy(void *to, const void *from, size_t n)
{
    size_t i;
    for (i = 0; i < n; i++) ((char *)to)[i] = ((const char *)from)[i];
    return to;
}
COPIES void *memset(void *to, int c, size_t n)
{
    size_t i;
    for (i = 0; i < n; i++) ((char *)to)[i] = (char)c;
    return to;
}
int memcmp(const void *a, const void *b, size_t n)
{
    const unsigned char *p = (const unsigned char *)a, *q = (const unsigned char *)b;
    for (; n && *p == *q; n--, p++, q++) continue;
    return n ? *p - *q : 0;
}
int strcmp(const char *a, const char *b)
{
    for (; *a && *a == *b; a++, b++) continue;
    return *a - *b;
}
float sqrtf(float x)
{
    float r = x > 1 ? x : 1;
    int   i;
    for (i = 0; i < 60; i++) r = (r + x / r) / 2;
    return r;
}
static const unsigned char no_model[64];
void _start(void);
void _start(void)
{
    rwkv_options options = {0, 0, 0, NULL, {NULL, NULL, NULL}, {NULL, NULL}};
    rwkv_model  *model = rwkv_load_memory(no_model, sizeof no_model, &options, NULL);
    rwkv_state  *state = rwkv_state_new(model);
    rwkv_eval(0, state);
    rwkv_free(model);
    for (;;) continue;
}
EOF
    check 'all switches: a program links without a C library' $CC -O1 -I. $bare -ffreestanding -nostdlib -static \
        -fno-stack-protector "$work/impl.c" "$work/alone.c" -o "$work/alone"
    refuse 'and with them turned off it does not' $CC -O1 -I. -DRWKV_NO_SIMD -ffreestanding -nostdlib -static \
        -fno-stack-protector "$work/impl.c" "$work/alone.c" -o "$work/alone"
    if have arm-none-eabi-gcc; then
        check 'and so does one for Cortex-M0' arm-none-eabi-gcc -Os -mcpu=cortex-m0 -mthumb -I. $bare -ffreestanding \
            -nostdlib "$work/impl.c" "$work/alone.c" -lgcc -o "$work/alone"
    else
        echo 'skipped: a program without a C library for Cortex-M0 (arm-none-eabi-gcc is not installed)'
    fi
else
    echo 'skipped: nm is not installed, symbols are not checked'
fi

# ---- the arithmetic -----------------------------------------------------------------------------
# break NAME EDIT: with one rule of the arithmetic broken by sed, test_bits must fail
break_rule() {
    mkdir -p "$work/broken/tests"
    sed "$2" rwkv.h > "$work/broken/rwkv.h"
    refuse "$1: nothing to break" cmp rwkv.h "$work/broken/rwkv.h"
    check "$1: compiles" $CC -O1 -w -DRWKV_NO_SIMD -I"$work/broken" "$work/impl.c" tests/test_bits.c -o "$work/bits" -lm
    refuse "$1: the bits are the same" "$work/bits" every_isa
}
check 'the arithmetic as it is compiles' $CC -O1 -w -DRWKV_NO_SIMD -I. "$work/impl.c" tests/test_bits.c -o "$work/bits" -lm
check 'the arithmetic as it is' "$work/bits" every_isa
break_rule 'a fused product is rounded twice' 's/return __builtin_fmaf(a, b, c);/return a * b + c;/; s/^    return (float)s;$/    return a * b + c;/'
break_rule 'the other product is fused' 's/RWKV__FMA(e1, at, RWKV__MUL(e2, vt))/RWKV__FMA(e2, vt, RWKV__MUL(e1, at))/'
break_rule 'a sum has another shape' 's/for (half = 8; half; half \/= 2)/for (half = 1; half < 16; half *= 2)/; s/            s\[i\] += s\[i + half\];/            s[2 * half * i % 16] += s[(2 * half * i + half) % 16];/'
break_rule 'exp has another last bit' 's/0.166665763f/0.166665778f/'

# ---- the text of the header ---------------------------------------------------------------------
banners() { sed -n 's/^ \* \([0-9]*\)\. MARK: \([a-z_0-9]*\) *>>\([a-z_0-9]*\)$/\1 \2 \3/p' rwkv.h; }
contents() { sed -n 's/^ \* *\([0-9][0-9]*\)  >>\([a-z_0-9]*\)  .*/\1 \2 \2/p' rwkv.h; }
banners > "$work/banners"
contents > "$work/contents"
check 'the contents agree with the banners' cmp "$work/banners" "$work/contents"
check 'there are 19 sections' test "$(wc -l < "$work/banners")" -eq 19
check 'every macro begins with RWKV_' sh -c \
    "! sed -n 's/^ *# *define *\([A-Za-z_0-9]*\).*/\1/p' rwkv.h | grep -Ev '^(RWKV_|WIN32_LEAN_AND_MEAN|NOMINMAX)'"
check 'no line is longer than 100 columns' sh -c "! grep -nE '^.{101,}' rwkv.h"
check 'no tabs, no trailing blanks' sh -c "! grep -nE '	| \$' rwkv.h"

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]

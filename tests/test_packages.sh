#!/bin/sh
# test_packages.sh: the example in the header's comment, a model inside a program as README has it, and the programs of examples/ that are not C
# alone, each with its own tool: C++, Python, CMake. They write what the C programs write. Run from
# the repository root; CC and CXX compile. The last line is "N passed, M failed".
set -u
CC=${CC:-cc}
CXX=${CXX:-c++}
MODEL=examples/story.rwkv
passed=0
failed=0
T=$(mktemp -d) || exit 1
trap 'rm -rf "$T"' EXIT

have() { command -v "$1" > /dev/null 2>&1; }

# check NAME command...: it must succeed
check() {
    name=$1
    shift
    if "$@" > "$T/said" 2>&1; then
        passed=$((passed + 1))
    else
        echo "FAILED: $name"
        head -n 20 "$T/said"
        failed=$((failed + 1))
    fi
}

# writes FILE command...: its standard output is that file
writes() {
    file=$1
    shift
    "$@" > "$T/out" && cmp "$file" "$T/out"
}

# fails WORD command...: exit status 1, nothing on standard output, one line with WORD on standard error
fails() {
    word=$1
    shift
    "$@" > "$T/out" 2> "$T/error"
    [ $? -eq 1 ] && [ ! -s "$T/out" ] && [ "$(wc -l < "$T/error")" -eq 1 ] && grep -q "$word" "$T/error"
}

# the kernels are not what is tested here
printf '#define RWKV_IMPLEMENTATION\n#include "rwkv.h"\n' > "$T/rwkv.c"
check 'examples/hello.c' $CC -O1 -w -DRWKV_NO_SIMD examples/hello.c -o "$T/hello" -lm
"$T/hello" $MODEL > "$T/expected"

check 'examples/complete.c' $CC -O1 -w -DRWKV_NO_SIMD examples/complete.c -o "$T/complete" -lm
likeliest() { "$T/complete" --quiet --temperature 0 --length "$1" $MODEL > "$T/likeliest"; }

# ---- the header's comment -------------------------------------------------------------------------
{
    printf '#define RWKV_IMPLEMENTATION\n#include "rwkv.h"\n#include <stdio.h>\nint main(void)\n{\n'
    sed -n '/^ \* EXAMPLE$/,/^ \* A model file is made/p' rwkv.h | sed '1d;$d;s/^ \*//'
    printf 'putchar(10);\nreturn 0;\n}\n'
} > "$T/example.c"
cp $MODEL "$T/story.rwkv"
likeliest 100
check 'the example of the header compiles' $CC -O1 -Wall -Wextra -Werror -DRWKV_NO_SIMD -I. "$T/example.c" \
    -o "$T/example" -lm
check 'it writes the likeliest text' sh -c "cd '$T' && ./example > out && cmp out likeliest"
rm -f "$T/story.rwkv"
check 'without a model it says so' fails 'no such file' sh -c "cd '$T' && ./example"

# ---- a model inside a program: README
block() { sed -n '/^A model becomes part of a program/,/^`make size`/p' README.md | sed -n '/^```c/,/^```$/p' | sed '/^```/d'; }
{
    printf '#define RWKV_IMPLEMENTATION\n#include "rwkv.h"\n'
    block | sed '/^$/,$d'
    printf 'int main(void)\n{\nrwkv_options options = {0};\nrwkv_error error;\nrwkv_model *model;\n'
    block | sed '1,/^$/d'
    printf 'return !model || rwkv_verify(model, &error) != RWKV_OK;\n}\n'
} > "$T/inside.c"
cp $MODEL "$T/model.rwkv"
printf '%s\n' '__asm__(".section .rodata\n.incbin \"LICENSE\"\n.text");' > "$T/has.c"
if $CC -c "$T/has.c" -o "$T/has.o" 2> "$T/said"; then
    check 'a model inside a program compiles' $CC -O1 -w -DRWKV_NO_SIMD -I. -I"$T" "$T/inside.c" -o "$T/inside" -lm
    check 'and is whole' "$T/inside"
else
    echo "skipped: a model inside a program ($CC cannot)"
fi

# ---- other languages, and builds ------------------------------------------------------------------
if have "$CXX"; then
    check 'C++: it compiles without a warning' $CXX -std=c++11 -pedantic -Wall -Wextra -Wshadow -Werror -O1 \
        -DRWKV_NO_SIMD examples/cpp/story.cpp -o "$T/story" -lm
    check 'C++: it writes what hello.c writes' writes "$T/expected" "$T/story" $MODEL
    check 'C++: no model' fails 'no such file' "$T/story" "$T/none"
    check 'C++: no model file' fails 'not a model file' "$T/story" README.md
    check 'C++: a model without a vocabulary' fails 'no vocabulary' "$T/story" tests/fixtures/f32.rwkv
else
    echo "skipped: C++ ($CXX is not installed)"
fi

if ! have python3; then
    echo 'skipped: Python (python3 is not installed)'
elif ! $CC -O1 -w -DRWKV_NO_SIMD -shared -fPIC -I. "$T/rwkv.c" -o "$T/librwkv.so" -lm 2> "$T/said"; then
    echo "skipped: Python ($CC makes no shared objects)"
elif ! python3 -c 'import ctypes, sys; ctypes.CDLL(sys.argv[1])' "$T/librwkv.so" 2> "$T/said"; then
    echo 'skipped: Python (it does not load what the compiler makes)'
else
    check 'Python: it writes what hello.c writes' writes "$T/expected" \
        python3 examples/python/rwkv.py "$T/librwkv.so" $MODEL 'Once upon a time'
    check 'Python: no model' fails 'no such file' python3 examples/python/rwkv.py "$T/librwkv.so" "$T/none" x
    check 'Python: no model file' fails 'not a model file' \
        python3 examples/python/rwkv.py "$T/librwkv.so" README.md x
    check 'Python: no vocabulary' fails 'unsupported\|lacks' \
        python3 examples/python/rwkv.py "$T/librwkv.so" tests/fixtures/f32.rwkv x
    check 'Python: no prompt' fails 'usage: ' python3 examples/python/rwkv.py "$T/librwkv.so" $MODEL
    check 'Python: no library' fails 'rwkv.py: ' python3 examples/python/rwkv.py "$T/none" $MODEL x
fi

if have cmake; then
    check 'CMake: configure' cmake -S examples/cmake -B "$T/cmake" -DCMAKE_C_COMPILER="$(command -v "$CC")" \
        -DCMAKE_C_FLAGS=-DRWKV_NO_SIMD
    check 'CMake: build' cmake --build "$T/cmake"
    likeliest 60
    check 'CMake: it writes the likeliest text' writes "$T/likeliest" "$T/cmake/tell" $MODEL
    check 'CMake: no model' fails 'no such file' "$T/cmake/tell" "$T/none"
    check 'CMake: a model without a vocabulary' fails 'no vocabulary' "$T/cmake/tell" tests/fixtures/f32.rwkv
    # a project elsewhere, where no other rwkv.h is, fetches it by the lines in the comment; without a net
    mkdir "$T/fetched" "$T/fetched/from"
    cp examples/cmake/* "$T/fetched"
    cp rwkv.h "$T/fetched/from"
    sed -n '/^#  *include(FetchContent)/,/^#  *set(RWKV_FOLDER/s/^#  *//p' examples/cmake/CMakeLists.txt |
        sed "s|GIT_REPOSITORY .*)|SOURCE_DIR $T/fetched/from)|" > "$T/lines"
    sed "/^set(RWKV_FOLDER/{r $T/lines
        d;}" examples/cmake/CMakeLists.txt > "$T/fetched/CMakeLists.txt"
    check 'CMake: a project that fetches it: configure' cmake -S "$T/fetched" -B "$T/fetched/build" \
        -DCMAKE_C_COMPILER="$(command -v "$CC")" -DCMAKE_C_FLAGS=-DRWKV_NO_SIMD
    check 'CMake: and build' cmake --build "$T/fetched/build"
    check 'CMake: it writes the same' writes "$T/likeliest" "$T/fetched/build/tell" $MODEL
else
    echo 'skipped: CMake (cmake is not installed)'
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]

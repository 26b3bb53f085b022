#!/bin/sh
# run.sh: run test programs and scripts and add up what their last lines say.
#
#     tests/run.sh PROGRAM... [SCRIPT.sh...] [SCRIPT.py...]
#
# Run from the repository root. As many run at a time as there are processors, or JOBS. RUN is put
# before every program (an emulator, valgrind). A program fuzz_NAME is given the files of
# tests/corpus/fuzz_NAME. The last line is "N passed, M failed"; the exit status is 1 if M > 0.
set -u
RUN=${RUN:-}

# run.sh --one FOLDER TEST
one() {
    name=$(basename "$2")
    out=$1/$name.out
    case $2 in
    *.sh) sh "$2" > "$out" 2>&1 ;;
    *.py)
        if ! command -v python3 > /dev/null 2>&1; then
            echo "skipped: $2 (python3 is not installed)"
            echo 0 0 > "$1/$name.result"
            return
        fi
        python3 "$2" > "$out" 2>&1 ;;
    */fuzz_*) $RUN "$2" tests/corpus/"$name"/* > "$out" 2>&1 ;;
    *) $RUN "$2" > "$out" 2>&1 ;;
    esac
    status=$?
    result=$(tail -n 1 "$out" | sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p')
    good=${result% *}
    bad=${result#* }
    {
        if [ -z "$result" ] || { [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; }; then
            tail -n 40 "$out"
            echo "FAILED: $2 stopped with status $status"
            good=${good:-0}
            bad=1
        else
            grep -E '^skipped' "$out"
            [ "$bad" -eq 0 ] || grep -vE '^skipped|^[0-9]* passed, [0-9]* failed$' "$out" | head -n 60
        fi
        printf '%-34s %4d passed, %d failed\n' "$name" "$good" "$bad"
    } > "$out.said"
    echo "$good $bad" > "$1/$name.result"
    cat "$out.said"
}
if [ "${1:-}" = --one ]; then
    one "$2" "$3"
    exit
fi

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
passed=0
failed=0

reference=${RWKV_REFERENCE:-../shared/reference}
if [ ! -d "$reference/logits" ]; then
    echo "skipped: reference cases (no $reference; set RWKV_REFERENCE)"
elif ! command -v python3 > /dev/null 2>&1; then
    echo 'skipped: reference cases (python3 converts them, and is not installed)'
else
    for file in "$reference"/logits/*.pth; do
        python3 tools/convert_pth.py "$file" "$work/$(basename "$file" .pth).rwkv" --type f32 2> "$work/log" ||
            { cat "$work/log"; failed=$((failed + 1)); }
    done
    python3 tests/make_text_models.py "$reference/tokenizers" "$work" 2> "$work/log" ||
        { cat "$work/log"; failed=$((failed + 1)); }
    RWKV_TEST_MODELS=$work
    export RWKV_TEST_MODELS
fi

# each prints what there is to say at once, when it is done, and leaves "N M" in a file of its name
printf '%s\n' "$@" | RUN=$RUN xargs -P "${JOBS:-$(getconf _NPROCESSORS_ONLN 2> /dev/null || echo 2)}" -I{} \
    sh "$0" --one "$work" {}
for test in "$@"; do
    read -r good bad < "$work/$(basename "$test").result" || { good=0; bad=1; echo "FAILED: no result of $test"; }
    passed=$((passed + good))
    failed=$((failed + bad))
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]

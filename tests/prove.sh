#!/bin/sh
# prove.sh: what tests/prove.c says, followed by Frama-C's Eva on each machine model: 64 and 32 bits,
# both byte orders. One line for each, and then what speaks against it.
#
#     tests/prove.sh FOLDER          all; the last line is "all proved", if that is so
#     tests/prove.sh FOLDER NAME     the one of this name
#
# A machine is proved if there is no alarm, and every statement of the sections >>file and >>model
# and of rwkv_state_load was reached, but for those listed below. And a proof that cannot fail is
# none: without the check in rwkv__byte there must be an alarm.
#
# Eva does not look at pointers that are computed and not used, nor at unsigned numbers that wrap;
# NaN and infinity are what IEEE-754 makes of them. Run from the repository root; FOLDER is for what
# is built, and FOLDER/MACHINE.log is all that Eva says. The exit status is not 0 if anything is not
# proved.
set -u
folder=$1

# name | Frama-C's name | what the preprocessor is told
list() {
    big='-U__BYTE_ORDER__ -D__BYTE_ORDER__=__ORDER_BIG_ENDIAN__'
    cat << END
64-bit, little-endian|x86_64|
64-bit, big-endian|be64|-D__FC_MACHDEP_X86_64 $big
32-bit, little-endian|x86_32|
32-bit, big-endian|ppc_32|$big
no check in rwkv__byte|broken|
END
}

# Functions and statements of theirs that cannot be reached
unreached() {
    cat << 'END'
rwkv__vector all: evaluation alone reads weights
rwkv__ready all: evaluation alone asks
rwkv__read_header 7: no file of 1 MiB is more than half of what can be addressed
rwkv_load 1: here there is no model without options, which have the allocator
END
}

# Where Eva keeps states apart: so many in a function, and by what a function returns
apart='rwkv__fail:400,rwkv__put_number:40,rwkv__put_text:1000,rwkv__load_data:140,rwkv__read:20'
apart="$apart,rwkv__map:20,rwkv_load:20,rwkv_load_memory:8,prove_memory:20,prove_file:20"
apart="$apart,prove_files:200,prove_states:100,prove_arguments:50"
returned='rwkv__model_new:0,rwkv__kernels_choose:0,rwkv__map:0,rwkv__read:0,rwkv__load_data:0'
returned="$returned,rwkv__read_header:0,rwkv_load:0,rwkv_load_memory:0"

have() { command -v "$1" > /dev/null 2>&1; }

# eva MAIN FILE OPTION...
eva() {
    main=$1 file=$2
    shift 2
    frama-c "$@" -eva -eva-print-callstacks -main "$main" -eva-precision 0 -warn-special-float none \
        -eva-domains octagon -eva-octagon-through-calls -eva-auto-loop-unroll 64 \
        -eva-slevel-function "$apart" -eva-split-return-function "$returned" \
        -absolute-valid-range 0x200000-0x5fffff -eva-use-spec rwkv__pack_scalar \
        "$file" -then -metrics -metrics-eva-cover
}

# What was defined, and what was analysed: "FUNCTION REACHED ALL"
defined() { sed -n '/Defined functions/,/Undefined functions/p' "$1" | grep -o 'rwkv_[A-Za-z0-9_]* ('; }
analysed() { sed -n 's/^  \([A-Za-z0-9_]*\): \([0-9]*\) stmts out of \([0-9]*\) .*/\1 \2 \3/p' "$1"; }

# The functions of these sections, and those of the state's import
wanted() {
    sed -n '/^ \* 8\. MARK: file/,/^ \* 10\. MARK: layers/p' rwkv.h |
        sed -n 's/^[Ra-z][A-Za-z_]* .*[ *]\(rwkv_[A-Za-z0-9_]*\)(.*/\1/p' | sort -u
    echo rwkv__byte rwkv__save_header rwkv__save_crc rwkv__load_floats rwkv_state_load | tr ' ' '\n'
}

# What was not reached, of a log
missing() {
    defined "$1" > "$1.defined"
    analysed "$1" > "$1.analysed"
    wanted | while read -r function; do
        grep -q "^$function " "$1.defined" || continue # not on this machine
        left=$(awk -v f="$function" '$1 == f { print $3 - $2; n = 1 } END { if (!n) print "all" }' \
            "$1.analysed")
        may=$(unreached | awk -v f="$function:" -v g="$function" '$1 == g { sub(":", "", $2); print $2 }')
        [ "$left" = "${may:-0}" ] || echo "    $function: $left statements not reached"
    done
}

one() {
    mkdir -p "$folder"
    line=$(list | awk -F'|' -v name="$1" '$1 == name')
    [ -n "$line" ] || { echo "no line called $1" >&2; return 1; }
    machine=$(printf '%s' "$line" | cut -d'|' -f2)
    log=$folder/$machine.log
    set -- "-cpp-extra-args=-I. $(printf '%s' "$line" | cut -d'|' -f3)"
    name=${line%%|*}
    case $machine in
    broken)
        mkdir -p "$folder/broken/tests"
        sed 's/return at < size ? data\[at\] : 0;/return data[at];/' rwkv.h > "$folder/broken/rwkv.h"
        cp tests/prove.c "$folder/broken/tests"
        eva prove_reader "$folder/broken/tests/prove.c" -machdep x86_64 "$@" > "$log" 2>&1 ;;
    be64) # which Frama-C does not have by itself
        printf '%s\n' 'let () = File.new_machdep "be64"' \
            '  { Machdeps.gcc_x86_64 with Cil_types.little_endian = false }' > "$folder/be64.ml"
        ocamlopt -shared -I "$(frama-c -print-lib-path)" -o "$folder/be64.cmxs" "$folder/be64.ml" \
            > "$log" 2>&1 || { printf '%-24s not found: ocamlopt\n' "$name"; return; }
        eva prove_main tests/prove.c -load-module "$folder/be64.cmxs" -machdep be64 "$@" > "$log" 2>&1 ;;
    *)
        eva prove_main tests/prove.c -machdep "$machine" "$@" > "$log" 2>&1 ;;
    esac
    alarms=$(grep -c '^\[eva:alarm\]' "$log")
    if ! grep -q '^\[eva:summary\]' "$log"; then
        printf '%-24s NOT FOLLOWED: see %s\n' "$name" "$log"
        return 1
    elif [ "$machine" = broken ]; then
        [ "$alarms" -gt 0 ] && end='as there must be' || end='AND THERE MUST BE'
        printf '%-24s %s alarms, %s\n' "$name" "$alarms" "$end"
        [ "$alarms" -gt 0 ]
    else
        missing "$log" > "$log.missing"
        printf '%-24s %s alarms; %s statements of %s functions analysed, %s functions not wholly\n' \
            "$name" "$alarms" $(analysed "$log" | awk '/^rwkv_/ { n++; s += $2 } END { print s, n }') \
            "$(wc -l < "$log.missing" | tr -d ' ')"
        grep -A 3 '^\[eva:alarm\]' "$log"
        cat "$log.missing"
        [ "$alarms" -eq 0 ] && [ ! -s "$log.missing" ]
    fi
}

if [ $# -gt 1 ]; then
    one "$2"
    exit
fi
list | cut -d'|' -f1 | tr '\n' '\0' | xargs -0 -P 2 -I{} sh "$0" "$folder" {} && echo 'all proved'

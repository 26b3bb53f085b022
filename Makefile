# Makefile for the examples and tests of rwkv.h; the header itself needs none.
# `make help` lists the targets.

CC ?= cc
comma = ,
CFLAGS ?= -O2
LDLIBS = -lm
B = build
WARNINGS = -std=c99 -pedantic -Wall -Wextra -Wshadow -Wconversion -Wdouble-promotion -Wvla \
	-Wstrict-prototypes -Wmissing-prototypes -Wundef
# OpenMP and POSIX threads if the compiler has them (not to /dev/null: tcc, as root, replaces it)
has = $(shell mkdir -p $B; echo 'int main(void){return 0;}' | \
	$(CC) $(1) -x c - -o $B/has 2>/dev/null && echo $(1))
OPENMP = $(call has,-fopenmp)
PTHREAD = $(call has,-pthread)

EXAMPLES = $(patsubst examples/%.c,$B/%,$(wildcard examples/*.c))
TESTS = $(patsubst tests/%.c,$B/%,$(wildcard tests/test_*.c))
FUZZERS = $(patsubst tests/%.c,$B/%,$(wildcard tests/fuzz_*.c))
ALL = $(notdir $(TESTS) $(FUZZERS))
# the longest first
SCRIPTS = tests/test_examples.sh tests/test_api.sh tests/test_size.sh tests/test_packages.sh \
	tests/test_convert.py tests/test_stack.py tests/test_bench.sh

help:
	@echo 'make          this list'
	@echo 'make demo     build, and have the bundled model write a story'
	@echo 'make test     all tests; the last line is "N passed, M failed"'
	@echo 'make bench    speed, beside the limits of this machine, measured in the same run; PLOT=1 draws'
	@echo '              it, PEER=PROGRAM compares, BENCH=OPTIONS chooses: see tests/bench.c'
	@echo 'make quality  what 8 and 4 bits cost, in bits per byte and KL divergence, beside others'
	@echo 'make check    what a contributor runs, minutes: lint, asan, tsan, openmp, fuzz for 15 seconds each'
	@echo 'make examples build the programs of examples/ into $B/'
	@echo 'make size     bytes of code by configuration, for x86-64 and Cortex-M4F (a test holds it to tests/size.txt)'
	@echo 'make baremetal  examples/baremetal on emulated boards (Cortex-M, RISC-V) without a system, and what it takes there'
	@echo 'make web      the page of examples/web, in $B/web/, where a model writes in a browser (clang, lld)'
	@echo 'make web-test that it writes the same there: in node, and where chromium is, in that (npm: network)'
	@echo 'make fuzz     look for files, states, texts, vocabularies, settings and calls that break it,'
	@echo '              SECONDS=60 for each target'
	@echo 'make oom      each allocation, read and write fails in turn, and nothing is lost (part of the tests)'
	@echo 'make mutate   break the header in MUTANTS=60 small ways, and see that the tests notice (slow)'
	@echo 'make cover    what the tests never reach: lines and branches, lines of the kernels, and'
	@echo '              conditions of the loader (gcov, python3; clang-19 and llvm-19)'
	@echo 'make soak     a million tokens of every kind beside the same in double: nothing drifts (slow)'
	@echo 'make prove    no file of up to 1 MiB, and no saved state, leads to undefined behaviour: a proof'
	@echo 'make lint     static analysis of the header'
	@echo 'make asan     the tests with address and undefined-behaviour sanitizers'
	@echo 'make ubsan    with clang, for more kinds of undefined and doubtful behaviour'
	@echo 'make msan     with clang, for memory that is read before it is written'
	@echo 'make tsan     with clang, for races between threads'
	@echo 'make valgrind with valgrind: memory errors and leaks, and races by helgrind'
	@echo 'make openmp   the tests of evaluation, built with OpenMP'
	@echo 'make same     the same bits by every compiler and on every machine there is, as a table'
	@echo 'make archives an archive of examples/compress is the same file on other machines, and comes back'
	@echo 'make cross    both, and the tests of the kernels on other machines, emulated'
	@echo 'make oracle   compare the tokenizers with published ones (npm fetches them: network)'
	@echo 'make clean    remove $B/'
	@echo 'CC and CFLAGS choose the compiler (now: $(CC) $(CFLAGS))'

# Two things at a time, if make was not told how many
jobs = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j2)

# With another compiler, or other options, all is built anew.
quoted = '$(subst ','\'',$(1))'
$B/flags: force
	@mkdir -p $B; printf '%s\n' $(call quoted,$(CC) $(CFLAGS) $(WARNINGS)) > $@.now; \
		cmp -s $@.now $@ || cp $@.now $@; rm $@.now
force:

examples:
	@$(MAKE) --no-print-directory $(jobs) $(EXAMPLES)

$B/%: examples/%.c rwkv.h $(wildcard examples/*.h) $B/flags
	@mkdir -p $B
	$(CC) $(CFLAGS) $(WARNINGS) $(if $(filter threads,$*),$(PTHREAD)) $< -o $@ $(LDLIBS)

# The implementation takes long to compile, so tests share it, all but those that change it or call its
# kernels. Of these, SCALAR do without SIMD where that saves minutes, and three are optimized less: other
# tests look at what the kernels do when they are.
OPTIMIZE_test_dispatch = -O0
OPTIMIZE_test_quantize = -O1
OPTIMIZE_test_score = -O1
INSIDE = $(shell grep -l 'define RWKV_IMPLEMENTATION' tests/test_*.c)
$B/rwkv.o: tests/rwkv.c tests/inside.h rwkv.h $(wildcard tests/simde/*.h) $B/flags
	@mkdir -p $B
	@$(CC) $(CFLAGS) $(filter-out -l% -Wl%,$(WARNINGS)) -c $< -o $@

$B/test_parallel: examples/pool.h
$B/test_soak: $B/twin.o
$(TESTS) $(FUZZERS): $B/%: tests/%.c $B/rwkv.o rwkv.h $(wildcard tests/*.h) $B/flags
	@$(CC) $(CFLAGS) $(if $(filter $*,$(SCALAR)),-DRWKV_NO_SIMD) $(OPTIMIZE_$*) \
		$(WARNINGS) $(PTHREAD) $< \
		$(if $(filter $<,$(INSIDE)),,$B/rwkv.o) $(filter %/twin.o,$^) -o $@ $(LDLIBS)

# rwkv.h with double for float, which is right and full of warnings. Only compared with: gcc would check
# it at each step for a minute.
$B/twin.o: tests/twin.c rwkv.h tests/twin.h tests/ref.h $B/flags
	@mkdir -p $B
	@$(CC) $(filter-out $(SANITIZE),$(CFLAGS)) -O3 -w -c $< -o $@

$B/soak: tests/soak.c $B/rwkv.o $B/twin.o rwkv.h $(wildcard tests/*.h)
	@$(CC) $(CFLAGS) $(WARNINGS) $(filter %.c %.o,$^) -o $@ $(LDLIBS)

$B/encode: tests/encode.c rwkv.h $B/flags
	@mkdir -p $B
	@$(CC) $(CFLAGS) $(WARNINGS) $< -o $@ $(LDLIBS)

$B/bench $B/bench_text $B/quality: $B/%: tests/%.c rwkv.h $(wildcard tests/*.h) $B/flags
	@mkdir -p $B
	$(CC) $(CFLAGS) $(OPENMP) $< -o $@ $(LDLIBS)

demo: $B/complete
	@echo
	@$B/complete --length 340 --temperature 0.6 --seed 95 examples/story.rwkv 'Once upon a time'

test:
	@$(MAKE) --no-print-directory $(jobs) $(TESTS) $(FUZZERS)
	@CC='$(CC)' sh tests/run.sh $(SCRIPTS) $(TESTS) $(FUZZERS)

# BENCH holds options of tests/bench.c, PEER a program to compare with. PLOT is where to draw: 1 means
# $B/bench.svg; the README shows tests/bench.svg, and the tables that are then in $B/bench.md
bench: $B/bench $B/bench_text
	@$B/bench --json $B/bench.json $(if $(PEER),--peer '$(PEER)') $(BENCH)
	@$(if $(PLOT),$(call optional,python3); \
		python3 tests/plot.py $B/bench.json $(PLOT:1=$B/bench.svg) && \
		python3 tests/plot.py --table $B/bench.json > $B/bench.md && \
		echo 'drawn: $(PLOT:1=$B/bench.svg); as tables: $B/bench.md')
	@$(MAKE) --no-print-directory bench_text

# With the published vocabularies where they are, and beside the npm package if node has it
REFERENCE = $(or $(RWKV_REFERENCE),../shared/reference)
RUST = $B/oracle/node_modules/tokenizers
bench_text: $B/bench_text
	@if [ -d '$(REFERENCE)/tokenizers' ] && command -v python3 > /dev/null; then \
		python3 tests/make_text_models.py '$(REFERENCE)/tokenizers' $B 2> $B/bench_text.log || \
			{ cat $B/bench_text.log; exit 1; }; \
		if command -v node > /dev/null && [ -d '$(RUST)' ]; then \
			set -- --rust '$(RUST)' '$(REFERENCE)/tokenizers/20B_tokenizer.json'; \
		else \
			echo 'skipped: the Rust library (node, or npm install --prefix $B/oracle tokenizers)'; \
		fi; \
		$B/bench_text "$$@" $B/world.rwkv $B/20b.rwkv; \
	else \
		echo 'skipped: published vocabularies (no $(REFERENCE)/tokenizers; set RWKV_REFERENCE)'; \
		$B/bench_text; \
	fi

# The bundled model and, where they are, the checkpoints that it and a larger one are made of, each
# on text that it never saw
STORYTELLER = $(REFERENCE)/storyteller
quality: $B/quality
	@if [ ! -d '$(STORYTELLER)' ]; then \
		echo 'skipped: story-2m, tales-6m, and text that no model has seen (no $(STORYTELLER);'; \
		echo '    set RWKV_REFERENCE): the bundled model reads what it writes itself'; \
		$B/quality $B examples/story.rwkv -; exit; \
	fi; \
	set -- examples/story.rwkv '$(STORYTELLER)/story-valid.txt'; \
	for name in story-2m tales-6m; do \
		if ! command -v python3 > /dev/null; then \
			echo "skipped: $$name (python3 converts it, and is not installed)"; continue; fi; \
		python3 tools/convert_pth.py --type f32 --vocab '$(STORYTELLER)'/$$name.vocab.txt \
			'$(STORYTELLER)'/$$name.pth $B/$$name.rwkv > $B/quality.log 2>&1 || \
			{ cat $B/quality.log; exit 1; }; \
		set -- "$$@" $B/$$name.rwkv '$(STORYTELLER)'/$${name%-*}-valid.txt; \
	done; \
	$B/quality $B "$$@"

oom: $B/test_failures
	@$B/test_failures
	@$(call optional,python3); python3 tests/test_convert.py output_file every_call_fails

# The page of examples/web: a folder for any web server. Without a C library: libc/ has two headers
PAGE = $(addprefix examples/web/,index.html page.js picture.js worker.js rwkv.js) examples/story.rwkv
FLAGS_web = --target=wasm32 -msimd128 -mbulk-memory -mnontrapping-fptoint -nostdlib -ffreestanding -fno-math-errno \
	-Iexamples/web/libc -Wl,--no-entry,--strip-all,--stack-first,-z,stack-size=262144
$B/web/rwkv.wasm: examples/web/rwkv_web.c rwkv.h $(wildcard examples/web/libc/*.h) Makefile
	@mkdir -p $B/web
	clang -std=c99 -Wall -Wextra -Oz $(FLAGS_web) $< -o $@

has_web = mkdir -p $B; echo 'int i;' | clang $(FLAGS_web) -x c - -o $B/has 2> /dev/null
web:
	@$(has_web) || { echo 'make web needs clang, with wasm32 in it, and lld'; exit 1; }; \
	$(MAKE) --no-print-directory $B/web/rwkv.wasm && cp $(PAGE) $B/web && \
	echo 'now: python3 -m http.server -d $B/web, and http://localhost:8000 in a browser'

$B/story-q8.rwkv: $B/quantize examples/story.rwkv
	@$B/quantize --type q8 examples/story.rwkv $@ > $B/quantize.log

size:
	@sh tests/test_size.sh --table | tr '|' '\t'

# Weights in flash, no system, no malloc; the story and all logits are those of this machine
baremetal: $B/story-q8.rwkv
	@CC='$(CC)' LARGE=$B/story-q8.rwkv sh tests/baremetal.sh $B/baremetal

# npm's playwright-core drives a chromium that is installed; it brings none
web-test: $B/complete $B/story-q8.rwkv
	@$(call optional,node); $(has_web) || { echo 'skipped: $@ (no clang with wasm32, or no lld)'; exit 0; }; \
	$(MAKE) --no-print-directory web && \
	if command -v chromium > /dev/null && [ ! -d $B/npm/node_modules/playwright-core ]; then \
		npm install --prefix $B/npm playwright-core@1.65.1 > $B/npm.log 2>&1 || true; fi; \
	node tests/test_web.mjs $B

# ---- what a contributor runs ---------------------------------------------------------------------

# Every change is to pass `make test check cross prove`, see .github/workflows
check: lint asan tsan openmp
	@$(MAKE) --no-print-directory fuzz SECONDS=15

optional = command -v $(1) > /dev/null || { echo 'skipped: $@ ($(1) is not installed)'; exit 0; }

# cppcheck reads no system headers, so it is told what they define
CPPCHECK = --quiet --error-exitcode=1 --std=c99 --language=c --enable=warning,portability \
	--suppress=missingIncludeSystem -DRWKV_IMPLEMENTATION -DRWKV_NO_SIMD -DCHAR_BIT=8 \
	-DINT_MAX=2147483647 -DFLT_MANT_DIG=24 -D__linux__ -D__unix__ -D__GNUC__=12 -USEEK_END
lint:
	@$(MAKE) --no-print-directory $(jobs) lint-cppcheck lint-analyzer
lint-cppcheck:
	@$(call optional,cppcheck); cppcheck $(CPPCHECK) rwkv.h && echo 'cppcheck: nothing found'
lint-analyzer:
	@mkdir -p $B; printf '#define RWKV_IMPLEMENTATION\n#include "../rwkv.h"\n' > $B/lint.c; \
	$(call optional,gcc); \
	gcc -O2 -fanalyzer -Werror -DRWKV_NO_SIMD -c $B/lint.c -o $B/lint.o && echo 'analyzer: nothing found'

SANITIZE = -fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=all \
	-fno-omit-frame-pointer
asan:
	@$(MAKE) --no-print-directory $(jobs) B=$B/asan CFLAGS='-O1 -g1 -DTEST_SLOW_MACHINE=1 $(SANITIZE)' \
		SCALAR='test_dispatch test_quantize test_score' $(ALL:%=$B/asan/%)
	@sh tests/run.sh $(ALL:%=$B/asan/%)

# A + is for make, which does not see that a call runs make.
# clang's, of the scalar kernels. $(call sanitize,TARGET,flags,tests): build the tests, and run them
sanitize = $(MAKE) --no-print-directory $(jobs) B=$B/$(1) CC=clang \
		CFLAGS='-O1 -g1 -fno-omit-frame-pointer -DRWKV_NO_SIMD -DTEST_SLOW_MACHINE=1 $(2)' $(3:%=$B/$(1)/%) && \
	sh tests/run.sh $(3:%=$B/$(1)/%)
sanitizer = if ! echo 'int main(void){return 0;}' | clang $(1) -x c - -o $B/has 2> /dev/null; then \
		echo 'skipped: $@ (no clang with $(1))'; exit 0; fi
ubsan:
	+@mkdir -p $B; $(call sanitizer,-fsanitize=undefined); $(call sanitize,ubsan,-fno-sanitize-recover=all \
		-fsanitize=undefined$(comma)float-cast-overflow$(comma)implicit-conversion$(comma)local-bounds,$(ALL))
msan:
	+@mkdir -p $B; $(call sanitizer,-fsanitize=memory); $(call sanitize,msan,-fsanitize=memory,$(ALL))

# One model, eight states, eight threads. Twice: with POSIX threads, and with OpenMP, whose barriers
# clang's tool Archer tells the sanitizer of.
ARCHER = $(firstword $(wildcard /usr/lib/llvm-*/lib/libarcher.so))
tsan:
	@$(MAKE) --no-print-directory $(jobs) tsan-posix tsan-openmp
tsan-posix:
	+@mkdir -p $B; $(call sanitizer,-fsanitize=thread); $(call sanitize,tsan,-fsanitize=thread,test_parallel)
tsan-openmp:
	+@mkdir -p $B; $(call sanitizer,-fsanitize=thread -fopenmp); \
	if [ -z '$(ARCHER)' ]; then echo 'skipped: $@ (no libarcher.so of LLVM)'; exit 0; fi; \
	export OMP_NUM_THREADS=8 OMP_TOOL_LIBRARIES='$(ARCHER)' TSAN_OPTIONS=ignore_noninstrumented_modules=1; \
	$(call sanitize,tsan_openmp,-fsanitize=thread -fopenmp,test_parallel)

# What valgrind sees and sanitizers do not: the code as it is compiled for use. What is only possibly
# lost is a model or a state: they begin somewhere inside their block, for the alignment. helgrind
# knows POSIX's locks, joins and no atomics, of which the pool is made: tsan looks at that.
MEMCHECK = $(notdir $(FUZZERS)) test_fixtures test_file test_state test_model test_errors
LEAKS = --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite
valgrind:
	@$(call optional,valgrind); \
	$(MAKE) --no-print-directory $(jobs) B=$B/valgrind CFLAGS='-O2 -g -DTEST_SLOW_MACHINE=1' \
		$(MEMCHECK:%=$B/valgrind/%) $B/valgrind/test_parallel && \
	RUN='valgrind -q --error-exitcode=9 $(LEAKS)' sh tests/run.sh $(MEMCHECK:%=$B/valgrind/%) && \
	for name in on_threads several_states_at_once; do valgrind -q --error-exitcode=9 --tool=helgrind \
		--suppressions=tests/helgrind.supp $B/valgrind/test_parallel $$name || exit; done

# The corpus is the beginning and stays as it is; new inputs go to $B/fuzz, and findings to
# $B/fuzz/NAME-*. To take up new inputs: fuzz_NAME -merge=1 tests/corpus/fuzz_NAME FOLDER
# fuzz_quant compares all kernels, which take minutes to compile with coverage: it has none there.
SECONDS = 60
fuzz:
	@$(call optional,clang); mkdir -p $B/fuzz; \
	if ! printf 'int LLVMFuzzerTestOneInput(void){return 0;}' | \
		clang -fsanitize=fuzzer,address -x c - -o $B/fuzz/none 2> /dev/null; then \
		echo 'skipped: fuzz (clang has no libFuzzer here)'; exit 0; fi; \
	$(MAKE) --no-print-directory $(jobs) $(FUZZERS:$B/%=$B/fuzz/%.found)

$B/fuzz/rwkv.o: tests/rwkv.c tests/inside.h rwkv.h
	@clang -g -O1 -DRWKV_NO_SIMD $(SANITIZE) -fsanitize=fuzzer-no-link -c $< -o $@
$B/fuzz/kernels.o: tests/rwkv.c tests/inside.h rwkv.h
	@clang -g -O1 -fsanitize=address -c $< -o $@
$B/fuzz/fuzz_quant: $B/fuzz/kernels.o
$B/fuzz/fuzz_%: tests/fuzz_%.c $B/fuzz/rwkv.o $(wildcard tests/*.h)
	@clang -g -O1 -DFUZZ_LIBFUZZER $(SANITIZE) -fsanitize=fuzzer $< \
		$(or $(filter %/kernels.o,$^),$B/fuzz/rwkv.o) -o $@ $(LDLIBS)
.PHONY: $(FUZZERS:$B/%=$B/fuzz/%.found)
$(FUZZERS:$B/%=$B/fuzz/%.found): %.found: %
	@mkdir -p $*.new
	@$* -max_total_time=$(SECONDS) -timeout=20 -max_len=2000 -verbosity=0 -print_final_stats=1 \
		-artifact_prefix=$*- $*.new tests/corpus/$(notdir $*) > $*.log 2>&1 || \
		{ tail -n 40 $*.log; exit 1; }
	@echo "$(notdir $*): nothing found in $$(sed -n 's/.*executed_units: *//p' $*.log) inputs"

# not part of `make check`: some 8 seconds for each
MUTANTS = 60
mutate:
	@$(call optional,python3); CC='$(CC)' python3 tests/mutate.py $B/mutate --count $(MUTANTS)

# not part of `make check`: half an hour. Of the bundled model what it writes itself; soak.c says why
# that needs a limit of its own
TOKENS = 1000000
soak: $B/soak
	@$B/soak --tokens $(TOKENS) small; small=$$?; \
	$B/soak --tokens $(TOKENS) --types f32 --streams text --limit 1e-3 examples/story.rwkv && \
		exit $$small

# tests/prove.sh says what is proved and how; minutes for each of four kinds of machine
prove:
	@$(call optional,frama-c); sh tests/prove.sh $B/prove

# Nothing optimized or inlined and each && and || a branch, so that it is the source that is counted.
# The kernels and the loader's conditions (each must be seen to decide: MC/DC) have builds of their own.
COVER = test_errors test_failures test_file test_model test_state test_utf8 test_tokenizer test_sampler \
	fuzz_load fuzz_state fuzz_vocab fuzz_text fuzz_sampler fuzz_api
COVER_MCDC = test_errors test_failures test_file test_forward test_model test_tokenizer fuzz_load fuzz_vocab
COVERAGE = -O0 --coverage -Dalways_inline=noinline --param logical-op-non-short-circuit=0
cover:
	@$(MAKE) --no-print-directory -k cover-branches cover-kernels cover-mcdc
# $(call covered,folder,compiler,flags,tests)
covered = rm -rf $(1); $(MAKE) --no-print-directory $(jobs) B=$(1) CC=$(2) WARNINGS='-std=c99 -w' \
		CFLAGS='$(3) -DTEST_SLOW_MACHINE=1' $(4:%=$(1)/%) && sh tests/run.sh $(4:%=$(1)/%)
cover-branches:
	+@$(call optional,gcov); $(call optional,python3); \
	$(call covered,$B/cover,gcc,$(COVERAGE) -DRWKV_NO_SIMD,$(COVER)) && \
	python3 tests/cover.py branches $B/cover
cover-kernels:
	+@$(call optional,gcov); $(call optional,python3); \
	$(call covered,$B/cover-kernels,gcc,$(COVERAGE),test_kernels) && \
	python3 tests/cover.py kernels $B/cover-kernels
cover-mcdc: export LLVM_PROFILE_FILE = $B/cover-mcdc/%m.profraw
cover-mcdc:
	+@$(call optional,clang-19); $(call optional,llvm-cov-19); $(call optional,python3); mkdir -p $B; \
	if ! echo 'int main(void){return 0;}' | \
		clang-19 -fprofile-instr-generate -x c - -o $B/has 2> /dev/null; then \
		echo 'skipped: $@ (libclang-rt-19-dev is not installed)'; exit 0; fi; \
	$(call covered,$B/cover-mcdc,clang-19,-O1 -fprofile-instr-generate -fcoverage-mapping \
		-fcoverage-mcdc -DRWKV_NO_SIMD,$(COVER_MCDC)) && \
	llvm-profdata-19 merge $B/cover-mcdc/*.profraw -o $B/cover-mcdc/all.profdata && \
	llvm-cov-19 export $B/cover-mcdc/rwkv.o -object $B/cover-mcdc/test_failures \
		-instr-profile=$B/cover-mcdc/all.profdata > $B/cover-mcdc/all.json && \
	python3 tests/cover.py mcdc $B/cover-mcdc/all.json

EVALUATE = test_bits test_fixtures test_forward test_state test_parallel test_score
openmp:
	@if [ -z '$(OPENMP)' ]; then echo 'skipped: openmp ($(CC) has none)'; exit 0; fi; \
	$(MAKE) --no-print-directory $(jobs) B=$B/openmp CFLAGS='-O2 -fopenmp' SCALAR=test_score \
		$(EVALUATE:%=$B/openmp/%) && \
		OMP_NUM_THREADS=3 OMP_WAIT_POLICY=passive sh tests/run.sh $(EVALUATE:%=$B/openmp/%)

same:
	@sh tests/same.sh $B/same

archives:
	@CC='$(CC)' sh tests/same_archive.sh $B/archives

# A target is a compiler, an emulator and the flags of both. Big-endian: s390x.
cross: same archives cross-aarch64-linux-gnu cross-s390x-linux-gnu cross-arm-linux-gnueabihf cross-wasm cross-avx512

EMULATOR_aarch64-linux-gnu = qemu-aarch64
EMULATOR_s390x-linux-gnu = qemu-s390x
EMULATOR_arm-linux-gnueabihf = qemu-arm
EMULATOR_wasm = env TMPDIR=$B node --no-warnings tests/wasi.mjs
FLAGS_s390x-linux-gnu = -std=gnu99
FLAGS_wasm = --target=wasm32-wasi --sysroot=/usr -msimd128 -D_WASI_EMULATED_PROCESS_CLOCKS \
	-lwasi-emulated-process-clocks -Wl,--stack-first -Wl,-z,stack-size=1000000
FLAGS_avx512 = -Itests/simde -mavx2 -mfma -mf16c -w -Wno-psabi
# the kernels that must be found, and so are tested
ISAS_aarch64-linux-gnu = scalar neon dotprod
ISAS_s390x-linux-gnu = scalar
ISAS_arm-linux-gnueabihf = scalar smlad
ISAS_wasm = scalar simd128
ISAS_avx512 = scalar ssse3 avx2 avxvnni avx512 avx512vnni

# AVX-512 is emulated on the system that `make test` has tried
CROSS = test_dispatch test_kernels test_types test_fixtures $(if $(filter avx512,$(1)),,test_failures)
# $(call emulate,TARGET,compiler,flags)
emulate = $(MAKE) --no-print-directory $(jobs) B=$B/$(1) CC=$(2) CFLAGS='$(3) -DTEST_SLOW_MACHINE=1' PTHREAD= \
		WARNINGS='$(WARNINGS) $(FLAGS_$(1))' $(CROSS:%=$B/$(1)/%) && echo '$(1) ($(ISAS_$(1))):' && \
	RWKV_TEST_ISAS='$(ISAS_$(1))' RUN='$(EMULATOR_$(1))' sh tests/run.sh $(CROSS:%=$B/$(1)/%)
cross-%:
	+@$(call optional,$*-gcc); $(call optional,$(EMULATOR_$*)); $(call emulate,$*,$*-gcc,-O2 -static)

cross-wasm:
	+@$(call optional,clang); $(call optional,node); mkdir -p $B; \
	if ! echo 'int main(void){return 0;}' | clang $(FLAGS_wasm) -x c - -o $B/has 2> /dev/null; then \
		echo 'skipped: $@ (no wasi-libc, or no lld or libclang-rt-dev-wasm32 of this clang)'; exit 0; fi; \
	$(call emulate,wasm,clang,-O2)

# Emulated on x86-64 with AVX2, by intrinsics that are functions (not unrolled: that takes twice as
# long to compile). Where the machine has what is emulated, `make test` runs the same kernels for real.
cross-avx512:
	+@$(call optional,gcc); \
	if ! grep -qsw avx2 /proc/cpuinfo; then echo 'skipped: $@ (needs AVX2)'; exit 0; fi; \
	if grep -qsw avx512_vnni /proc/cpuinfo && grep -qsw avx_vnni /proc/cpuinfo; then \
		echo 'skipped: $@ (make test has run these kernels on this machine itself)'; exit 0; fi; \
	if ! echo '#include <immintrin.h>' | gcc $(FLAGS_avx512) -fsyntax-only -x c - 2> /dev/null; then \
		echo 'skipped: $@ (libsimde-dev is not installed)'; exit 0; fi; \
	$(call emulate,avx512,gcc,-O1 -fno-tree-loop-optimize)

# needs the network once, and half a gigabyte in $B/; not part of `make check`
oracle: $B/encode
	@$(call optional,python3); python3 tests/oracle.py $B

clean:
	rm -rf $B

.PHONY: help examples demo size baremetal web web-test test bench bench_text quality oom check lint \
	lint-cppcheck lint-analyzer asan ubsan msan tsan tsan-posix tsan-openmp \
	valgrind openmp same archives cross cross-wasm cross-avx512 fuzz mutate force \
	cover cover-branches cover-kernels cover-mcdc prove soak oracle clean

"""Break rwkv.h in many small ways, one at a time, and see whether the tests notice.

    python3 tests/mutate.py FOLDER [--count N] [--seed S] [--list]

A mutant changes one operator, constant or condition of the loader, the state's import, the time
mix, the channel mix or the vector kernels. N of them (default 60; 0: all) are drawn, the same for
the same seed. For each the tests that are meant to notice are run, the quickest first, linked with
the changed implementation or compiled with it inside; if all pass, the mutant has survived and is
printed. The last line is "N killed of M, K did not compile"; the exit status is 1 if fewer than 90 %
of those that compile are killed. Survivors that change nothing (a check that another one repeats, an
unreachable bound) are no fault of the tests: they are listed in EQUIVALENT by what their line becomes,
with the reason.

Run from the repository root; CC is the compiler. Standard library only.
"""
import argparse
import concurrent.futures
import os
import pathlib
import random
import re
import resource
import shutil
import subprocess
import sys

# the tests that are meant to notice, the quickest first; they stop at the first failure
LOADER = ['test_fixtures', 'test_model', 'test_file', 'test_failures', 'test_tokenizer']
KERNELS = ['test_fixtures', 'test_layers', 'test_channel_mix', 'test_time_mix', 'test_kernels',
           'test_bits']
LAYERS = ['test_fixtures', 'test_channel_mix', 'test_time_mix', 'test_forward', 'test_bits']
STATE = ['test_fixtures', 'test_state', 'test_failures']
INSIDE = ['test_failures', 'test_kernels']
FLAGS = ['-O1', '-w', '-DRWKV_NO_SIMD', '-DTEST_SLOW_MACHINE=1', '-DTEST_STOPS=1']

# from a line that has the one text to a line that has the other
PLACES = [
    ('* 8. MARK: file', '* 9. MARK: model', LOADER),
    ('/* ---- loading ---', 'rwkv_model *rwkv_load_memory(const void *data, size_t size, const', LOADER),
    ('RWKV__NAME(exp)(RWKV__V x)', 'RWKV__NAME(largest)', KERNELS),
    ('* 11. MARK: time_mix', '* 13. MARK: forward', LAYERS),
    ('RWKV_API size_t rwkv_state_save(const rwkv_state *state, void *out, size_t size)\n{',
     '* 15. MARK: utf8', STATE),
]

CHANGES = [
    (r' < ', ' <= '), (r' <= ', ' < '), (r' > ', ' >= '), (r' >= ', ' > '),
    (r' == ', ' != '), (r' != ', ' == '), (r' && ', ' || '), (r' \|\| ', ' && '),
    (r' \+ ', ' - '), (r' - ', ' + '), (r' \* ', ' + '), (r' % ', ' / '),
    (r'\bif \((?!.*\\$)', 'if (0 && '), (r'RWKV__SUB\(', 'RWKV__ADD('), (r'RWKV__ADD\(', 'RWKV__SUB('),
    (r'RWKV__LESS\((\w+), (\w+),', r'RWKV__LESS(\2, \1,'), (r'\b1\b', '2'), (r'\b0\b', '1'),
]

# what a line becomes -> why no test can tell
EQUIVALENT = {
    'if (f->bytes >= (uint64_t)SIZE_MAX / 2)': 'near true on 32-bit machines alone',
    'if (0 && f->bytes > (uint64_t)SIZE_MAX / 2)': 'true on 32-bit machines alone',
    'return 2;': 'true as 1 is',
    'if (0 && size < RWKV__SAVE_HEADER || memcmp(h, expected, 12) != 0)': 'no saved state is so short',
    'if (size <= RWKV__SAVE_HEADER || memcmp(h, expected, 12) != 0)': 'the same',
    'const uint64_t size = (uint64_t)(value <= 0 ? -(int64_t)value : value);': '0 is its own negative',
    'value < 1 ? "-" : "", size, (uint64_t)highest);': 'nothing is said of 0',
    'value <= 0 ? "-" : "", size, (uint64_t)highest);': 'nothing is said of 0',
    'if (rwkv__state_size(m) >= SIZE_MAX / 2)': 'no state has just that size',
    '*offset = id < RWKV__TENSORS ? f->offset[id] + *layer * f->layer_bytes : 1;':
        'nobody looks at it after the last tensor',
    '*offset = id <= RWKV__TENSORS ? f->offset[id] + *layer * f->layer_bytes : 0;':
        'nobody looks at it after the last tensor',
}


def mutants(text):
    """(line number, what it was, what it is, tests) of each."""
    lines = text.split('\n')
    # comments, strings and what is for big-endian machines are blanked, so that columns stay
    blank = re.sub(r'/\*.*?\*/|"(?:\\.|[^"\\\n])*"|#ifdef RWKV__BIG_ENDIAN.*?#(?:else|endif)',
                   lambda m: re.sub(r'[^\n]', ' ', m.group()), text, flags=re.S).split('\n')
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    found = []
    for begin, end, tests in PLACES:
        first = text.index(begin)
        last = text.index(end, first + len(begin))
        for number, line in enumerate(lines):
            code = blank[number]
            # a vector has one row, which nothing reads
            if not first <= starts[number] < last or code.startswith(('static', 'RWKV_', '#')) or \
                    "'v', '1'" in code:
                continue
            for pattern, instead in CHANGES:
                for match in re.finditer(pattern, code):
                    new = line[:match.start()] + match.expand(instead) + line[match.end():]
                    if new != line and new.strip() not in EQUIVALENT:
                        found.append((number, line.strip(), new, tests))
    return lines, found


def limit():
    """CPU time, because others use the machine too."""
    resource.setrlimit(resource.RLIMIT_CPU, (60, 60))


def run(command):
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          preexec_fn=limit).returncode


def compile_inside(cc, at, test):
    """A test that includes the header, copied beside the mutant."""
    (at / 'tests').mkdir(exist_ok=True)
    for path in [*pathlib.Path('tests').glob('*.h'), pathlib.Path('tests', test + '.c')]:
        shutil.copy(path, at / 'tests')
    run([cc, *FLAGS, at / 'tests' / (test + '.c'), '-o', at / 'test', '-lm', '-pthread'])


def try_one(job):
    """'killed', 'survived' or 'broken', which did not compile."""
    folder, cc, lines, mutant, index = job
    number, _, new, tests = mutant
    at = folder / str(index)
    at.mkdir(parents=True, exist_ok=True)
    (at / 'rwkv.h').write_text('\n'.join(lines[:number] + [new] + lines[number + 1:]))
    (at / 'rwkv.c').write_text('#define RWKV_IMPLEMENTATION\n#include "rwkv.h"\n')
    result = 'survived'
    if run([cc, '-O1', '-w', '-DRWKV_NO_SIMD', '-c', at / 'rwkv.c', '-o', at / 'rwkv.o']):
        result = 'broken'
    else:
        for test in tests:
            if test in INSIDE:
                compile_inside(cc, at, test)
            else:
                run([cc, folder / (test + '.o'), at / 'rwkv.o', '-o', at / 'test', '-lm', '-pthread'])
            if run([at / 'test']):
                result = 'killed'
                break
    shutil.rmtree(at)
    return result


def main():
    parser = argparse.ArgumentParser(description='mutation testing of rwkv.h')
    parser.add_argument('folder', type=pathlib.Path)
    parser.add_argument('--count', type=int, default=60)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--list', action='store_true', help='print the mutants, and stop')
    options = parser.parse_args()
    cc = os.environ.get('CC', 'cc')
    lines, found = mutants(pathlib.Path('rwkv.h').read_text())
    random.Random(options.seed).shuffle(found)
    found = found[:options.count or len(found)]
    if options.list:
        for number, was, new, _ in found:
            print(f'{number + 1}: {was}\n    {new.strip()}')
        return 0
    options.folder.mkdir(parents=True, exist_ok=True)
    for test in set().union(*(tests for *_, tests in PLACES)) - set(INSIDE):
        subprocess.run([cc, *FLAGS, '-c', f'tests/{test}.c', '-o', options.folder / (test + '.o')],
                       check=True)
    jobs = [(options.folder, cc, lines, mutant, i) for i, mutant in enumerate(found)]
    count = {'killed': 0, 'survived': 0, 'broken': 0}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for (number, was, new, _), result in zip(found, pool.map(try_one, jobs)):
            count[result] += 1
            if result == 'survived':
                print(f'survived: rwkv.h:{number + 1}: {was}\n    as {new.strip()}', flush=True)
    total = count['killed'] + count['survived']
    print(f"{count['killed']} killed of {total}, {count['broken']} did not compile")
    return 0 if count['killed'] >= 0.9 * total else 1


if __name__ == '__main__':
    sys.exit(main())

"""Which lines and branches of rwkv.h the tests never reach.

    python3 tests/cover.py branches FOLDER    lines and branches of SECTIONS, by gcov
    python3 tests/cover.py kernels FOLDER     lines of the kernels of each instruction set, by gcov
    python3 tests/cover.py mcdc FILE          conditions of the loader: `llvm-cov export` of clang

`make cover` builds the tests, runs them and calls this. FOLDER holds programs built with
gcc --coverage that have run; what several of them counted is added up. A section ends where the
next banner (MARK) stands. The exit status is 1 if something was not reached that does not stand in
UNREACHABLE, or something that stands there was.

Run from the repository root. Standard library and gcov only.
"""
import collections
import json
import pathlib
import re
import subprocess
import sys

SECTIONS = ['errors', 'file', 'model', 'state', 'utf8', 'tokenizer', 'sampler']
LOADER = ['file', 'model']
ISAS = ['scalar', 'ssse3', 'avx2', 'avxvnni', 'avx512', 'neon', 'dotprod', 'simd128']

# text of a line -> (how many of its branches no test can take, why); nor what follows from them
UNREACHABLE = {
    'if (f->bytes > (uint64_t)SIZE_MAX / 2)': (1, 'true on 32-bit machines alone'),
    'if (rwkv__state_size(m) > SIZE_MAX / 2)': (1, 'true on 32-bit machines alone'),
    'if (entry && place->part < entry[1] % 8) {':
        (1, 'a part is never beyond the last, after which it is 0 again'),
    'if (s->next.at == s->end || start == RWKV__NONE)':
        (1, 'without a start there are marks, none of which is taken in, so it has returned'),
    'if (ends && !w->begun && !w->window && w->length) { /* most words are one token      */':
        (2, 'a window is merged only to put out a part of it; and no word is empty'),
}

# what would be a line's function and text -> (constant, the least of it), without which an
# instruction set never comes there
NEEDS = [
    (r'tile: RWKV__PREFETCH_NEAR\(\(uintptr_t\)x', 'ROWS', 9),
    (r'tiles_one: |RWKV__NAME\(tiles_one\)', 'WIDE', 2),
    (r'matmul_used: .*, w, 1, type\);', 'TALL', 2),
    (r'matmul: .*NULL, 1, 1, type\);', 'TALL', 2),
    (r'matmul: .*NULL, 2, 1, type\);', 'TALL', 3),
    (r'matmul: (else if \(rows == 4\)|.*RWKV__WIDE, 2,)', 'ROWS', 3),
    (r'matmul: .*RWKV__WIDE, 4,', 'ROWS', 5),
    (r'widen: (if|else|y\[i\])', 'W', 2),
    (r'pack: s\[0\] ', 'W', 2),
]

# text of a decision's first line -> (which of its conditions cannot be shown to matter, why)
CONDITIONS = {
    'if (*size > 0 && *size <= SIZE_MAX)': ([2], 'false on 32-bit machines alone'),
}


def sections(text):
    """-> [(name, first line, last line)]"""
    marks = [(match.group(1), text.count('\n', 0, match.start()) + 1)
             for match in re.finditer(r'^ \* \d+\. MARK: (\w+)', text, re.M)]
    ends = [first - 1 for _, first in marks[1:]] + [text.count('\n') + 1]
    return [(name, first, end) for (name, first), end in zip(marks, ends)]


def gcov(folder):
    """Yield, of each object, {line number, count, branches, function_name} of the lines of rwkv.h."""
    for path in sorted(pathlib.Path(folder).glob('*.gcda')):
        out = subprocess.run(['gcov', '--json-format', '--branch-probabilities', '--stdout', path],
                             stdout=subprocess.PIPE, check=True).stdout
        for file in json.loads(out)['files']:
            if pathlib.Path(file['file']).name == 'rwkv.h':
                yield file['lines']


def merged(folder):
    """-> {(line, function): [count, [count of each branch]]}, all objects added up"""
    found = {}
    for lines in gcov(folder):
        for line in lines:
            place = line['line_number'], line.get('function_name', '')
            branches = [branch['count'] for branch in line['branches']]
            count = found.setdefault(place, [0, [0] * len(branches)])
            if len(branches) != len(count[1]):
                raise SystemExit(f'rwkv.h:{place[0]}: two objects differ in their branches')
            count[0] += line['count']
            count[1] = [a + b for a, b in zip(count[1], branches)]
    return found


def branches(folder):
    """-> complaints"""
    text = pathlib.Path('rwkv.h').read_text(encoding='utf-8')
    source = text.split('\n')
    found = merged(folder)
    complaints, used = [], set()
    for name, first, end in sections(text):
        if name not in SECTIONS:
            continue
        here = sorted(item for item in found.items() if first <= item[0][0] <= end)
        lines = [count > 0 for _, (count, _) in here]
        taken = [count > 0 for _, (count, counts) in here for count in counts]
        print(f'{name:10} {sum(lines):4} of {len(lines):4} lines, {sum(taken):4} of {len(taken):4} '
              'branches')
        if not here:
            complaints.append(f'{name}: nothing was counted')
        excused = False
        for (number, _), (count, counts) in here:
            line = source[number - 1].strip()
            if count == 0 and not excused:
                complaints.append(f'rwkv.h:{number}: never: {line}')
            if count > 0:
                missed = counts.count(0)
                excused = missed > 0 and UNREACHABLE.get(line, (0, ''))[0] == missed
                if excused:
                    used.add(line)
                elif missed:
                    complaints.append(f'rwkv.h:{number}: {missed} of {len(counts)} branches never: {line}')
    for line, (number, why) in UNREACHABLE.items():
        if line in used:
            print(f'unreachable, {number} of: {line}\n    {why}')
        else:
            complaints.append(f'listed as unreachable, but reached or gone: {line}')
    return complaints


def constants(source):
    """-> {isa: {'W': lanes, 'ROWS': ...}}"""
    found, isa = {}, None
    for line in source:
        begin = re.match(r'#(?:el)?if defined\(RWKV__(\w+)_PASS\)', line)
        isa = begin.group(1).lower() if begin else isa
        define = re.match(r'#define RWKV__(W|ROWS|WIDE|TALL)\s+(\d+)', line)
        if isa and define:
            found.setdefault(isa, {})[define.group(1)] = int(define.group(2))
    return found


def kernels(folder):
    """-> complaints"""
    source = pathlib.Path('rwkv.h').read_text(encoding='utf-8').split('\n')
    found = collections.defaultdict(list)
    for (number, function), (count, _) in sorted(merged(folder).items()):
        name, _, isa = function.rpartition('_')
        if isa in ISAS:
            found[isa].append((number, f'{name[len("rwkv__"):]}: {source[number - 1].strip()}', count))
    complaints = [] if found['scalar'] else ['no kernels were counted']
    for isa in ISAS:
        if not any(count for _, _, count in found[isa]):
            print(f'skipped: {isa} (this build or this machine lacks it)')
            continue
        reached = total = 0
        for number, line, count in found[isa]:
            has = constants(source).get(isa, {})
            lacks = [constant for pattern, constant, least in NEEDS
                     if re.match(pattern, line) or re.search(': ' + pattern, line)
                     if has.get(constant, least) < least]
            if count and lacks:
                complaints.append(f'rwkv.h:{number}: {isa}, NEEDS is wrong: {line}')
            elif not count and not lacks:
                complaints.append(f'rwkv.h:{number}: {isa}, never: {line}')
            total += not lacks
            reached += not lacks and count > 0
        print(f'{isa:10} {reached:4} of {total:4} lines, and {len(found[isa]) - total} for other tiles')
    return complaints


def mcdc(path):
    """-> complaints"""
    text = pathlib.Path('rwkv.h').read_text(encoding='utf-8')
    source = text.split('\n')
    shown = {} # what each copy of the header has shown, together
    for file in json.loads(pathlib.Path(path).read_text(encoding='utf-8'))['data'][0]['files']:
        if pathlib.Path(file['filename']).name == 'rwkv.h':
            for record in file['mcdc_records']:
                before = shown.setdefault(tuple(record[:2]), [False] * len(record[-1]))
                shown[tuple(record[:2])] = [a or b for a, b in zip(before, record[-1])]
    complaints, used = [], set()
    for name, first, end in sections(text):
        if name not in LOADER:
            continue
        here = sorted(item for item in shown.items() if first <= item[0][0] <= end)
        conditions = [condition for _, all_of_one in here for condition in all_of_one]
        print(f'{name:10} {sum(conditions):4} of {len(conditions):4} conditions, of {len(here)} decisions')
        if not here:
            complaints.append(f'{name}: nothing was counted')
        for (number, _), all_of_one in here:
            line = source[number - 1].strip()
            missed = [i + 1 for i, condition in enumerate(all_of_one) if not condition]
            if missed and CONDITIONS.get(line, ([], ''))[0] == missed:
                used.add(line)
            elif missed:
                complaints.append(f'rwkv.h:{number}: condition {missed} never matters: {line}')
    for line, (which, why) in CONDITIONS.items():
        if line in used:
            print(f'unreachable, condition {which} of: {line}\n    {why}')
        else:
            complaints.append(f'listed as unreachable, but reached or gone: {line}')
    return complaints


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in ('branches', 'kernels', 'mcdc'):
        raise SystemExit(__doc__)
    complaints = globals()[sys.argv[1]](sys.argv[2])
    for complaint in complaints:
        print(complaint)
    return len(complaints) > 0


if __name__ == '__main__':
    sys.exit(main())

#!/usr/bin/env python3
"""test_stack.py: no function calls itself, not even by way of others, and the stack has a limit.

gcc writes down which function calls which, and how much of the stack each takes
(-fcallgraph-info). What is called through a pointer is known here: see targets().

    tests/test_stack.py            the test; the last line is "N passed, M failed"
    tests/test_stack.py --table    the largest frames, and the deepest path of every public function
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

# name, compiler and options, and the most bytes for a public function that LARGE does not have.
# The quantizer's work is done by the same team as an evaluation's, so one build has it, for its own
# sake, and the others do not.
SMALL = '-DRWKV_NO_QUANTIZE'
BUILDS = [
    ('x86-64, -O2', f'gcc -O2 {SMALL}', 4096),
    ('x86-64, -Os, quantizer', 'gcc -Os -DRWKV_NO_SIMD', 4096),
    ('Cortex-M3, -Os', f'arm-none-eabi-gcc -Os -mthumb -mcpu=cortex-m3 {SMALL}', 2048),
    ('Cortex-M4F, -O2', f'arm-none-eabi-gcc -O2 -mthumb -mcpu=cortex-m4 -mfloat-abi=hard '
                        f'-mfpu=fpv4-sp-d16 {SMALL}', 2048),
]
LARGE = {'rwkv_tokenize': 40960, 'rwkv_tokenize_special': 40960, 'rwkv_quantize': 8192,
         'rwkv_quantize_with': 8192}
ISA = re.compile(r'_(scalar|ssse3|avx2|avxvnni|avx512|neon|dotprod|simd128)(\..*)?$')


def call_graph(path):
    """-> {function: bytes of its frame, or None if it is not ours}, {function: called ones}, complaints"""
    frames, calls, complaints = {}, {}, []
    with open(path, encoding='utf-8') as file:
        for line in file:
            node = re.match(r'node: \{ title: "(?:[^":]*:)?([^"]*)" label: "([^"]*)"', line)
            edge = re.match(r'edge: \{ sourcename: "(?:[^":]*:)?([^"]*)" targetname: "(?:[^":]*:)?([^"]*)"', line)
            if node:
                size = re.search(r'(\d+) bytes \(([^)]*)\)', node[2])
                frames[node[1]] = int(size[1]) if size else None
                if size and size[2] == 'dynamic':
                    complaints.append(f'{node[1]}: the stack it takes has no limit')
            elif edge:
                calls.setdefault(edge[1], set()).add(edge[2])
    return frames, calls, complaints


def targets(caller, kernels, work):
    """What `caller` may call through a pointer. Not counted: what the user gave it."""
    if caller.startswith('rwkv__split'):
        return work
    if caller.startswith('rwkv__run_part'):
        return [name for name in work if not name.startswith('rwkv__run_part')]
    products = [name for name in kernels if '__matmul_' in name]
    if caller.startswith('rwkv__multiply_panels'): # and what is done to a product
        return kernels
    if caller.startswith(('rwkv__times_h', 'rwkv__code_panels')):
        return products
    if caller.startswith(('rwkv__alloc', 'rwkv__release', 'rwkv_free', 'rwkv_quantize')):
        return []
    return [name for name in kernels if name not in products]


def deepest(frames, calls):
    """-> {function: (bytes, path)}; a cycle raises ValueError."""
    found, path = {}, []

    def visit(name):
        if name in path:
            raise ValueError('calls itself: ' + ' -> '.join(path[path.index(name):] + [name]))
        if name not in found:
            path.append(name)
            below = max((visit(called) for called in calls.get(name, ())), default=(0, ()))
            path.pop()
            found[name] = ((frames.get(name) or 0) + below[0], (name,) + below[1])
        return found[name]

    for name in frames:
        visit(name)
    return found


def examine(build, folder, table):
    """-> complaints"""
    _, command, limit = build
    source = os.path.join(folder, 'impl.c')
    with open(source, 'w', encoding='utf-8') as file:
        file.write('#define RWKV_IMPLEMENTATION\n#include "rwkv.h"\n')
    subprocess.run([*command.split(), '-I.', '-w', '-fcallgraph-info=su', '-c', source,
                    '-o', os.path.join(folder, 'impl.o')], check=True)
    frames, calls, complaints = call_graph(os.path.join(folder, 'impl.ci'))
    called = set().union(*calls.values())
    # gcc's own names for parts and copies of a function end in a dot and something
    ours = [name for name, frame in frames.items() if frame is not None]
    pointed_to = [name for name in ours if name.startswith('rwkv__') and name not in called]
    kernels = [name for name in pointed_to if ISA.search(name)]
    work = [name for name in pointed_to if name not in kernels] + \
        [name for name in ours if name.startswith('rwkv__run_part')]
    for caller, known in calls.items():
        if '__indirect_call' in known:
            known.remove('__indirect_call')
            known.update(targets(caller, kernels, work))
    try:
        depth = deepest(frames, calls)
    except ValueError as error:
        return complaints + [str(error)]
    for name in sorted(ours):
        most = LARGE.get(name, limit)
        if not name.startswith('rwkv__') and depth[name][0] > most:
            complaints.append(f'{name} takes {depth[name][0]} bytes of stack, more than {most}: ' +
                              ', '.join(f'{step} {frames[step]}' for step in depth[name][1]))
    if not kernels or not work or 'rwkv_eval' not in ours:
        complaints.append('the call graph lacks functions')
    if table:
        for name in sorted(ours, key=lambda name: -frames[name])[:24]:
            print(f'    {frames[name]:6} {name}')
        for name in sorted(ours, key=lambda name: -depth[name][0]):
            if not name.startswith('rwkv__') and '.' not in name:
                print(f'    {depth[name][0]:6} in all: {name}')
    return complaints


def main():
    table = '--table' in sys.argv
    passed = failed = 0
    for build in BUILDS:
        compiler = build[1].split()[0]
        if not shutil.which(compiler):
            print(f'skipped: the stack of {build[0]} ({compiler} is not installed)')
            continue
        if table:
            print(build[0])
        with tempfile.TemporaryDirectory() as folder:
            complaints = examine(build, folder, table)
        for complaint in complaints:
            print(f'FAILED: {build[0]}: {complaint}')
        passed += not complaints
        failed += bool(complaints)
    print(f'{passed} passed, {failed} failed')
    return failed > 0


if __name__ == '__main__':
    sys.exit(main())

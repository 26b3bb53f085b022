#!/usr/bin/env python3
"""plot.py: draw what bench measured.

    plot.py BENCH.json... OUT.svg        the curves, in one picture
    plot.py --table BENCH.json...        the tables, as Markdown

The files are what `bench --json` writes; of figures that are in several, the last
count. Standard library only.
"""
import json
import math
import sys
from xml.sax.saxutils import escape

INK, MUTED, GRID, PAPER = '#1f2937', '#5b6472', '#e5e7eb', '#ffffff'
COLORS = ['#2563eb', '#d9640b', '#15803d', '#7c3aed', '#b91c1c']
WIDTH, HEIGHT, MARGIN = 960, 740, 28


def load(paths):
    """{part: [records]}, each record once: the last of those with the same keys."""
    parts = {}
    for path in paths:
        with open(path, encoding='utf-8') as file:
            for number, line in enumerate(file, 1):
                try:
                    record = json.loads(line)
                    part = record['part']
                except (ValueError, KeyError, TypeError):
                    raise ValueError(f'{path}: line {number} is not of bench') from None
                key = tuple(record.get(k) for k in ('model', 'type', 'threads', 'states', 'tokens'))
                parts.setdefault(part, {})[key] = record
    return {part: list(records.values()) for part, records in parts.items()}


class Picture:
    """SVG elements; rounded to a tenth of a pixel."""

    def __init__(self):
        self.parts = []

    def add(self, tag, text=None, **attributes):
        start = tag + ''.join(f' {name.replace("_", "-")}="{self.value(value)}"'
                              for name, value in attributes.items())
        self.parts.append(f'<{start}/>' if text is None else f'<{start}>{escape(text)}</{tag}>')

    @staticmethod
    def value(value):
        if isinstance(value, float):
            return f'{value:.1f}'.rstrip('0').rstrip('.')
        return escape(str(value), {'"': '&quot;'})

    def text(self, x, y, text, anchor='start', color=INK, size=12, **more):
        self.add('text', text, x=float(x), y=float(y), fill=color, font_size=size,
                 text_anchor=anchor, **more)

    def line(self, x1, y1, x2, y2, color=GRID, width=1, **more):
        self.add('line', x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2),
                 stroke=color, stroke_width=width, **more)

    def dot(self, x, y, color, r=4):
        self.add('circle', cx=float(x), cy=float(y), r=r, fill=color, stroke=PAPER, stroke_width=1)

    def path(self, points, color):
        self.add('polyline', points=' '.join(f'{x:.1f},{y:.1f}' for x, y in points),
                 fill='none', stroke=color, stroke_width=2, stroke_linejoin='round')

    def title(self, x, y, title, under):
        self.text(x, y, title, size=15, font_weight=600)
        self.text(x, y + 17, under, color=MUTED)

    def svg(self, about):
        fonts = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"
        return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
                f'width="{WIDTH}" height="{HEIGHT}" font-family="{fonts}">\n'
                f'<title>{escape(about)}</title>\n' + '\n'.join(self.parts) + '\n</svg>\n')


def ticks(most, about=5):
    """Round numbers from 0 to at least `most`."""
    step = 10 ** math.floor(math.log10(most / about))
    step *= next(f for f in (1, 2, 2.5, 5, 10) if step * f * about >= most * 0.999)
    return [i * step for i in range(math.ceil(most / step - 1e-9) + 1)]


def number(x):
    return f'{x:,.0f}' if x >= 100 or x == int(x) else f'{x:g}'


def key_of_colors(p, x, y, names):
    for i, name in enumerate(names):
        p.dot(x, y - 4, COLORS[i])
        p.text(x + 9, y, name, color=MUTED)
        x += 27 + 6.6 * len(name)


def shares(p, x, y, width, records, field, title, under):
    """A dot for each number of threads, on a line for each model and type."""
    rows = list(dict.fromkeys((r['model'], r['type']) for r in records))
    threads = sorted({r['threads'] for r in records})
    most = max(100, *(r[field] for r in records))
    left, top, row = x + 92, y + 62, min(19.0, 240 / len(rows))
    bottom = top + row * (len(rows) - 1)
    marks = ticks(most, 5 if most <= 100 else 6)
    at = lambda v: left + (x + width - left - 12) * v / marks[-1]
    p.title(x, y, title, under)
    key_of_colors(p, left, y + 39, [f'{n} thread' + 's' * (n > 1) for n in threads])
    for m in marks:
        p.line(at(m), top - 10, at(m), bottom + 10, MUTED if m == 100 else GRID)
        unit = ' %' if m == marks[-1] else ''
        p.text(at(m), bottom + 25, number(m) + unit, 'middle', MUTED, 11)
    before = None
    for i, (model, kind) in enumerate(rows):
        here = top + i * row
        if model != before:
            p.text(x, here + 4, model.split('/')[-1][:10], font_weight=600)
            if before:
                p.line(x, here - row / 2, x + width - 12, here - row / 2)
        before = model
        p.text(left - 10, here + 4, kind, 'end')
        for r in records:
            if (r['model'], r['type']) == (model, kind):
                p.dot(at(r[field]), here, COLORS[threads.index(r['threads']) % len(COLORS)])


def axes(p, box, x_marks, y_marks, y_at, x_label):
    left, top, right, bottom = box
    for m in y_marks:
        p.line(left, y_at(m), right, y_at(m), MUTED if m == 0 else GRID)
        p.text(left - 8, y_at(m) + 4, number(m), 'end', MUTED, 11)
    for where, label in x_marks:
        p.text(where, bottom + 16, label, 'middle', MUTED, 11)
    p.text(right, bottom + 31, x_label, 'end', MUTED, 11)


def batch(p, x, y, width, height, records):
    most_threads = max(r['threads'] for r in records)
    records = [r for r in records if r['threads'] == most_threads]
    series = list(dict.fromkeys((r['model'], r['type']) for r in records))
    states = sorted({r['states'] for r in records})
    box = (x + 44, y + 44, x + width - 46, y + height - 40)
    left, top, right, bottom = box
    span = math.log2(states[-1]) or 1
    marks = ticks(max(r['rate'] for r in records))
    x_at = lambda n: left + (right - left) * math.log2(n) / span
    y_at = lambda v: bottom - (bottom - top) * v / marks[-1]
    p.title(x, y, 'Many texts at once', f'tokens per second of rwkv_eval_batch, {series[0][0]}, '
            f'{most_threads} thread' + 's' * (most_threads > 1))
    axes(p, box, [(x_at(n), str(n)) for n in states], marks, y_at, 'states')
    used = []
    for i, s in enumerate(series):
        points = sorted((r['states'], r['rate']) for r in records if (r['model'], r['type']) == s)
        points = [(x_at(n), y_at(v)) for n, v in points]
        p.path(points, COLORS[i % len(COLORS)])
        for where in points:
            p.dot(*where, COLORS[i % len(COLORS)])
        label = points[-1][1] + 4
        while any(abs(label - other) < 14 for other in used):
            label += 1
        used.append(label)
        p.text(right + 10, label, s[1], color=COLORS[i % len(COLORS)], font_weight=600)


def linear(p, x, y, width, height, records, fit):
    records.sort(key=lambda r: r['tokens'])
    last = records[-1]['tokens']
    box = (x + 44, y + 44, x + width - 12, y + height - 112)
    left, top, right, bottom = box
    x_at = lambda n: left + (right - left) * n / last
    marks = ticks(records[-1]['seconds'], 4)
    y_at = lambda v: bottom - (bottom - top) * v / marks[-1]
    where = [(x_at(i * last / 4), number(round(i * last / 4))) for i in range(5)]
    p.title(x, y, 'Linear time, constant memory', f'seconds for a text of so many tokens, '
            f'{records[0]["model"].split("/")[-1]} {records[0]["type"]}, one by one')
    axes(p, box, [], marks, y_at, '')
    p.line(x_at(0), y_at(0), x_at(last), y_at(last / fit['rate']), COLORS[0], 1.5)
    for r in records:
        p.dot(x_at(r['tokens']), y_at(r['seconds']), COLORS[0], 3.5)
    p.text(x_at(last * 0.04), top + 10,
           f'at most {fit["deviation"]:.2g} % from a straight line', color=MUTED)
    known = [r for r in records if r['resident'] is not None]
    box = (left, bottom + 36, right, y + height - 40)
    if known:
        marks = ticks(max(r['resident'] for r in known) / 1024, 2)
        y_at = lambda v: box[3] - (box[3] - box[1]) * v / marks[-1]
        axes(p, box, where, marks, y_at, 'tokens')
        grown = known[-1]['resident'] - known[0]['resident']
        p.text(left, box[1] - 12, f'memory in MB: {number(round(grown))} KB more at the end',
               color=MUTED)
        p.path([(x_at(r['tokens']), y_at(r['resident'] / 1024)) for r in known], COLORS[1])
    else:
        axes(p, box, where, [0], lambda v: box[1], 'tokens')


def draw(parts):
    p = Picture()
    half = (WIDTH - 3 * MARGIN) // 2
    right = 2 * MARGIN + half
    p.add('rect', x=0.5, y=0.5, width=WIDTH - 1.0, height=HEIGHT - 1.0, rx=8, fill=PAPER,
          stroke='#d0d7de')
    if 'table' in parts:
        shares(p, MARGIN, 42, half, parts['table'], 'of_read', 'Writing one token at a time',
               'share of the read bandwidth, as if all matrices were read')
        shares(p, right, 42, half, parts['table'], 'of_peak', 'Reading a prompt of 512 tokens',
               'share of the peak of multiply-adds')
    if 'batch' in parts:
        batch(p, MARGIN, 416, half, HEIGHT - 424, parts['batch'])
    if 'linear' in parts and 'line' in parts:
        linear(p, right, 416, half, HEIGHT - 424, parts['linear'], parts['line'][-1])
    return p.svg('rwkv.h: speed beside the limits of the machine it was measured on')


def three(x):
    return number(float('%.3g' % x))


def markdown(rows):
    rule = ['---'] * len(rows[0])
    return ''.join('| ' + ' | '.join(row) + ' |\n' for row in [rows[0], rule] + rows[1:]) + '\n'


def speeds(records):
    rows = [['model', 'threads', 'writing, tokens/s', 'of the read bandwidth', 'zero inputs',
             'reading, tokens/s', 'of the peak', 'load, ms', 'memory, MB']]
    before = None
    for r in records:
        name = r['model'].split('/')[-1] + ' ' + r['type']
        unit = 'GOP/s' if r['type'] in ('q8', 'q4') else 'GFLOP/s'
        rows.append([name if name != before else '', str(r['threads']), three(r['decode']),
                     '%.0f %% of %.3g GB/s' % (r['of_read'], r['read']), '%.0f %%' % r['zeros'],
                     three(r['prompt']), '%.0f %% of %.3g %s' % (r['of_peak'], r['peak'], unit),
                     '%.1f' % r['load'], '-' if r['resident'] is None else number(r['resident'])])
        before = name
    return markdown(rows)


def batches(records):
    states = sorted({r['states'] for r in records})
    rows = [['model', 'threads'] + ['%d state%s' % (n, 's' * (n > 1)) for n in states]]
    rate = {(r['model'], r['type'], r['threads'], r['states']): r['rate'] for r in records}
    for model, kind, threads in dict.fromkeys(key[:3] for key in rate):
        rows.append([model.split('/')[-1] + ' ' + kind, str(threads)] +
                    [three(rate.get((model, kind, threads, n), 0)) for n in states])
    return markdown(rows)


def layers(records):
    rows = [['ns per token'] + [r['model'].split('/')[-1] + ' ' + r['type'] for r in records]]
    for name in records[0]['ns']:
        rows.append([name] + [f'{r["ns"][name]:,.0f}' for r in records])
    return markdown(rows)


def main(arguments):
    as_table = arguments[:1] == ['--table']
    paths = arguments[1:] if as_table else arguments[:-1]
    if not paths:
        print(__doc__.split('\n\n')[1], file=sys.stderr)
        return 2
    try:
        parts = load(paths)
        if not parts:
            raise ValueError(f'{paths[0]}: nothing measured')
        if as_table:
            for part, write in (('table', speeds), ('batch', batches), ('layers', layers)):
                if part in parts:
                    sys.stdout.write(write(parts[part]))
        else:
            with open(arguments[-1], 'w', encoding='utf-8') as file:
                file.write(draw(parts))
    except (OSError, ValueError, KeyError) as error:
        print(f'plot.py: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))

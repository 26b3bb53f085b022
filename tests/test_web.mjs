// test_web.mjs: the page of examples/web: the module in node, then the page in chromium, if that and
// playwright-core are there.
//
//     node tests/test_web.mjs BUILD [FOLDER]
//
// BUILD has web/, complete and story-q8.rwkv, and npm/node_modules of playwright-core. Pictures of the
// page are left in FOLDER, or nowhere. The last line is "N passed, M failed".
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { extname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const [build, pictures] = process.argv.slice(2);
const web = join(build, 'web');
const MODEL = 'examples/story.rwkv';
const model = readFileSync(MODEL);
const work = mkdtempSync(join(tmpdir(), 'web-'));
const count = { passed: 0, failed: 0 };

function check(what, ok, about = '') {
  count[ok ? 'passed' : 'failed']++;
  if (!ok) console.log(`FAILED: ${what}${about ? `: ${about}` : ''}`);
}

function same(what, found, expected) {
  check(what, found === expected, `${JSON.stringify(found)}, expected ${JSON.stringify(expected)}`);
}

// What the program for the desktop writes, with the newline at its end.
function desktop(prompt, { file = MODEL, length = 340, temperature = 0.6, topP = 0.9, seed = 95, more = [] } = {}) {
  return execFileSync(join(build, 'complete'), ['--quiet', '--length', length, '--temperature', temperature,
    '--top-p', topP, '--seed', seed, ...more, file, prompt].map(String), { encoding: 'utf8' });
}

// complete ends its last line if the text does not.
const asLine = (text) => (text.endsWith('\n') ? text : `${text}\n`);

async function refused(what, promise, word) {
  const message = await promise.then(() => 'nothing was thrown', (error) => error.message);
  check(what, word.test(message), message);
}

const changed = (bytes, at) => {
  const copy = Uint8Array.from(bytes);
  copy[at] ^= 1;
  return copy;
};

// ---- the module, in node

const { Session, compile } = await import(pathToFileURL(resolve(web, 'rwkv.js')));
const wasm = readFileSync(join(web, 'rwkv.wasm'));
const module = await compile(wasm);

function written(session, length) {
  let text = '';
  for (let n = 0, more; n < length && (more = session.write()) !== null; n++) text += more;
  return text;
}

function tell(session, prompt, { length = 340, temperature = 0.6, topP = 0.9, seed = 95 } = {}) {
  session.set({ temperature, topP, seed: BigInt(seed) });
  session.begin(prompt);
  while (session.read(3) > 0) continue;
  return prompt + written(session, length);
}

const open = (bytes) => Session.open(module, new Blob([bytes]));

async function storiesAreTheSame() {
  const session = await open(model);
  const cases = [['Once upon a time', {}], ['Once upon a time', { temperature: 0, length: 60 }],
    ['There was once a king', { temperature: 1.2, topP: 0.7, seed: '18446744073709551615', length: 120 }],
    ['The fox said, “No”\n', { temperature: 2, topP: 1, seed: 7, length: 200 }], ['', { seed: 3, length: 50 }]];
  for (const [prompt, options] of cases) {
    same(`the story of "${prompt}"`, asLine(tell(session, prompt, options)), desktop(prompt, options));
  }
  const file = join(build, 'story-q8.rwkv');
  same('the story with 8 bits', asLine(tell(await open(readFileSync(file)), 'Once upon a time')),
    desktop('Once upon a time', { file }));
}

// The seed makes an end of text that comes early; --no-stop is the desktop's Continue.
async function goesOnAfterTheEnd() {
  const session = await open(model);
  const options = { seed: 6, length: 900 };
  let text = tell(session, 'Once upon a time', options);
  same('a whole text', asLine(text), desktop('Once upon a time', options));
  check('it ends before 800 tokens', desktop('Once upon a time', { ...options, length: 800 }) === asLine(text));
  text += written(session, 100);
  check('the next text begins', text.includes('\n\n') &&
    desktop('Once upon a time', { ...options, length: 3000, more: ['--no-stop'] }).startsWith(text));
}

async function goesOnWhereItWasSaved() {
  const whole = desktop('Once upon a time');
  const session = await open(model);
  const begun = tell(session, 'Once upon a time', { length: 100 });
  const file = session.save({ text: begun });
  same('it goes on after saving', asLine(begun + written(session, 240)), whole);
  const bytes = new Uint8Array(await file.arrayBuffer());
  for (const where of [session, await open(model)]) {
    const note = where.restore(bytes);
    where.set({ temperature: 0.6, topP: 0.9 });
    same('the note is kept', note.text, begun);
    same('it goes on after restoring', asLine(note.text + written(where, 240)), whole);
  }
  session.restore(bytes);
  const takes = async (part) => session.restore(await Session.saved(new Blob([part])));
  await refused('a state that is cut', takes(bytes.slice(0, 16000)), /no saved state, or a damaged one/);
  await refused('a corrupt state', takes(changed(bytes, 9000)), /damaged one/);
  await refused('a corrupt seed', takes(changed(bytes, session.info.saved + 2)), /damaged one/);
  await refused('a corrupt note', takes(changed(bytes, bytes.length - 9)), /damaged one/);
  await refused('a text instead of a state', takes('x'.repeat(20000)), /no saved state/);
  await refused('nothing', takes(''), /no saved state/);
  await refused('too much', Session.saved({ size: 1e8 }), /so large: 100 MB/);
  const other = await open(readFileSync(join(build, 'story-q8.rwkv')));
  tell(other, 'Once', { length: 1 });
  const ofOther = new Uint8Array(await other.save({}).arrayBuffer());
  await refused('a state of another model', takes(ofOther), /another model/);
  session.set({ temperature: 0.6, topP: 0.9 });
  same('what was refused has changed nothing', asLine(begun + written(session, 240)), whole);

  // Nor the prompt that is being read, a prompt that is refused, nor what comes after.
  const long = 'There was a dog who had a red ball and a big house. '.repeat(20);
  const expected = desktop(long, { length: 60 });
  session.set({ temperature: 0.6, topP: 0.9, seed: 95n });
  session.begin(long);
  session.read(16);
  await refused('a text that is not read', (async () => session.save({}))(), /not read yet/);
  await refused('a state of another model, while reading', takes(ofOther), /another model/);
  while (session.read(16) > 0) continue;
  same('it has read on', asLine(long + written(session, 60)), expected);
  session.begin(long);
  session.read(16);
  same('a prompt after one that was not read', asLine(tell(session, 'Once upon a time')), whole);
}

// A vocabulary of bytes has no token that begins a text, so an empty prompt is none.
async function nothingIsNoPrompt() {
  const session = await open(readFileSync('tests/fixtures/f16-bytes.rwkv'));
  const other = await open(readFileSync('tests/fixtures/f16-bytes.rwkv'));
  const options = { temperature: 1, topP: 1, seed: 1 };
  const whole = tell(session, 'ab', { ...options, length: 18 });
  const begun = tell(other, 'ab', { ...options, length: 9 });
  await refused('an empty prompt', (async () => other.begin(''))(), /nothing to go on from/);
  same('and the text goes on', begun + written(other, 9), whole);
}

// Half a character is part of the state.
async function savesBetweenTheBytesOfACharacter() {
  const bytes = readFileSync('tests/fixtures/f16-bytes.rwkv');
  const options = { temperature: 5, topP: 1, seed: 1 };
  let [here, there] = [await open(bytes), await open(bytes)];
  const whole = tell(there, 'ab', { ...options, length: 200 });
  let text = tell(here, 'ab', { ...options, length: 0 });
  for (let n = 0; n < 200; n++) {
    there.restore(await Session.saved(here.save({})));
    [here, there] = [there, here];
    text += written(here, 1);
  }
  check('there are characters of several bytes', /[^\0-\x7f]/.test(whole));
  same('saved after every token', text, whole);
}

async function badModelsAreRefused() {
  await refused('no file', open(new Uint8Array(0)), /./);
  await refused('a text', open(new TextEncoder().encode('hello '.repeat(100))), /not.*model|magic/i);
  await refused('a model that is cut', open(model.subarray(0, 1000000)), /ends at byte 1000000/);
  await refused('a weight that has changed', open(changed(model, 2000000)), /checksum/);
  await refused('no vocabulary', open(readFileSync('tests/fixtures/f32.rwkv')), /no vocabulary/);
  await refused('more than there is', Session.open(module, { size: 5e9 }), /no memory.*5000 MB/);
  await refused('what a browser without vectors says of it', compile(Uint8Array.of(0, 97, 115, 109)), /128 bits/);
  const session = await open(model);
  same('afterwards a model loads', session.info.layers, 5);
}

// The decays are those in the file: the 160 floats of each layer lie there, layer after layer.
async function decaysAreThoseOfTheFile() {
  const session = await open(model);
  const decay = session.decay();
  const floats = new Float32Array(Uint8Array.from(model).buffer, 0, model.length >> 2);
  let at = 32;
  for (let l = 0; l < 5; l++) {
    const of = decay.subarray(160 * l, 160 * l + 160);
    const lies = () => of.every((kept, i) => Math.abs(Math.exp(floats[at + i]) - kept) < 1e-4);
    while (at + 160 <= floats.length && !lies()) at++;
    check(`the decays of layer ${l} are in the file`, at + 160 <= floats.length);
    at += 160;
  }
  check('they are parts of a whole', decay.every((kept) => kept >= 0 && kept <= 1));
  check('nothing is in mind', session.memory().every((mean) => mean === 0));
  tell(session, 'Once', { length: 5 });
  check('something is in mind', session.memory().every((mean) => mean !== 0 && Math.abs(mean) < 100));
}

// ---- the page, in chromium

function command(...names) {
  for (const name of names) {
    try {
      return execFileSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).trim();
    } catch { /* the next */ }
  }
  return null;
}

const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.wasm': 'application/wasm' };

function serve(folder) {
  const server = createServer((request, answer) => {
    const name = request.url === '/' ? 'index.html' : request.url.slice(1);
    try {
      const bytes = readFileSync(join(folder, name));
      answer.writeHead(200, { 'Content-Type': TYPES[extname(name)] ?? 'application/octet-stream' }).end(bytes);
    } catch {
      answer.writeHead(404).end();
    }
  });
  return new Promise((done) => { server.listen(0, '127.0.0.1', () => done(server)); });
}

async function inBrowser(chromium, executablePath) {
  const server = await serve(web);
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
  const address = `http://127.0.0.1:${server.address().port}/`;
  const complaints = [];

  async function visit(options = {}, prepare = async () => {}) {
    const page = await browser.newPage({ viewport: { width: 1200, height: 900 }, ...options });
    page.setDefaultTimeout(120000);
    page.on('console', (message) => ['error', 'warning'].includes(message.type()) && complaints.push(message.text()));
    page.on('pageerror', (error) => complaints.push(error.message));
    await prepare(page);
    await page.goto(address);
    return page;
  }
  const message = (page) => page.locator('#message');
  const says = async (page, words) => {
    await page.waitForFunction((source) => new RegExp(source).test(document.getElementById('message').textContent),
      words.source).catch(() => {});
    const text = await message(page).textContent();
    check(`the page says ${words}`, words.test(text), `${text} (${new Error().stack.split("\n")[2].trim()})`);
  };
  const story = (page) => page.locator('#story').textContent();
  const shot = (page, name) => pictures && page.screenshot({ path: join(pictures, `${name}.png`) });
  const drop = (page, name, bytes) => page.evaluate(([fileName, base64]) => {
    const file = new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], fileName);
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(file);
    for (const kind of ['dragenter', 'drop']) {
      document.body.dispatchEvent(new DragEvent(kind, { dataTransfer, bubbles: true, cancelable: true }));
    }
  }, [name, Buffer.from(bytes).toString('base64')]);
  // Press `button` as soon as the page says `words`, which `begin` brings about.
  const pressWhen = (page, words, button, begin) => Promise.all([
    page.evaluate(([source, id]) => new Promise((done) => {
      const at = document.getElementById('message');
      const observer = new MutationObserver(() => {
        if (!new RegExp(source).test(at.textContent)) return;
        observer.disconnect();
        const can = ['write', 'restore', 'save', 'go-on'].filter((name) => !document.getElementById(name).disabled);
        document.getElementById(id).click();
        done(can.join(' '));
      });
      observer.observe(at, { childList: true });
    }), [words.source, button]), begin()]).then(([can]) => can);
  const pixels = (page, id) => page.locator(id).evaluate((canvas) => canvas.toDataURL());
  // Pixels of a colour that is no grey, but for a sixth of the width on the right, where the legend is.
  const coloured = (page, id) => page.locator(id).evaluate((canvas) => {
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width * 5 / 6, canvas.height);
    let n = 0;
    for (let i = 0; i < data.length; i += 4) {
      const rgb = data.subarray(i, i + 3);
      if (data[i + 3] > 200 && Math.max(...rgb) - Math.min(...rgb) > 50) n++;
    }
    return n;
  });
  // What does not fit into the page's width, or is cut off.
  const tooWide = (page) => page.evaluate(() => [...document.querySelectorAll('body *')]
    .filter((e) => e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.id || e.tagName).join(' '));

  // A story with what the page proposes is the desktop's; the pictures are drawn.
  const page = await visit();
  await says(page, /^Ready/);
  const described = await page.locator('#model').textContent();
  check('the model is described', /RWKV-4, 5 layers × 160, vocabulary 1024, f16, 4.0 MB.*simd128/.test(described));
  const empty = await pixels(page, '#state');
  await page.click('#write');
  await says(page, /ends here|writes more/);
  const whole = desktop('Once upon a time');
  same('the story is the desktop\'s', asLine(await story(page)), whole);
  check('tokens per second', /^\d+ tokens, [1-9]\d* tokens\/s$/.test(await page.locator('#speed').textContent()));
  check('the state is drawn', await pixels(page, '#state') !== empty);
  await shot(page, 'page');

  // Other settings, typed.
  await page.fill('#prompt', 'There was once a king');
  await page.fill('#seed', '7');
  await page.fill('#length', '80');
  await page.locator('#temperature').fill('1.1');
  await page.locator('#top-p').fill('0.75');
  await page.press('#prompt', 'Control+Enter');
  await says(page, /ends here|writes more/);
  same('the story with other settings', asLine(await story(page)),
    desktop('There was once a king', { seed: 7, length: 80, temperature: 1.1, topP: 0.75 }));
  same('the command for the same', await page.locator('#command').textContent(),
    '--temperature 1.1 --top-p 0.75 --length 80 --seed 7');
  for (const [id, bad] of [['#seed', 'x'], ['#seed', '18446744073709551616'], ['#length', '-1']]) {
    const before = await page.inputValue(id);
    await page.fill(id, bad);
    await page.click('#write');
    await says(page, /whole number/);
    await page.fill(id, before);
  }
  await page.click('#another');
  check('another seed', await page.inputValue('#seed') !== '7');

  // Stopped and continued, by the button and by a key, it is the same story.
  await page.reload();
  await says(page, /^Ready/);
  await page.click('#write');
  await page.waitForFunction(() => document.getElementById('written').textContent.length > 10);
  await page.keyboard.press('Escape');
  await says(page, /^Stopped/);
  const stopped = await story(page);
  check('a part of it', whole.startsWith(stopped) && stopped.length < whole.length);
  await page.fill('#length', '60');
  await page.click('#go-on');
  await says(page, /ends here|writes more/);
  check('a larger part', whole.startsWith(await story(page)) && (await story(page)).length > stopped.length);

  // Stopped and written anew at once: what comes late of the first is not taken for the second's.
  await page.fill('#length', '340');
  await page.evaluate(() => ['write', 'go-on', 'write'].forEach((id) => document.getElementById(id).click()));
  await page.waitForFunction(() => document.getElementById('written').textContent.length > 10);
  same('what it is doing can be stopped', await page.locator('#go-on').textContent(), 'Stop');
  await page.keyboard.press('Escape');
  await says(page, /^Stopped/);
  await page.click('#go-on');
  await says(page, /writes more|ends here/);
  check('it is the story', (await story(page)).startsWith(whole.trimEnd()));
  await page.click('#another');
  await page.fill('#length', '60');
  await page.click('#write');
  await says(page, /writes more|ends here/);
  await page.fill('#seed', '95');
  await page.click('#write');
  await says(page, /writes more|ends here/);
  await page.click('#another'); // which is not the seed of the text that is saved

  // Saved, the page closed, restored: the rest is the same.
  const saved = await story(page);
  const [download] = await Promise.all([page.waitForEvent('download'), page.click('#save')]);
  const path = join(work, 'story.state');
  await download.saveAs(path);
  await page.close();
  const next = await visit();
  await says(next, /^Ready/);
  await next.setInputFiles('#file', path);
  await says(next, /^Restored/);
  same('the text is restored', await story(next), saved);
  same('the settings are restored', `${await next.inputValue('#length')} ${await next.inputValue('#seed')}`, '60 95');
  await next.fill('#length', '400');
  await next.click('#go-on');
  await says(next, /ends here|writes more/);
  const later = await story(next);
  check('it goes on as it would have', later.startsWith(whole.slice(0, -1)) &&
    desktop('Once upon a time', { length: 900, more: ['--no-stop'] }).startsWith(later));

  // Restored, and a text begun at once: the last thing asked for is what is done.
  await next.fill('#length', '60');
  await pressWhen(next, /^Restoring/, 'write', () => drop(next, 'story.state', readFileSync(path)));
  await says(next, /writes more/);
  same('the text that was asked for last', asLine(await story(next)), desktop('Once upon a time', { length: 60 }));

  // Words that are dragged are not ours; one file at a time.
  same('words are left to the browser', await next.evaluate(() => {
    const dataTransfer = new DataTransfer();
    dataTransfer.setData('text/plain', 'word');
    const over = new DragEvent('dragover', { dataTransfer, bubbles: true, cancelable: true });
    return [document.getElementById('prompt').dispatchEvent(over), document.body.className].join();
  }), 'true,');
  await next.evaluate(() => {
    const dataTransfer = new DataTransfer();
    for (const name of ['a.rwkv', 'b.rwkv']) dataTransfer.items.add(new File(['x'], name));
    document.body.dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }));
  });
  await says(next, /One file at a time, please, not 2/);

  // Files that are nothing: said so, and what was there is still there.
  const before = await story(next);
  await drop(next, 'bad.rwkv', changed(model, 100));
  await says(next, /header/);
  await drop(next, 'cut.rwkv', model.subarray(0, 5000));
  await says(next, /ends at byte 5000/);
  await drop(next, 'flipped.rwkv', changed(model, 3000000));
  await says(next, /checksum/);
  await drop(next, 'cat.png', Buffer.from('\x89PNG\r\n\x1a\n'.repeat(99), 'latin1'));
  await says(next, /not|magic/);
  check('it is shown as an error', /bad/.test(await message(next).getAttribute('class')));
  await drop(next, 'bad.state', changed(readFileSync(path), 9000));
  await says(next, /no saved state, or a damaged one/);
  same('the text is still there', await story(next), before);
  await next.fill('#length', '10');
  await next.click('#go-on');
  await says(next, /ends here|writes more/);
  check('and goes on', (await story(next)).length > before.length);

  // Another model, dropped.
  const file = join(build, 'story-q8.rwkv');
  await drop(next, 'story-q8.rwkv', readFileSync(file));
  await next.waitForFunction(() => /q8/.test(document.getElementById('model').textContent));
  await next.fill('#length', '50');
  await next.click('#write');
  await says(next, /writes more/);
  same('the story of the other model', asLine(await story(next)), desktop('Once upon a time', { file, length: 50 }));
  await next.setInputFiles('#file', path);
  await says(next, /another model/);

  // While a model is opened, nothing but Cancel.
  const can = await pressWhen(next, /^Opening/, 'go-on', () => drop(next, 'story.rwkv', model));
  same('what can be done then', can, 'go-on');
  await says(next, /^Cancelled/);
  await next.click('#go-on');
  await says(next, /writes more|ends here/);
  check('it is the old model', /q8/.test(await next.locator('#model').textContent()));
  await drop(next, `${'long-'.repeat(40)}.rwkv`, model);
  await says(next, /^Ready/);
  same('a long name fits', await tooWide(next), '');
  await next.close();

  // Narrow, and dark.
  for (const [name, options] of [
    ['narrow', { viewport: { width: 360, height: 740 } }],
    ['dark', { colorScheme: 'dark' }],
    ['narrow-dark', { viewport: { width: 320, height: 640 }, colorScheme: 'dark', deviceScaleFactor: 2 }]]) {
    const small = await visit(options);
    await says(small, /^Ready/);
    await small.fill('#length', '60');
    await small.click('#write');
    await says(small, /writes more/);
    same(`${name}: nothing is too wide`, await tooWide(small), '');
    check(`${name}: the curves are drawn`, await coloured(small, '#decay') > 300);
    if (pictures) await small.screenshot({ path: join(pictures, `${name}.png`), fullPage: true });
    await small.close();
  }

  // On a phone the state and the text are in sight once it writes; labels do not overlap at any width.
  const phone = await visit({ viewport: { width: 390, height: 844 }, deviceScaleFactor: 3, hasTouch: true });
  await says(phone, /^Ready/);
  await phone.fill('#length', '120');
  await phone.tap('#write');
  await says(phone, /writes more/);
  const [state, text] = await phone.evaluate(() => ['state', 'story']
    .map((id) => document.getElementById(id).getBoundingClientRect()).map(({ top, bottom }) => ({ top, bottom })));
  check('the state is above the text, both in sight', state.top >= 0 && state.bottom <= text.top && text.top < 500,
    JSON.stringify([state, text]));
  if (pictures) await phone.screenshot({ path: join(pictures, 'phone.png') });
  await phone.locator('#temperature').fill('0.65');
  await phone.locator('#top-p').fill('0.95');
  for (let width = 320; width <= 1300; width += 35) {
    await phone.setViewportSize({ width, height: 800 });
    same(`at ${width} pixels labels stay in their place`, await phone.evaluate(() =>
      [...document.querySelectorAll('.settings > div')].filter((box) => {
        const label = document.createRange();
        label.selectNodeContents(box.querySelector('label'));
        return label.getBoundingClientRect().right > box.getBoundingClientRect().right + 0.5;
      }).map((box) => box.textContent).join()), '');
  }
  await phone.close();

  // A long beginning: the end of the text is what one sees.
  const long = await visit();
  await says(long, /^Ready/);
  await long.fill('#prompt', 'There was a dog who had a red ball and a big house. '.repeat(60));
  await long.fill('#length', '40');
  await long.click('#write');
  await says(long, /writes more/);
  check('the end is in sight', await long.locator('#story').evaluate((box) =>
    box.scrollHeight > box.clientHeight && box.scrollHeight - box.scrollTop - box.clientHeight < 2));
  await long.close();

  // Names and curves of layers can be told from the page: 4.5 is the contrast that WCAG asks for text.
  for (const colorScheme of ['light', 'dark']) {
    const coloursOf = await visit({ colorScheme });
    const least = await coloursOf.evaluate(() => {
      const context = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
      const luminance = (colour) => {
        context.fillStyle = colour;
        context.fillRect(0, 0, 1, 1);
        const [r, g, b] = [...context.getImageData(0, 0, 1, 1).data].slice(0, 3).map((x) => x / 255)
          .map((x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const page = luminance(styleOf('--card')) + 0.05;
      const contrasts = [...Array(12).keys()].map((l) => luminance(layerColour(l, 12)) + 0.05)
        .map((x) => Math.max(x, page) / Math.min(x, page));
      return Math.min(...contrasts);
    });
    check(`${colorScheme}: contrast of the layers`, least >= 4.5, least);
    await coloursOf.close();
  }

  // By keys alone: from the prompt to the button, with the focus kept.
  const keys = await visit();
  await says(keys, /^Ready/);
  await keys.focus('#length');
  await keys.keyboard.press('Enter');
  await says(keys, /ends here|writes more/);
  same('Enter in a field writes', asLine(await story(keys)), whole);
  for (const id of ['prompt', 'temperature', 'top-p', 'length', 'seed']) {
    check(`${id} has a label`, await keys.locator(`label[for=${id}]`).count() === 1);
  }
  await keys.close();
  same('no error and no warning in the console', complaints.join('\n'), '');

  // What is missing is said. The console has errors then.
  for (const [what, pattern, answer, words] of [
    ['a browser without vectors', '**/rwkv.wasm', { status: 200, body: Buffer.from('\0asm????') }, /128 bits/],
    ['no module', '**/rwkv.wasm', { status: 404 }, /rwkv.wasm cannot be fetched/],
    ['no model', '**/story.rwkv', { status: 404 }, /story.rwkv cannot be fetched/],
    ['no worker', '**/worker.js', { status: 404 }, /second thread/]]) {
    let times = 0;
    const lost = await visit({}, (p) => p.route(pattern, (route) => (times++ ? route.continue() : route.fulfill(answer))));
    await says(lost, words);
    if (/no mod/.test(what)) { // then one that is dropped works; so does the module, the second time
      await drop(lost, 'story.rwkv', model);
      await says(lost, /^Ready/);
    }
    await lost.close();
  }
  // What was overtaken does not complain.
  let refuse;
  const late = await visit({}, (p) => p.route('**/story.rwkv', (route) => { refuse = () => route.abort(); }));
  await says(late, /^Opening/);
  await drop(late, 'mine.rwkv', model);
  await says(late, /^Ready/);
  await refuse();
  await late.fill('#length', '60');
  await late.click('#write');
  await says(late, /writes more/);
  await late.close();
  const file_ = await browser.newPage();
  complaints.length = 0;
  file_.on('pageerror', (error) => complaints.push(error.message));
  await file_.goto(pathToFileURL(resolve(web, 'index.html')).href);
  await says(file_, /web server/);
  same('and nothing else', complaints.join('\n'), '');
  await browser.close();
  server.close();
}

try {
  check('the module has less than 100 KB', wasm.length < 100 * 1024, `${wasm.length} bytes`);
  same('it needs nothing from outside', JSON.stringify(WebAssembly.Module.imports(module)), '[]');
  await storiesAreTheSame();
  await goesOnAfterTheEnd();
  await goesOnWhereItWasSaved();
  await nothingIsNoPrompt();
  await savesBetweenTheBytesOfACharacter();
  await badModelsAreRefused();
  await decaysAreThoseOfTheFile();

  const chromium = command('chromium', 'chromium-browser', 'google-chrome');
  const load = createRequire(resolve(build, 'npm', 'package.json'));
  let playwright = null;
  try {
    playwright = load('playwright-core');
  } catch { /* it is not installed */ }
  if (!chromium || !playwright) {
    const missing = chromium ? `playwright-core in ${build}/npm, which npm fetches` : 'chromium';
    console.log(`skipped: the page in a browser (no ${missing})`);
  } else {
    await inBrowser(playwright.chromium, chromium);
  }
} catch (error) {
  check('the test itself', false, error.stack);
}
rmSync(work, { recursive: true });
console.log(`${count.passed} passed, ${count.failed} failed`);
process.exit(count.failed ? 1 : 0);

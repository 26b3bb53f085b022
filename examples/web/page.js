// page.js: what one sees and touches. The model runs in worker.js.
'use strict';

const $ = (id) => document.getElementById(id);
const worker = new Worker('worker.js', { type: 'module' });
const tell = (order, about) => worker.postMessage({ order, ...about });

let model = null; // what the worker told of it, with the order of its channels
let busy = false; // reading or writing
let begun = false; // there is a text to go on with
let drawing = false;

// ---- what is shown

function show(message, bad = false) {
  if ($('message').textContent !== message) $('message').textContent = message; // or it is read aloud again
  $('message').classList.toggle('bad', bad);
}

// Buttons by what can be done now. One that is in use stays enabled, so that it keeps the focus.
function update() {
  $('write').disabled = $('restore').disabled = !model;
  $('go-on').disabled = !model || (!busy && !begun);
  $('save').disabled = !model || busy || !begun;
  $('go-on').textContent = busy ? 'Stop' : 'Continue';
  $('story').setAttribute('aria-busy', busy);
  $('temperature-is').textContent = $('temperature').value;
  $('top-p-is').textContent = $('top-p').value;
  $('command').textContent = `--temperature ${$('temperature').value} --top-p ${$('top-p').value} `
    + `--length ${$('length').value} --seed ${$('seed').value}`;
}

function setBusy(now) {
  busy = now;
  update();
}

// Draw when the screen is next drawn, once.
function draw() {
  if (drawing || !model) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    drawState($('state'), model);
  });
}

function drawAll() {
  draw();
  if (model) drawDecay($('decay'), model);
}

function remember(memory) {
  model.memory = memory;
  draw();
}

function showText(prompt, text) {
  $('given').textContent = prompt;
  $('written').textContent = text;
}

// ---- what is asked for

// A whole number from a text field, or an error that names it.
function whole(id, what, most) {
  const text = $(id).value.trim();
  if (!/^\d{1,20}$/.test(text) || BigInt(text) > most) {
    $(id).focus();
    throw new Error(`${what}: a whole number from 0 to ${most}, please, not "${text}".`);
  }
  return BigInt(text);
}

const length = () => Number(whole('length', 'Tokens', 1000000n));
const seed = () => whole('seed', 'Seed', 2n ** 64n - 1n);
const settings = () => ({ temperature: Number($('temperature').value), topP: Number($('top-p').value) });

function write() {
  const prompt = $('prompt').value;
  tell('write', { prompt, settings: { ...settings(), seed: seed() }, length: length() });
  setBusy(true);
}

function stopOrGoOn() {
  if (busy) return tell('stop');
  tell('go_on', { settings: settings(), length: length() });
  show('Writing…');
  return setBusy(true);
}

function save() {
  const { temperature, topP } = settings();
  const note = { prompt: $('given').textContent, text: $('written').textContent, temperature, topP,
    seed: $('seed').value, length: $('length').value };
  tell('save', { note });
}

// A file that was dropped or chosen. A saved state begins as a model file does, but for one letter.
async function take(file) {
  const begin = new TextDecoder('latin1').decode(await file.slice(0, 8).arrayBuffer());
  const order = begin === 'RWKV\r\n\x1aS' ? 'restore' : 'open';
  if (order === 'restore' && !model) return;
  show(order === 'open' ? `Opening ${file.name}…` : 'Restoring…');
  tell(order, { file, name: file.name });
}

// Run what may throw; say what it threw.
const guarded = (action) => async (...args) => {
  try {
    await action(...args);
  } catch (error) {
    show(error.message, true);
  }
};

// ---- what the worker tells

const WHY = {
  end: 'The text ends here. Continue begins another.',
  length: 'Continue writes more.',
  stopped: 'Stopped.',
  reading: 'Stopped before the beginning was read. Continue goes on.',
};

const NEWS = {
  model({ name, info, decay, memory }) {
    const { layers, channels } = info;
    model = { ...info, decay, memory, order: sortedByDecay(decay, layers, channels) };
    $('model').textContent = `${name}: RWKV-${info.version}, ${layers} layers × ${info.width}, vocabulary `
      + `${info.vocabulary}, ${info.type}, ${(info.bytes / 1e6).toFixed(1)} MB; a state of `
      + `${(info.saved / 1e3).toFixed(0)} kB; ${info.isa} kernels`;
    showText('', '');
    begun = false;
    $('speed').textContent = 'No text yet.';
    show('Ready.');
    setBusy(false);
    $('open').disabled = false;
    drawAll();
  },
  begun({ prompt }) {
    showText(prompt, '');
    begun = true;
    show('Reading…');
  },
  reading({ left, memory }) {
    if (left) show(`Reading… ${left} tokens to go.`);
    remember(memory);
  },
  text({ text, count, time, memory }) {
    $('written').append(text);
    $('speed').textContent = `${count} tokens, ${(1000 * count / time || 0).toFixed(0)} tokens/s`;
    show('Writing…');
    remember(memory);
  },
  paused({ why }) {
    $('written').normalize();
    show(WHY[why]);
    setBusy(false);
  },
  saved({ file }) {
    const link = document.createElement('a');
    link.href = URL.createObjectURL(file);
    link.download = 'story.state';
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    show(`Saved: ${(file.size / 1e3).toFixed(1)} kB, the whole memory of the text.`);
  },
  restored({ note, memory }) {
    showText(String(note.prompt ?? '…'), String(note.text ?? ''));
    for (const [id, value] of [['prompt', note.prompt], ['temperature', note.temperature], ['top-p', note.topP],
      ['seed', note.seed], ['length', note.length]]) {
      if (value !== undefined) $(id).value = value;
    }
    $('speed').textContent = 'Restored';
    begun = true;
    remember(memory);
    show('Restored. Continue goes on where the text stopped.');
    setBusy(false);
  },
  error({ order, message }) {
    show(message, true);
    $('open').disabled = false;
    if (order !== 'save') setBusy(false);
  },
};

worker.addEventListener('message', ({ data }) => NEWS[data.kind](data));
worker.addEventListener('error', (event) => {
  event.preventDefault();
  show('The page cannot run its second thread: it needs a web server and a browser of 2023 or later.', true);
});

// ---- what is touched

$('form').addEventListener('submit', (event) => {
  event.preventDefault();
  guarded(write)();
});
$('form').addEventListener('input', update);
$('go-on').addEventListener('click', guarded(stopOrGoOn));
$('save').addEventListener('click', guarded(save));
$('restore').addEventListener('click', () => $('file').click());
$('open').addEventListener('click', () => $('file').click());
$('file').addEventListener('change', guarded(async () => {
  const [file] = $('file').files;
  if (file) await take(file);
  $('file').value = '';
}));
$('another').addEventListener('click', () => {
  $('seed').value = crypto.getRandomValues(new Uint32Array(1))[0];
  update();
});
$('prompt').addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) $('form').requestSubmit($('write'));
});
addEventListener('keydown', (event) => {
  if (event.key === 'Escape' && busy) tell('stop');
});

for (const kind of ['dragenter', 'dragover']) {
  addEventListener(kind, (event) => {
    event.preventDefault();
    document.body.classList.add('drop');
  });
}
addEventListener('dragleave', (event) => {
  if (!event.relatedTarget) document.body.classList.remove('drop');
});
addEventListener('drop', guarded(async (event) => {
  event.preventDefault();
  document.body.classList.remove('drop');
  const [file] = event.dataTransfer.files;
  if (file) await take(file);
}));

new ResizeObserver(drawAll).observe($('decay'));
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawAll);
update();
tell('open', { name: 'story.rwkv' });

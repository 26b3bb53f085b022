// page.js: what one sees and touches. The model runs in worker.js.
'use strict';

const $ = (id) => document.getElementById(id);

let worker = null;
let job = 0; // the number of the last job that the worker was given
let doing = null; // 'opening', 'restoring', 'writing' (reading too), or nothing
let model = null; // what the worker told of it, with the order of its channels
let asked = null; // the settings of the last text that was asked for
let begun = null; // those of the text that there is to go on with
let drawing = false;

// ---- what is shown

// What is bad stays until something is asked for.
function show(message, bad = false) {
  if ($('message').textContent !== message) $('message').textContent = message; // or it is read aloud again
  $('message').classList.toggle('bad', bad);
}

const showMeanwhile = (message) => $('message').classList.contains('bad') || show(message);

// Buttons by what can be done now. One that is in use stays enabled, so that it keeps the focus.
function update() {
  $('write').disabled = $('restore').disabled = !model || doing === 'opening';
  $('go-on').disabled = !model || !(doing || begun);
  $('save').disabled = !model || doing || !begun;
  $('go-on').textContent = { opening: 'Cancel', writing: 'Stop' }[doing] ?? 'Continue';
  $('story').setAttribute('aria-busy', doing === 'writing');
  $('temperature-is').textContent = $('temperature').value;
  $('top-p-is').textContent = $('top-p').value;
  $('command').textContent = `--temperature ${$('temperature').value} --top-p ${$('top-p').value} `
    + `--length ${$('length').value} --seed ${$('seed').value}`;
}

function setDoing(what) {
  doing = what;
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

// Change the text, and stay at its end if that was in sight.
function changeText(change) {
  const box = $('story');
  const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
  change();
  if (atEnd) box.scrollTop = box.scrollHeight;
}

function showText(prompt, text) {
  changeText(() => {
    $('given').textContent = prompt;
    $('written').textContent = text;
  });
}

// ---- what is asked for

// Give the worker a job. It ends the one before, of which nothing more is heard.
function ask(order, what, about) {
  worker.postMessage({ order, job: ++job, ...about });
  setDoing(what);
}

// A whole number from a text field, or an error that names it.
function whole(id, what, most) {
  const text = $(id).value.trim();
  const good = /^\d{1,20}$/.test(text) && BigInt(text) <= most;
  $(id).setAttribute('aria-invalid', !good);
  if (!good) {
    $(id).focus();
    throw new Error(`${what}: a whole number from 0 to ${most}, please, not "${text}".`);
  }
  return BigInt(text);
}

const length = () => Number(whole('length', 'Tokens', 1000000n));
const settings = () => ({ temperature: Number($('temperature').value), topP: Number($('top-p').value) });

function write() {
  const prompt = $('prompt').value;
  const seed = whole('seed', 'Seed', 2n ** 64n - 1n);
  asked = { ...settings(), seed: String(seed), length: length() };
  ask('write', 'writing', { prompt, settings: { ...asked, seed }, length: asked.length });
  show('Reading…');
  if (matchMedia('(max-width: 56rem)').matches) $('mind').scrollIntoView({ block: 'start' });
}

function stop() {
  if (doing) worker.postMessage({ order: 'stop', job });
}

function stopOrGoOn() {
  if (doing) return stop();
  begun = { ...begun, ...settings(), length: length() };
  ask('go_on', 'writing', { settings: settings(), length: begun.length });
  return show('Writing…');
}

function save() {
  const note = { prompt: $('given').textContent, text: $('written').textContent, ...begun };
  worker.postMessage({ order: 'save', note });
}

// A file that was dropped or chosen. A saved state begins as a model file does, but for one letter.
async function take(file) {
  if (!worker) return; // why is said
  const begin = new TextDecoder('latin1').decode(await file.slice(0, 8).arrayBuffer());
  if (begin !== 'RWKV\r\n\x1aS') {
    ask('open', 'opening', { file, name: file.name });
    show(`Opening ${file.name}…`);
  } else if (!model || doing === 'opening') {
    throw new Error(`${file.name} is a saved state: open its model first.`);
  } else {
    ask('restore', 'restoring', { file, name: file.name });
    show('Restoring…');
  }
}

async function takeDropped(transfer) {
  if (transfer.files.length > 1) throw new Error(`One file at a time, please, not ${transfer.files.length}.`);
  if (transfer.items[0]?.webkitGetAsEntry?.()?.isDirectory) throw new Error('That is a folder: drop a file.');
  if (transfer.files.length === 1) await take(transfer.files[0]);
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

const megabytes = (bytes) => (bytes / 1e6).toFixed(1);

const NEWS = {
  opening({ name, have, size }) {
    show(`Opening ${name}…`);
    $('speed').textContent = size ? `${megabytes(have)} of ${megabytes(size)} MB` : `${megabytes(have)} MB`;
  },
  model({ name, info, decay, memory }) {
    const { layers, channels } = info;
    model = { ...info, decay, memory, order: sortedByDecay(decay, layers, channels) };
    $('model').textContent = `${name}: RWKV-${info.version}, ${layers} layers × ${info.width}, vocabulary `
      + `${info.vocabulary}, ${info.type}, ${megabytes(info.bytes)} MB; a state of `
      + `${(info.saved / 1e3).toFixed(0)} kB; ${info.isa} kernels`;
    showText('', '');
    begun = null;
    $('speed').textContent = 'No text yet.';
    show('Ready.');
    setDoing(null);
    drawAll();
  },
  begun({ prompt }) {
    showText(prompt, '');
    begun = asked;
  },
  reading({ left, memory }) {
    $('speed').textContent = left ? `${left} tokens to read` : 'All is read';
    remember(memory);
  },
  text({ text, count, time, memory }) {
    changeText(() => $('written').append(text));
    $('speed').textContent = `${count} tokens, ${(1000 * count / time || 0).toFixed(0)} tokens/s`;
    showMeanwhile('Writing…');
    remember(memory);
  },
  paused({ why }) {
    $('written').normalize();
    if (doing === 'writing') {
      show(WHY[why]);
    } else {
      show('Cancelled.');
      $('speed').textContent = '';
    }
    setDoing(null);
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
    const word = (name) => (['string', 'number'].includes(typeof note[name]) ? String(note[name]) : '');
    const fields = { prompt: 'prompt', temperature: 'temperature', topP: 'top-p', seed: 'seed', length: 'length' };
    showText(word('prompt'), word('text'));
    for (const [name, id] of Object.entries(fields)) {
      if (word(name)) $(id).value = word(name);
    }
    begun = { ...settings(), seed: $('seed').value, length: $('length').value };
    $('speed').textContent = 'Restored';
    remember(memory);
    show('Restored. Continue goes on where the text stopped.');
    setDoing(null);
  },
  error({ order, message }) {
    if (order !== 'save') setDoing(null);
    show(message, true);
  },
};

// What a job tells that is not the last one comes too late.
function hear({ data }) {
  if (data.job === undefined || data.job === job) guarded(NEWS[data.kind])(data);
}

// ---- what is touched

$('form').addEventListener('submit', (event) => {
  event.preventDefault();
  guarded(write)();
});
$('form').addEventListener('input', ({ target }) => {
  target.removeAttribute('aria-invalid');
  update();
});
$('go-on').addEventListener('click', guarded(stopOrGoOn));
$('save').addEventListener('click', guarded(save));
for (const [id, kind] of [['restore', '.state'], ['open', '.rwkv']]) {
  $(id).addEventListener('click', () => {
    $('file').accept = kind;
    $('file').click();
  });
}
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
  if (event.key === 'Escape') stop();
});

// Files alone: words that are dragged are the browser's to move.
const hasFiles = (event) => event.dataTransfer?.types.includes('Files');
for (const kind of ['dragenter', 'dragover']) {
  addEventListener(kind, (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    document.body.classList.add('drop');
  });
}
addEventListener('dragleave', (event) => {
  if (!event.relatedTarget) document.body.classList.remove('drop');
});
addEventListener('drop', guarded(async (event) => {
  document.body.classList.remove('drop');
  if (!hasFiles(event)) return;
  event.preventDefault();
  await takeDropped(event.dataTransfer);
}));

new ResizeObserver(drawAll).observe($('decay'));
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawAll);

// ---- the beginning

update();
if (location.protocol === 'file:') {
  show('The page needs a web server: python3 -m http.server -d build/web, then http://localhost:8000.', true);
} else {
  worker = new Worker('worker.js', { type: 'module' });
  worker.addEventListener('message', hear);
  worker.addEventListener('error', (event) => {
    event.preventDefault();
    show('The page cannot run its second thread: it needs worker.js and rwkv.js beside it, and a browser of '
      + '2023 or later.', true);
  });
  $('open').disabled = false;
  ask('open', 'opening', { name: 'story.rwkv' });
  show('Opening story.rwkv…');
}

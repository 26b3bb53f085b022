// worker.js: the page's second thread, where the model runs, so that the page never waits for it.
// What it is told: open, write, go_on, restore, each a job with a number, which ends the job before;
// stop; save. What it tells: opening, model, begun, reading, text, paused, saved, restored, error,
// each with the number of its job, by which the page knows what comes too late.
import { Session, compile } from './rwkv.js';

const SLICE = 40; // milliseconds from one look at the mail to the next
const FEW = 16; // tokens of a prompt that are read at a time, or fewer, if that takes longer

let module; // a promise
let session;
let job = 0; // the number of what is going on; 0: nothing

// Let what was said to this thread be heard: like setTimeout, without its 4 milliseconds.
const bell = new MessageChannel();
const pause = () => new Promise((resolve) => {
  bell.port1.onmessage = resolve;
  bell.port2.postMessage(null);
});

// The file of this name. `report` is told how many bytes have come, and how many there are, if known.
async function fetched(name, report = () => {}) {
  try {
    const answer = await fetch(name);
    if (!answer.ok) throw new Error();
    const size = Number(answer.headers.get('Content-Length'));
    const parts = [];
    let have = 0;
    for (const reader = answer.body.getReader(); ;) {
      const { done, value } = await reader.read();
      if (done) return new Blob(parts);
      parts.push(value);
      have += value.length;
      report(have, size);
    }
  } catch {
    throw new Error(`${name} cannot be fetched; is it beside the page, on a web server?`);
  }
}

function compiled() {
  module ??= fetched('rwkv.wasm').then((wasm) => wasm.arrayBuffer()).then(compile).catch((error) => {
    module = undefined; // the next may have it
    throw error;
  });
  return module;
}

// Read what there is to read, then write up to `length` tokens.
async function run(isOver, say, length) {
  let few = FEW;
  let time = 0;
  let count = 0;
  let ended = false;
  while (session.unread > 0) {
    const began = performance.now();
    for (let at = began; session.unread > 0 && at - began < SLICE;) {
      session.read(few);
      const now = performance.now();
      few = Math.max(1, Math.min(FEW, Math.round(few * SLICE / (now - at))));
      at = now;
    }
    say('reading', { left: session.unread, memory: session.memory() });
    await pause();
    if (isOver()) return;
  }
  while (count < length && !ended) {
    const began = performance.now();
    let text = '';
    while (count < length && !ended && performance.now() - began < SLICE) {
      const more = session.write();
      ended = more === null;
      if (!ended) count++;
      text += more ?? '';
    }
    time += performance.now() - began;
    say('text', { text, count, time, memory: session.memory() });
    await pause();
    if (isOver()) return;
  }
  say('paused', { why: ended ? 'end' : 'length' });
}

// Whatever waits must then ask whether it is over.
const JOBS = {
  async open(isOver, say, { file, name }) {
    const report = (have, size) => isOver() || say('opening', { name, have, size });
    const opened = await Session.open(await compiled(), file ?? await fetched(name, report),
      (have) => file && report(have, file.size));
    if (isOver()) return;
    session = opened;
    say('model', { name, info: session.info, decay: session.decay(), memory: session.memory() });
  },
  async write(isOver, say, { prompt, settings, length }) {
    session.begin(prompt);
    session.set(settings);
    say('begun', { prompt });
    await run(isOver, say, length);
  },
  async go_on(isOver, say, { settings, length }) {
    session.set(settings);
    await run(isOver, say, length);
  },
  async restore(isOver, say, { file }) {
    const bytes = await Session.saved(file);
    if (isOver()) return;
    say('restored', { note: session.restore(bytes), memory: session.memory() });
  },
};

addEventListener('message', async ({ data }) => {
  const say = (kind, about) => postMessage({ kind, job: data.job, ...about });
  const isOver = () => job !== data.job;
  try {
    if (data.order === 'save') {
      say('saved', { file: session.save(data.note) });
    } else if (data.order === 'stop') {
      if (isOver()) return;
      job = 0;
      say('paused', { why: session?.unread ? 'reading' : 'stopped' });
    } else {
      job = data.job;
      await JOBS[data.order](isOver, say, data);
    }
  } catch (error) {
    if (data.order === 'save' || !isOver()) say('error', { order: data.order, message: error.message });
  }
});

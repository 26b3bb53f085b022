// worker.js: the page's second thread, where the model runs, so that the page never waits for it.
// What it is told: open, write, go_on, stop, save, restore. What it tells: model, begun, reading,
// text, paused, saved, restored, error, each with a few words about it.
import { Session, compile } from './rwkv.js';

const SLICE = 40; // milliseconds from one look at the mail to the next
const FEW = 16; // tokens of a prompt that are read at a time

let module; // a promise
let session;
let job = 0; // what is going on; a larger number ends it

const say = (kind, about) => postMessage({ kind, ...about });

// Let what was said to this thread be heard: like setTimeout, without its 4 milliseconds.
const bell = new MessageChannel();
const pause = () => new Promise((resolve) => {
  bell.port1.onmessage = resolve;
  bell.port2.postMessage(null);
});

async function fetched(url) {
  const answer = await fetch(url).catch(() => null);
  if (!answer?.ok) throw new Error(`${url} cannot be fetched; is it beside the page, on a web server?`);
  return answer.blob();
}

// Read what there is to read, then write up to `length` tokens.
async function run(mine, length) {
  let time = 0;
  let count = 0;
  let ended = false;
  while (session.unread > 0) {
    const began = performance.now();
    while (session.unread > 0 && performance.now() - began < SLICE) session.read(FEW);
    say('reading', { left: session.unread, memory: session.memory() });
    await pause();
    if (job !== mine) return;
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
    if (job !== mine) return;
  }
  say('paused', { why: ended ? 'end' : 'length' });
}

const ORDERS = {
  async open(mine, { file, name }) {
    module ??= fetched('rwkv.wasm').then((wasm) => wasm.arrayBuffer()).then(compile);
    const opened = await Session.open(await module, file ?? await fetched(name));
    if (job !== mine) return;
    session = opened;
    say('model', { name, info: session.info, decay: session.decay(), memory: session.memory() });
  },
  async write(mine, { prompt, settings, length }) {
    session.set(settings);
    session.begin(prompt);
    say('begun', { prompt });
    await run(mine, length);
  },
  async go_on(mine, { settings, length }) {
    session.set(settings);
    await run(mine, length);
  },
  stop() {
    say('paused', { why: session.unread ? 'reading' : 'stopped' });
  },
  save(mine, { note }) {
    say('saved', { file: session.save(note) });
  },
  async restore(mine, { file }) {
    say('restored', { note: await session.restore(file), memory: session.memory() });
  },
};

addEventListener('message', async ({ data }) => {
  const mine = ++job;
  try {
    await ORDERS[data.order](mine, data);
  } catch (error) {
    say('error', { order: data.order, message: error.message });
  }
});

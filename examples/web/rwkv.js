// rwkv.js: rwkv.wasm for JavaScript: a model with one state and one sampler.
//
//     const session = await Session.open(module, file);
//     session.set({ temperature: 0.6, topP: 0.9, seed: 95n });
//     session.begin('Once upon a time');
//     while (session.read(64) > 0) continue;
//     for (let text; (text = session.write()) !== null;) show(text);
//
// What fails throws an Error whose message is for whoever reads the page.

export const TYPES = ['', 'f32', 'f16', 'bf16', 'q8', 'q4'];
const NO_TOKENIZER = 0;
const MEMORY = 2, MISMATCH = 6; // of rwkv_result
const ATT_A = 1, ATT_B = 2; // of rwkv_part
const MOST = 2 ** 32 - 2 ** 20; // bytes that a module can have
const PIECE = 2 ** 24; // bytes of a file that are read at a time
const MOST_SAVED = 2 ** 26; // bytes of a saved state, with its text

export const megabytes = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;

// The module, from the bytes of rwkv.wasm.
export async function compile(bytes) {
  if (typeof WebAssembly !== 'object' || !WebAssembly.validate(bytes)) {
    throw new Error('This browser cannot run the page: it needs WebAssembly with vectors of 128 bits '
      + '(Chrome and Edge from 91 on, Firefox from 114, Safari from 16.4).');
  }
  return WebAssembly.compile(bytes);
}

// CRC-32 of bytes, as in zip and PNG.
function crc32(bytes) {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let i = 0; i < 8; i++) crc = (crc >>> 1) ^ (0xEDB88320 & -(crc & 1));
  }
  return ~crc >>> 0;
}

// The object that these bytes are as JSON; an empty one if they are none.
function noteIn(bytes) {
  try {
    return Object(JSON.parse(new TextDecoder().decode(bytes)));
  } catch {
    return {};
  }
}

export class Session {
  // A session with the model in `file`, a File or another Blob. `report` is told how many of its
  // bytes have been read, now and then.
  static async open(module, file, report = () => {}) {
    const session = new Session(await WebAssembly.instantiate(module));
    const at = session.#room(file.size, 'the model');
    for (let i = 0; i < file.size; i += PIECE) {
      report(i);
      session.#put(at + i, new Uint8Array(await file.slice(i, i + PIECE).arrayBuffer()));
    }
    session.#load(at, file.size);
    return session;
  }

  #wasm;
  #ended = false;

  constructor(instance) {
    this.#wasm = instance.exports;
  }

  // ---- memory: its buffer is another one whenever it has grown

  #bytes(at, length) {
    return new Uint8Array(this.#wasm.memory.buffer, at >>> 0, length);
  }

  #floats(at, length) {
    return new Float32Array(this.#wasm.memory.buffer, at >>> 0, length);
  }

  #room(size, what) {
    const at = size <= MOST ? this.#wasm.room(size) >>> 0 : 0;
    if (!at) throw new Error(`There is no memory for ${what}: ${megabytes(size)}; a page has at most 4 GB.`);
    return at;
  }

  #put(at, bytes) {
    this.#bytes(at, bytes.length).set(bytes);
  }

  #text(at, length) {
    return new TextDecoder('utf-8', { ignoreBOM: true }).decode(this.#bytes(at, length));
  }

  #string(at) {
    let length = 0;
    while (this.#bytes(at + length, 1)[0]) length++;
    return this.#text(at, length);
  }

  #why(result) {
    return this.#string(this.#wasm.result_string(result));
  }

  // ---- the model

  #load(at, size) {
    const result = this.#wasm.load(at, size);
    if (result === MEMORY) throw new Error(`There is no memory for the model: ${megabytes(size)} and a state.`);
    if (result) throw new Error(this.#string(this.#wasm.message()) || this.#why(result));
    const [version, vocabulary, width, channels, , layers, type, bytes, , saved, isa, tokenizer] =
      new Uint32Array(this.#wasm.memory.buffer, this.#wasm.info(), 12);
    if (tokenizer === NO_TOKENIZER) {
      throw new Error('The model has no vocabulary (tools/convert_pth.py --vocab puts one in).');
    }
    this.info = { version, vocabulary, width, channels, layers, type: TYPES[type], bytes, saved,
      isa: this.#string(isa) };
  }

  // (layers, channels): the part of its memory that each channel keeps from token to token.
  decay() {
    const { layers, channels } = this.info;
    return this.#floats(this.#wasm.decay(), layers * channels).map(Math.exp);
  }

  // (layers, channels): the weighted mean of the values so far, a / b.
  memory() {
    const { layers, channels } = this.info;
    const means = new Float32Array(layers * channels);
    for (let l = 0; l < layers; l++) {
      const a = this.#floats(this.#wasm.view(ATT_A, l), channels);
      const b = this.#floats(this.#wasm.view(ATT_B, l), channels);
      for (let i = 0; i < channels; i++) means[l * channels + i] = b[i] ? a[i] / b[i] : 0;
    }
    return means;
  }

  // ---- writing

  set({ temperature, topP, seed }) {
    this.#wasm.set_sampler(temperature, topP);
    if (seed !== undefined) this.#wasm.set_seed(seed);
  }

  // Begin a text with a prompt, which is then to be read. Returns how many tokens it has.
  begin(prompt) {
    const bytes = new TextEncoder().encode(prompt);
    const at = this.#room(bytes.length, 'the prompt');
    this.#put(at, bytes);
    const n = this.#wasm.begin(at, bytes.length);
    if (n < 0) throw new Error(`The model cannot read this text: ${this.#why(-n)}.`);
    if (n === 0) throw new Error('There is nothing to go on from: write a few words.');
    this.#ended = false;
    this.unread = n;
    return n;
  }

  // Tokens of the prompt that are not read yet.
  unread = 0;

  read(most) {
    const left = this.#wasm.read_prompt(most);
    if (left < 0) throw new Error(`The model cannot read on: ${this.#why(-left)}.`);
    this.unread = left;
    return left;
  }

  // The text of one more token, perhaps none yet; null at the end. After that, the next text begins.
  write() {
    if (this.#ended) {
      this.#ended = false;
      this.#wasm.pass_end();
      return '\n\n';
    }
    const length = this.#wasm.write_token();
    this.#ended = length < 0;
    return this.#ended ? null : this.#text(this.#wasm.written(), length);
  }

  // ---- the state: what the library saves, the sampler's seed and half a character, a note of the
  // page's as JSON, and the CRC-32 of all that

  save(note) {
    if (this.unread) throw new Error('The beginning is not read yet: Continue first.');
    const size = this.#wasm.save_size();
    const at = this.#room(size, 'the state');
    this.#wasm.save(at);
    const json = new TextEncoder().encode(JSON.stringify({ ...note, ended: this.#ended }));
    const bytes = new Uint8Array(size + json.length + 4);
    bytes.set(this.#bytes(at, size));
    bytes.set(json, size);
    new DataView(bytes.buffer).setUint32(size + json.length, crc32(bytes.subarray(0, -4)), true);
    return new Blob([bytes]);
  }

  // The bytes of a file that save may have made.
  static async saved(file) {
    if (file.size > MOST_SAVED) throw new Error(`No saved state is so large: ${megabytes(file.size)}.`);
    return new Uint8Array(await file.arrayBuffer());
  }

  // Take up what save made. Returns the note. If it throws, nothing has changed.
  restore(bytes) {
    const size = this.#wasm.save_size();
    const end = bytes.length - 4;
    if (end < 0 || new DataView(bytes.buffer).getUint32(end, true) !== crc32(bytes.subarray(0, end))) {
      throw new Error('This is no saved state, or a damaged one: its checksum is not that of its bytes.');
    }
    const note = noteIn(bytes.subarray(size, Math.max(size, end)));
    const at = this.#room(size, 'the state');
    this.#put(at, bytes.subarray(0, Math.min(size, end)));
    const result = size <= end ? this.#wasm.restore(at) : MISMATCH;
    if (result === MISMATCH) throw new Error('This is a state of another model: open that model first.');
    if (result) throw new Error(`This is no saved state: ${this.#why(result)}.`);
    this.#ended = note.ended === true;
    this.unread = 0;
    return note;
  }
}

// oracle.mjs: the published tokenizers as filters, in the protocol of encode.c.
//
//     node tests/oracle.mjs FOLDER rust|js|nfc TOKENIZER.json < RECORDS
//
// FOLDER has node_modules. rust: npm's `tokenizers`. js: @huggingface/transformers.
// nfc: not tokens, but the text after the Rust library's normalizer (i32 length, bytes).
import { createRequire } from 'module';
import { readFileSync, writeSync } from 'fs';
import { resolve } from 'path';

const [folder, kind, path] = process.argv.slice(2);
const load = createRequire(resolve(folder, 'package.json'));

async function encoder() {
  if (kind === 'js') {
    const { PreTrainedTokenizer } = load('@huggingface/transformers');
    const tokenizer = new PreTrainedTokenizer(JSON.parse(readFileSync(path, 'utf8')),
      { tokenizer_class: 'GPTNeoXTokenizer' });
    return async texts => texts.map(text =>
      Array.from(tokenizer.encode(text, { add_special_tokens: false }), Number));
  }
  const tokenizer = load('tokenizers').Tokenizer.fromFile(path);
  return async texts => (await tokenizer.encodeBatch(texts, { addSpecialTokens: false }))
    .map(encoding => encoding.getIds());
}

function write(buffer) {
  for (let at = 0; at < buffer.length;) {
    try {
      at += writeSync(1, buffer, at);
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;              // a pipe that is full for now
    }
  }
}

function* batches(input) {
  for (let at = 0; at < input.length;) {
    const texts = [];
    for (let n = 0; n < 4096 && at < input.length; n++) {
      const end = at + 4 + input.readUInt32LE(at);
      texts.push(input.toString('utf8', at + 4, end));
      at = end;
    }
    yield texts;
  }
}

const normalizer = kind === 'nfc' ? load('tokenizers').nfcNormalizer() : null;
const encode = normalizer ? null : await encoder();
for (const texts of batches(readFileSync(0))) {
  if (normalizer) {
    for (const text of texts) {
      const bytes = Buffer.from(normalizer.normalizeString(text));
      const length = Buffer.alloc(4);
      length.writeInt32LE(bytes.length);
      write(Buffer.concat([length, bytes]));
    }
  } else {
    const rows = await encode(texts);
    write(Buffer.from(Int32Array.from(rows.flatMap(ids => [ids.length, ...ids])).buffer));
  }
}

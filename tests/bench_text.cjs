// The speed of the npm package `tokenizers` (Hugging Face's Rust library), in MB/s:
//     node bench_text.cjs PACKAGE TOKENIZER.json TEXT
// Best of two, so that starting up and compiling do not count against it.
const fs = require('fs');
const path = require('path');
const [folder, json, file] = process.argv.slice(2);
const { Tokenizer } = require(path.resolve(folder));

async function main() {
    const tokenizer = await Tokenizer.fromFile(json);
    const text = fs.readFileSync(file, 'utf8');
    let best = Infinity;
    for (let i = 0; i < 2; i++) {
        const start = process.hrtime.bigint();
        await tokenizer.encode(text);
        best = Math.min(best, Number(process.hrtime.bigint() - start) / 1e9);
    }
    console.log(fs.statSync(file).size / 1e6 / best);
}

main();

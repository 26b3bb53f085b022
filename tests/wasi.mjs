// wasi.mjs: run a program for wasm32-wasi under node, in this folder, with the arguments that follow it.
import { readFileSync } from 'node:fs';
import { WASI } from 'node:wasi';

const args = process.argv.slice(2);
const wasi = new WASI({
  version: 'preview1', args, env: process.env, preopens: { '.': '.' }, returnOnExit: true,
});
const module = new WebAssembly.Module(readFileSync(args[0]));
const instance = new WebAssembly.Instance(module, { wasi_snapshot_preview1: wasi.wasiImport });
process.exitCode = wasi.start(instance);

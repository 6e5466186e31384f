// Makes a component of plugin.js: node build.mjs plugin.js WIT-FOLDER OUT.wasm
//
// All of WASI is left out, so the component imports what the contract has and nothing else.
import { componentize } from '@bytecodealliance/componentize-js';
import { writeFile } from 'node:fs/promises';

const [source, wit, out] = process.argv.slice(2);
const { component } = await componentize({
  sourcePath: source,
  witPath: wit,
  worldName: 'connector',
  disableFeatures: ['stdio', 'random', 'clocks', 'http', 'fetch-event'],
});
await writeFile(out, component);

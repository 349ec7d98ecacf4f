// node build.mjs WIT OUT: makes a component of plugin.js, by the contract in the folder WIT.
import { componentize } from '@bytecodealliance/componentize-js';
import { readFile, writeFile } from 'node:fs/promises';

const [witPath, out] = process.argv.slice(2);
const source = await readFile(new URL('plugin.js', import.meta.url), 'utf8');
const { component } = await componentize(source, {
  witPath,
  worldName: 'tool-plugin',
  // The engine's own `fetch` is left out: this plugin sends nothing.
  disableFeatures: ['http', 'fetch-event'],
});
await writeFile(out, component);

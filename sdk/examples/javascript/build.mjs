// node build.mjs OUT.wasm
import { componentize } from '@bytecodealliance/componentize-js';
import { readFile, writeFile } from 'node:fs/promises';

const here = (path) => new URL(path, import.meta.url);
const { component } = await componentize(await readFile(here('plugin.js'), 'utf8'), {
  witPath: here('../../wit/since-0.1.0').pathname,
  worldName: 'tool-plugin',
  disableFeatures: ['http', 'fetch-event'],
});
await writeFile(process.argv[2], component);

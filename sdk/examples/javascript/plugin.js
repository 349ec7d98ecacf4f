// A plugin with one tool, in JavaScript. The names are those of sdk/wit in JavaScript's manner: `list-tools` is `listTools`.
import { log } from 'llmring:plugin/log@0.1.0';

const inputSchema = {
  type: 'object',
  properties: { name: { type: 'string', description: 'Who to greet.' } },
  required: ['name'],
  additionalProperties: false,
};

export const tools = {
  listTools() {
    return [{
      name: 'greet',
      description: 'Greets somebody by name.',
      inputSchema: JSON.stringify(inputSchema),
      icons: [],
    }];
  },

  callTool(name, args, call) {
    // What is thrown is the variant `error` of sdk/wit.
    if (name !== 'greet') throw { tag: 'not-found', val: `there is no tool ${name}` };
    const who = JSON.parse(args).name;
    if (typeof who !== 'string') throw { tag: 'invalid-arguments', val: { path: '/name', message: 'a string is wanted' } };
    log('info', `greeting in call ${call.id()}`);
    return {
      content: [{ content: { tag: 'text', val: `Hello, ${who}!` } }],
      isError: false,
    };
  },
};

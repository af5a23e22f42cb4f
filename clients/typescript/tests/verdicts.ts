// Reads lines `{"operation": "post_artists", "body": TEXT}` and answers each with `true` or `false`: whether the schema
// of that operation's body takes what the text says. The server's tests ask; see `studio/tests/walls/agreement.rs`.

import { createInterface } from 'node:readline';
import type { ZodType } from 'zod';
import { schemas } from '../src/index.ts';

interface Asked {
  operation: string;
  body: string;
}

const schemaOf = (operation: string): ZodType => {
  const words = operation.split('_').map((word) => word.charAt(0).toUpperCase() + word.slice(1));
  const name = `z${words.join('')}Body`;
  const schema = (schemas as unknown as Record<string, ZodType | undefined>)[name];
  if (!schema) throw new Error(`there is no schema \`${name}\`; run \`cargo x accept\``);
  return schema;
};

const takes = (schema: ZodType, text: string): boolean => {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return false;
  }
  return schema.safeParse(body).success;
};

for await (const line of createInterface({ input: process.stdin })) {
  const { operation, body } = JSON.parse(line) as Asked;
  process.stdout.write(`${takes(schemaOf(operation), body)}\n`);
}

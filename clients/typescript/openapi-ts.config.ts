// How the client is made of the API's document: `cargo x accept` runs it, `cargo x check` finds what it would change.
//
// What the generator leaves out of what the document says is added here: objects that take no other members,
// lengths in characters, Unicode's form C, time zones.

import { defineConfig } from '@hey-api/openapi-ts';

/** Bodies are closed, as the document says. An answer may grow: a client of today still reads it. */
const isOfBody = (path: readonly (string | number)[]): boolean => path.includes('body');

/** `\u{0000}` for `\u0000`: the generator would print the latter as the character itself. */
const printable = (pattern: string): string => pattern.replace(/\\u([0-9a-f]{4})/g, '\\u{$1}');

export default defineConfig({
  input: '../../docs/openapi.json',
  output: {
    path: process.env['CLIENT_OUTPUT'] ?? 'src/generated',
    module: { extension: '.ts' },
  },
  logs: { file: false, level: 'error' },
  plugins: [
    { name: '@hey-api/client-fetch', throwOnError: true },
    '@hey-api/typescript',
    // Each function is told its client: there is none for all.
    { name: '@hey-api/sdk', validator: true, client: false, responseStyle: 'data' },
    {
      name: 'zod',
      dates: { offset: true },
      $resolvers: {
        object: (ctx) => {
          if (!isOfBody(ctx.path['~ref'])) return undefined;
          return ctx.$(ctx.plugin.imports.z).attr('strictObject').call(ctx.nodes.shape(ctx));
        },
        // A number of JSON is one here too: the document's bounds lie within what a double holds exactly.
        number: (ctx) => {
          if (ctx.schema.format !== 'int64') return undefined;
          const { schema, $ } = ctx;
          let chain = $(ctx.plugin.imports.z).attr('int').call();
          if (schema.minimum !== undefined) chain = chain.attr('gte').call($.literal(schema.minimum));
          if (schema.maximum !== undefined) chain = chain.attr('lte').call($.literal(schema.maximum));
          return chain;
        },
        string: (ctx) => {
          const { schema, $, plugin } = ctx;
          const said = ctx.nodes.const(ctx);
          if (said) return said;
          const check = (name: string) => $(plugin.symbolOnce(name, { external: '../text.ts' }));
          // Any id: the generator's `uuid` asks for a version too.
          const id = schema.format === 'uuid' ? $(plugin.imports.z).attr('guid').call() : undefined;
          let chain = id ?? ctx.nodes.format(ctx) ?? ctx.nodes.base(ctx);
          if (schema.minLength !== undefined || schema.maxLength !== undefined) {
            const bounds = [$.literal(schema.minLength ?? 0), $.literal(schema.maxLength ?? Number.MAX_SAFE_INTEGER)];
            chain = chain.attr('refine').call(check('hasLength').call(...bounds));
          }
          if (schema.pattern) {
            chain = chain.attr('regex').call($.regexp(printable(schema.pattern), 'u'));
          }
          if (schema.format === 'nfc') chain = chain.attr('refine').call(check('isNormal'));
          if (schema.format === 'iana-time-zone') chain = chain.attr('refine').call(check('isZone'));
          return chain;
        },
      },
    },
  ],
});

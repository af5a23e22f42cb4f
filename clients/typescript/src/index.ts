// Production Tool's API. One function an operation, generated from the API's document; here is what joins them: a client
// that asks for its token, checks what is answered, and throws what is refused.

import { createClient, createConfig, type Client } from './generated/client/index.ts';
import { zProblem, zProblemWithErrors } from './generated/zod.gen.ts';
import type * as z from 'zod';

export * from './generated/index.ts';
export * as schemas from './generated/zod.gen.ts';
export type { Client };

export interface Settings {
  /** Where the studio is, as `https://studio.example`. */
  origin: string;
  /** Gives the session's token, anew for each request: one of Clerk's lives a minute. */
  token: () => string | undefined | Promise<string | undefined>;
  /** Instead of the platform's own, as in a test. */
  fetch?: typeof fetch;
}

const zAnyProblem = zProblem.loose().extend({ errors: zProblemWithErrors.shape.errors.optional() });

/** What a refusal says (RFC 9457): `errors` on 400 and 422, and members of its own on some others. */
export type AnyProblem = z.infer<typeof zAnyProblem>;

/** A request that the API refused. */
export class Refused extends Error {
  override readonly name = 'Refused';
  readonly problem: AnyProblem;

  constructor(problem: AnyProblem) {
    super(`${problem.title}: ${problem.detail}`);
    this.problem = problem;
  }

  /** Whether it is the problem `/problems/SLUG`. */
  is(slug: string): boolean {
    return this.problem.type === `/problems/${slug}`;
  }
}

/** The client that each function is told. Functions throw: `Refused` by the API, a `ZodError` for what is not as the
 * document says, and whatever `fetch` throws. */
export const connect = (settings: Settings): Client => {
  const client = createClient(
    createConfig({
      baseUrl: settings.origin,
      auth: settings.token,
      redirect: 'error',
      throwOnError: true,
      ...(settings.fetch && { fetch: settings.fetch }),
    }),
  );
  client.interceptors.error.use((error, response) => {
    if (!response || response.ok) return error;
    const problem = zAnyProblem.safeParse(error);
    return problem.success
      ? new Refused(problem.data)
      : new Error(`the answer ${response.status} has no problem in it: it is not the API's`);
  });
  return client;
};

/** The header `If-Match` for the version that was looked at. */
export const ifMatch = (seen: { version: number }): { 'If-Match': string } => ({
  'If-Match': `"v${seen.version}"`,
});

/** The header `Idempotency-Key` with a key of its own. Keep it, and send it again with the same request. */
export const idempotencyKey = (key: string = crypto.randomUUID()): { 'Idempotency-Key': string } => ({
  'Idempotency-Key': key,
});

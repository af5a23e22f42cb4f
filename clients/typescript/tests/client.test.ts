import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { ZodError } from 'zod';
import {
  connect,
  deleteBookingsId,
  getArtistsId,
  getBookings,
  idempotencyKey,
  ifMatch,
  patchBookingsId,
  postBookingsIdConfirm,
  Refused,
} from '../src/index.ts';

const ID = '0b0c4c1e-6d8f-4f6e-9a3e-0a8d4d6d2b11';
const AT = '2026-03-01T09:00:00Z';
const ARTIST = {
  id: ID, version: 7, created_at: AT, updated_at: AT, kind: 'staff', name: 'Ada', skills: ['rigging'],
  zone: 'Europe/Berlin', notes: '', archived_at: null, reference: 'A-1', working_hours: null,
};
const BOOKING = {
  id: ID, version: 3, created_at: AT, updated_at: AT, reference: 'B-1', artist_id: ID, project_id: ID, title: '',
  state: 'confirmed', rank: null, starts_at: AT, ends_at: AT, from: null, to: null, expires_at: null, challenge: null,
  notes: '', reason: null, payable: null, ended_at: null, archived_at: null, slices: [], kind: 'work',
};
const problem = (status: number, more: object = {}) => ({
  type: '/problems/conflict', title: 'conflict', status, detail: 'it is so', request_id: ID, ...more,
});

/** A client of a server that answers so, and the requests that came. */
const served = (status: number, body?: unknown) => {
  const requests: Request[] = [];
  const client = connect({
    origin: 'https://studio.example',
    token: async () => `token ${requests.length + 1}`,
    fetch: async (request) => {
      requests.push(request as Request);
      const media = status < 400 ? 'application/json' : 'application/problem+json';
      const text = body === undefined ? null : JSON.stringify(body);
      return new Response(text, { status, headers: { 'Content-Type': media } });
    },
  });
  return { client, requests };
};

test('an answer is what the document says, and each request has a token of its own', async () => {
  const { client, requests } = served(200, ARTIST);
  const artist = await getArtistsId({ client, path: { id: ID } });
  assert.equal(artist.name, 'Ada');
  await getArtistsId({ client, path: { id: ID } });
  assert.equal(requests[0]?.url, `https://studio.example/v1/artists/${ID}`);
  assert.deepEqual(requests.map((request) => request.headers.get('Authorization')), [
    'Bearer token 1',
    'Bearer token 2',
  ]);
});

test('an answer may have grown, and is refused where it is another', async () => {
  const grown = served(200, { ...ARTIST, nickname: 'A' });
  await getArtistsId({ client: grown.client, path: { id: ID } });
  const { version: _, ...less } = ARTIST;
  const { client } = served(200, less);
  await assert.rejects(getArtistsId({ client, path: { id: ID } }), ZodError);
});

test('what the document refuses is not sent', async () => {
  const { client, requests } = served(200, BOOKING);
  const body = { title: 'a\u0000' };
  await assert.rejects(patchBookingsId({ client, path: { id: ID }, body }), ZodError);
  await assert.rejects(getBookings({ client, query: { limit: 101 } }), ZodError);
  assert.equal(requests.length, 0);
});

test('headers are options', async () => {
  const { client, requests } = served(200, BOOKING);
  const headers = { ...ifMatch(BOOKING), ...idempotencyKey('0123456789abcdef') };
  const booking = await postBookingsIdConfirm({ client, path: { id: ID }, body: { reason: 'asked' }, headers });
  assert.equal(booking.state, 'confirmed');
  assert.equal(requests[0]?.headers.get('If-Match'), '"v3"');
  assert.equal(requests[0]?.headers.get('Idempotency-Key'), '0123456789abcdef');
  assert.deepEqual(await requests[0]?.json(), { reason: 'asked' });
});

test('a refusal is thrown with its problem', async () => {
  const conflicts = [{ booking_id: ID, state: 'confirmed', starts_at: AT, ends_at: AT }];
  const { client } = served(409, problem(409, { conflicts }));
  const refused = await deleteBookingsId({ client, path: { id: ID } }).catch((error: unknown) => error);
  assert.ok(refused instanceof Refused);
  assert.ok(refused.is('conflict'));
  assert.equal(refused.problem.status, 409);
  assert.deepEqual(refused.problem['conflicts'], conflicts);
  const errors = [{ pointer: '/title', code: 'invalid', detail: 'is too long' }];
  const invalid = served(422, problem(422, { errors })).client;
  const detailed = await deleteBookingsId({ client: invalid, path: { id: ID } }).catch((error: unknown) => error);
  assert.ok(detailed instanceof Refused);
  assert.equal(detailed.problem.errors?.[0]?.pointer, '/title');
});

test('what is not the API says so', async () => {
  const { client } = served(502, 'bad gateway');
  await assert.rejects(getArtistsId({ client, path: { id: ID } }), /502/);
});

test('the example that is read is the one that is checked', () => {
  const text = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');
  assert.ok(text('README.md').includes(text('examples/book.ts')));
});

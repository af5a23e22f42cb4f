import { connect, getArtists, idempotencyKey, ifMatch, postBookings, postBookingsIdConfirm, Refused } from 'production-tool-client';

export const book = async (token: () => Promise<string>, project_id: string) => {
  const client = connect({ origin: 'https://studio.example', token });
  const { items: [artist] } = await getArtists({ client, query: { q: 'Ada' } });
  const when = { starts_at: '2026-03-02T09:00:00Z', ends_at: '2026-03-02T17:00:00Z' };
  const body = { artist_id: artist!.id, project_id, ...when };
  const hold = await postBookings({ client, body, headers: idempotencyKey() });
  return postBookingsIdConfirm({ client, path: { id: hold.id }, body: {}, headers: ifMatch(hold) })
    .catch((error) => error instanceof Refused ? error.problem['conflicts'] : Promise.reject(error));
};

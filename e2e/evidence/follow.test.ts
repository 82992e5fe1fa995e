import { expect, test } from 'vitest';
import { basic, Client } from '../harness/client.ts';
import { populate } from '../harness/people.ts';
import { done, everyItem, refused, rest } from '../harness/rest.ts';
import { ADMIN, startServer } from '../harness/server.ts';

interface Event {
  readonly event: string;
  readonly id: number;
  readonly data: { readonly record?: { readonly action: string; readonly resource: { readonly project?: string } } };
}

/** Reads server-sent events until there are enough, and hangs up. */
async function listen(address: URL, headers: Record<string, string>, enough: number, begun: () => Promise<void>): Promise<Event[]> {
  const stop = new AbortController();
  const answer = await fetch(address, { headers, signal: stop.signal });
  expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'text/event-stream']);
  const events: Event[] = [];
  let text = '';
  let isBegun = false;
  for await (const chunk of (answer.body as ReadableStream<Uint8Array>).pipeThrough(new TextDecoderStream())) {
    if (!isBegun) await begun();
    isBegun = true;
    text += chunk;
    const parts = text.split('\n\n');
    text = parts.pop() ?? '';
    for (const part of parts) {
      const [, event, id, data] = /^event: (\w+)\nid: (\d+)\ndata: (.*)$/.exec(part) ?? [];
      if (event !== undefined) events.push({ event, id: Number(id), data: JSON.parse(data ?? '') as Event['data'] });
    }
    if (events.length >= enough) break;
  }
  stop.abort();
  return events;
}

test('the trail is followed as it grows, with filters, from where one was, by who may read it', async () => {
  const server = await startServer();
  const admin = new Client(server.url);
  const people = await populate(server, { users: ['alice'], projects: { walled: {}, own: { members: { alice: 'admin' } } } });
  const alice = people.client('alice');
  const at = (path: string) => new URL(`/api/v1${path}`, server.url);
  const ofAdmin = { Authorization: basic(ADMIN.user, ADMIN.password) };
  const ofAlice = { Authorization: people.basic('alice') };

  const change = async () => {
    await done(200, admin, 'PATCH', '/projects/walled', { description: 'one' });
    await done(200, admin, 'PATCH', '/projects/own', { description: 'two' });
    await done(200, admin, 'PATCH', '/projects/own', { description: 'three' });
  };
  const seen = await listen(at('/audit-events?action=project.update'), ofAdmin, 3, change);
  expect(seen.map(({ event, data }) => [event, data.record?.resource.project])).toEqual([
    ['record', 'walled'],
    ['record', 'own'],
    ['record', 'own'],
  ]);
  const [first, second, third] = seen.map(({ id }) => id);
  const since = { ...ofAlice, 'Last-Event-ID': String(second) };
  expect((await listen(at('/projects/own/audit-events'), since, 1, async () => undefined)).map(({ id }) => id)).toEqual([third]);
  expect((await listen(at(`/projects/own/audit-events?after=${first}`), ofAlice, 2, async () => undefined)).map(({ id }) => id)).toEqual([
    second,
    third,
  ]);
  expect(await refused(alice, 'GET', '/audit-events')).toBe('403 denied');
  expect((await rest(alice, 'GET', '/projects/walled/audit-events')).status).toBe(404);
  expect((await rest(admin, 'GET', '/audit-events?from=2026-01-01T00:00:00Z')).status).toBe(400);
  await server.stop();
});

test('a legal hold is placed and released by administrators, seen by who reads the trail, and recorded', async () => {
  const server = await startServer();
  const admin = new Client(server.url);
  const hold = await done<{ id: number }>(201, admin, 'POST', '/audit-holds', { name: 'case-17', reason: 'a letter of the court' });
  expect(await refused(admin, 'POST', '/audit-holds', { name: 'case-17', reason: 'again' })).toBe('409 conflict');
  expect(await refused(admin, 'POST', '/audit-holds', { name: '', reason: '' })).toBe('400 invalid_input');
  expect(await everyItem(admin, '/audit-holds')).toMatchObject([{ name: 'case-17', placedBy: 'admin', releasedAt: null }]);
  await done(200, admin, 'POST', `/audit-holds/${hold.id}/release`, { reason: 'it is settled' });
  expect(await refused(admin, 'POST', `/audit-holds/${hold.id}/release`, { reason: 'again' })).toBe('409 conflict');
  expect(await refused(admin, 'POST', '/audit-holds/999/release', { reason: 'none' })).toBe('404 not_found');
  await done(201, admin, 'POST', '/audit-holds', { name: 'case-17', reason: 'anew' });
  const records = await everyItem<{ record: { action: string } }>(admin, '/audit');
  expect(records.map(({ record }) => record.action)).toEqual(['audit-hold.place', 'audit-hold.release', 'audit-hold.place']);
  await server.stop();
});

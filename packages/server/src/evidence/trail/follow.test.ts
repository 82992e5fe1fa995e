import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { roomData, type TestData } from '../../platform/database/testing.ts';
import { type AuditEntry, audit, auditMigrations, type Database, jobMigrations } from '../../platform/index.ts';
import { forwardingMigrations } from '../forwarding/schema.ts';
import { createFollower, type Followed } from './follow.ts';
import { trailMigrations } from './schema.ts';

describe('who follows the trail', () => {
  let store: TestData;
  let database: Database;
  let other: Database;
  let stopping: AbortController;
  const clock = { now: () => 1000 };

  beforeEach(async () => {
    store = roomData([...jobMigrations, ...auditMigrations, ...forwardingMigrations, ...trailMigrations]);
    database = await store.open();
    other = await store.open();
    stopping = new AbortController();
  });
  afterEach(async () => {
    stopping.abort();
    await store.remove();
  });

  const record = (through: Database, project: string, outcome: AuditEntry['outcome'] = 'success') =>
    through.write((tx) => {
      const actor = { kind: 'user', id: 1, name: 'ann', credential: null } as const;
      return audit(tx, { actor, origin: null, action: 'tag.delete', resource: { type: 'tag', project }, outcome }, clock);
    });
  const follower = (livesMs = 60_000) => createFollower({ database, stopping: stopping.signal, livesMs, lookMs: 5 });
  const told = ({ kind, seq }: Followed) => `${kind} ${seq}`;

  it('hears of each record once and in order, whichever process writes it, from now on', async () => {
    await record(database, 'demo');
    const events = await follower().follow({}, undefined);
    const first = events.next();
    await record(other, 'demo');
    expect(told((await first).value as Followed)).toBe('record 2');
    for (const through of [database, other, database]) await record(through, 'demo');
    const next = [await events.next(), await events.next(), await events.next()];
    expect(next.map(({ value }) => told(value as Followed))).toEqual(['record 3', 'record 4', 'record 5']);
    await events.return(undefined);
  });

  it('hears from a number on of what it asked for, and at the end how far it came', async () => {
    for (const [project, outcome] of [
      ['demo', 'success'],
      ['other', 'denied'],
      ['demo', 'denied'],
      ['other', 'success'],
    ] as const) {
      await record(database, project, outcome);
    }
    const heard = async (wanted: Parameters<ReturnType<typeof follower>['follow']>[0], after: number) => {
      const all: string[] = [];
      for await (const each of await follower(0).follow(wanted, after)) all.push(told(each));
      return all;
    };
    expect(await heard({ outcome: 'denied' }, 0)).toEqual(['record 2', 'record 3', 'position 4']);
    expect(await heard({ project: 'demo', outcome: 'denied', actor: 'user:ann', action: 'tag.delete' }, 1)).toEqual([
      'record 3',
      'position 4',
    ]);
    expect(await heard({ actor: 'user:bob' }, 0)).toEqual(['position 4']);
    expect(await heard({}, 4)).toEqual(['position 4']);
  });

  it('is one of 50 at the most, and makes room when it goes', async () => {
    await record(database, 'demo');
    const { follow } = follower();
    const all = [];
    for (let nth = 0; nth < 50; nth++) {
      const events = await follow({}, 0);
      await events.next();
      all.push(events);
    }
    await expect(follow({}, 0)).rejects.toMatchObject({ code: 'too_many_requests' });
    await all[7]?.return(undefined);
    await expect(follow({}, 0)).resolves.toBeDefined();
  });

  it('is let go when the process ends', async () => {
    const events = await follower().follow({}, undefined);
    const next = events.next();
    stopping.abort();
    expect(told((await next).value as Followed)).toBe('position 0');
    expect((await events.next()).done).toBe(true);
  });
});

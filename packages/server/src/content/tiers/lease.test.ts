import { randomBytes } from 'node:crypto';
import { digestOf } from '@entrepot/oci';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Database } from '../../platform/index.ts';
import type { BlobStore } from '../blob-store.ts';
import { readContent } from '../encryption/testing.ts';
import { createLeases, LEASE_TIMES, LeaseLost } from './lease.ts';
import { type TestTiers, tieredFiles } from './testing.ts';

const SOON = { timeout: 20_000 };
const none = new AbortController().signal;
const bytes = randomBytes(1_500_000);
const digest = digestOf(bytes);

describe('the right to change the copies of a blob', () => {
  let at: TestTiers;
  let now: number;
  const clock = { now: () => now };
  beforeEach(async () => {
    now = Date.now();
    at = await tieredFiles({ clock });
  });
  afterEach(() => at.remove());

  const leases = (times = {}, database: Database = at.database) => createLeases(database, clock, { ...LEASE_TIMES, renewMs: 20, ...times });

  it('is one process’s at a time, and leaves no row where nothing happened', async () => {
    const [one, two] = [leases(), leases()];
    const first = await one.take(digest, 'demote', { insert: true });
    expect(first?.row).toMatchObject({ tier: 'hot', task: 'demote' });
    expect(await two.take(digest, 'promote', { insert: true })).toBeUndefined();
    await first?.release();
    expect(await at.row(digest)).toBeUndefined();
    expect(await two.take(digest, 'sweep', { insert: false })).toBeUndefined();
    expect(await two.wait(digest, 'store', { insert: false })).toBeUndefined();
  });

  it('passes on when its owner says nothing any more, who then can do nothing', async () => {
    const stopped = await leases({ renewMs: 3_600_000 }).take(digest, 'demote', { insert: true });
    now += LEASE_TIMES.leaseMs;
    const next = await leases().take(digest, 'demote', { insert: true });
    expect(next).toBeDefined();
    await expect(stopped?.noteLeftover('cold')).rejects.toThrow(LeaseLost);
    expect(await stopped?.settle(undefined)).toBe(false);
    expect(await at.row(digest)).toMatchObject({ task: 'demote' });
    expect(await next?.settle(undefined)).toBe(true);
  });

  it('is lost in the middle of a move where another took it', async () => {
    const stopped = await leases().take(digest, 'demote', { insert: true });
    now += LEASE_TIMES.leaseMs;
    // Between two renewals, of which the next one finds another's name.
    for (let next: unknown; !next; ) {
      now += LEASE_TIMES.leaseMs;
      next = await leases().take(digest, 'demote', { insert: true });
    }
    await expect.poll(() => stopped?.signal.aborted, SOON).toBe(true);
    expect(() => stopped?.requireFresh()).toThrow(LeaseLost);
  });

  it('is given up for who comes first, in this process and in others', async () => {
    for (const another of [false, true]) {
      const one = leases();
      const held = await one.take(digest, 'demote', { insert: true });
      held?.signal.addEventListener('abort', () => void held.settle(undefined));
      const waiting = await (another ? leases() : one).wait(digest, 'remove', { insert: true });
      expect(held?.signal.aborted).toBe(true);
      expect(waiting?.row.task).toBe('remove');
      await waiting?.settle(undefined);
    }
  });

  it('that is not given up has who waits told to try again', async () => {
    const held = await leases().take(digest, 'demote', { insert: true });
    await expect(leases({ waitMs: 50 }).wait(digest, 'remove', { insert: true })).rejects.toMatchObject({
      status: 503,
      headers: { 'Retry-After': '5' },
    });
    await held?.release();
  });

  it('is no reason to commit or remove anything in its second half, as where the database is away', async () => {
    let isAway = false;
    const { database } = at;
    const away: Database = {
      ...{
        clock: database.clock,
        all: database.all.bind(database),
        first: database.first.bind(database),
        run: database.run.bind(database),
      },
      ...{ inOrder: database.inOrder.bind(database), migrate: database.migrate.bind(database), ping: database.ping.bind(database) },
      close: async () => undefined,
      write: (work, options) => (isAway ? Promise.reject(new Error('away')) : database.write(work, options)),
    };
    const lease = await leases({ leaseMs: 200 }, away).take(digest, 'demote', { insert: true });
    lease?.requireFresh();
    isAway = true;
    await expect.poll(() => lease?.signal.aborted, SOON).toBe(true);
    expect(() => lease?.requireFresh()).toThrow(LeaseLost);
  });
});

describe('in the middle of a move', () => {
  let at: TestTiers | undefined;
  afterEach(() => at?.remove());

  /** A blob whose move waits before a tier commits it. */
  async function halfMoved(tier: 'hot' | 'cold') {
    let reached: () => void = () => undefined;
    let goOn: () => void = () => undefined;
    const there = new Promise<void>((resolve) => (reached = resolve));
    const gate = new Promise<void>((resolve) => (goOn = resolve));
    let isGated = false;
    const around = (base: BlobStore): BlobStore => ({
      ...base,
      async openUpload(id, options) {
        const writer = await base.openUpload(id, options);
        if (!isGated || !id.startsWith('tier-')) return writer;
        return {
          ...writer,
          async close() {
            reached();
            await gate;
            await writer.close();
          },
        };
      },
    });
    at = await tieredFiles({ around: { [tier]: around } });
    await at.store.put(digest, bytes);
    if (tier === 'hot') {
      await at.tiers.demote(digest, none);
      await at.run('tiers.sweep');
    }
    isGated = true;
    const moving = tier === 'cold' ? at.tiers.demote(digest, none) : at.tiers.promote(digest, none);
    await there;
    return { tiers: at, moving, goOn };
  }

  it.each(['cold', 'hot'] as const)('to the %s tier a removal takes all copies, and none comes back', async (tier) => {
    const { tiers, moving, goOn } = await halfMoved(tier);
    const removal = tiers.store.remove(digest);
    goOn();
    expect(['busy', 'moved']).toContain(await moving); // it may have been through before it heard of it
    await removal;
    expect(await tiers.copies(digest)).toEqual([]);
    expect(await tiers.row(digest)).toBeUndefined();
    expect(await Array.fromAsync(tiers.store.staleUploads(Number.MAX_SAFE_INTEGER))).toEqual([]);
  });

  it.each(['cold', 'hot'] as const)('to the %s tier another process’s removal does the same', async (tier) => {
    const { tiers, moving, goOn } = await halfMoved(tier);
    const other = await tiers.another({ around: {} });
    const removal = other.store.remove(digest);
    goOn();
    await removal;
    await moving;
    expect(await tiers.copies(digest)).toEqual([]);
    expect(await tiers.row(digest)).toBeUndefined();
  });

  it.each(['cold', 'hot'] as const)('to the %s tier a push, or a repair, leaves the blob hot, with its bytes', async (tier) => {
    const { tiers, moving, goOn } = await halfMoved(tier);
    const id = 'repair-1';
    const writer = await tiers.store.openUpload(id, { fence: false });
    await writer.write(bytes, bytes.length, 0);
    await writer.close();
    const stored = tiers.store.commit(id, digest, bytes.length, { replace: true });
    goOn();
    expect(['busy', 'moved']).toContain(await moving); // it may have been through before it heard of it
    await stored;
    await tiers.run('tiers.sweep');
    expect(await tiers.copies(digest)).toEqual(['hot']);
    expect((await readContent(await tiers.store.open(digest))).equals(bytes)).toBe(true);
  });

  it('another move is told that it is busy, and an end of its own leaves the blob where it was', async () => {
    const { tiers, moving, goOn } = await halfMoved('cold');
    const other = await tiers.another({ around: {} });
    expect(await other.tiers.demote(digest, none)).toBe('busy');
    expect(await other.tiers.promote(digest, none)).toBe('busy');
    goOn();
    expect(await moving).toBe('moved');
    const stopped = AbortSignal.abort(new Error('stopped'));
    await expect(other.tiers.promote(digest, stopped)).rejects.toThrow('stopped');
    expect(await tiers.row(digest)).toMatchObject({ tier: 'cold', task: null });
  });

  it.each([false, true])(
    'a push that began before it and ends after it is served, where the hot copy was taken away: %s',
    async (isSwept) => {
      let goOn: () => void = () => undefined;
      const gate = new Promise<void>((resolve) => (goOn = resolve));
      let reached: () => void = () => undefined;
      const there = new Promise<void>((resolve) => (reached = resolve));
      at = await tieredFiles();
      await at.store.put(digest, bytes);
      const pushing = await at.another({
        around: {
          hot: (base) => ({
            ...base,
            async put(...args) {
              if (isSwept) await base.put(...args);
              reached();
              await gate;
              if (!isSwept) await base.put(...args);
            },
          }),
        },
      });
      const pushed = pushing.store.put(digest, bytes);
      await there;
      expect(await at.tiers.demote(digest, none)).toBe('moved');
      if (isSwept) await at.run('tiers.sweep');
      goOn();
      await pushed;
      expect(await at.row(digest)).toMatchObject(isSwept ? { tier: 'cold', leftover: null } : { tier: 'hot', leftover: 'cold' });
      await at.run('tiers.sweep');
      expect(await at.copies(digest)).toEqual([isSwept ? 'cold' : 'hot']);
      expect((await readContent(await at.store.open(digest))).equals(bytes)).toBe(true);
    },
  );
});

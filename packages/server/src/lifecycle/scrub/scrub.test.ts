import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { digestOf } from '@entrepot/oci';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  claimBlob,
  deleteManifest,
  findBlob,
  findDamage,
  findManifestInTrash,
  findStored,
  manifestBytes,
  pageOfDamaged,
  restoreManifest,
  setManifestContent,
  setTrashedBytes,
} from '../../catalog/index.ts';
import type { BlobReader, BlobStore } from '../../content/index.ts';
import { AppError, type AuditActor, createJobRunner, loadConfig, queriesOf } from '../../platform/index.ts';
import { beginRun } from '../adoption/runs.ts';
import { folderSource } from './folder-source.ts';
import { orphanGraceMs, requestPass, scrubJobs, suspectBlob } from './jobs.ts';
import { createPace, UNPACED } from './pace.ts';
import type { RepairSource } from './repair.ts';
import { type ScrubParts, scrub } from './scrub.ts';
import { findPass, newPass, type Pass, savePass } from './store.ts';
import { type TestStorage, testStorage } from './testing-storage.ts';

const query = queriesOf<{ audit_record: { seq: number; action: string } }>('test');
const actions = query()('scrubActions', (db) => db.selectFrom('audit_record').select('action').orderBy('seq'));
const actor: AuditActor = { kind: 'system', id: null, name: 'scrub', credential: null };
const config = loadConfig({ env: {}, flags: { dataDir: '/nowhere' } });

let at: TestStorage;
beforeEach(async () => {
  at = await testStorage();
});
afterEach(() => at.remove());

function parts(over: Partial<ScrubParts> = {}): ScrubParts {
  return {
    ...{ database: at.database, blobs: at.blobs, clock: at.clock, log: at.log, actor, sources: [], pace: UNPACED },
    signal: new AbortController().signal,
    save: (pass, options) => at.database.write((tx) => savePass(tx, pass), options),
    progress: async () => undefined,
    orphanGraceMs: undefined,
    retryMs: 1,
    ...over,
  };
}
const run = (over: Partial<ScrubParts> = {}, from: Pass = newPass(undefined, 1)) => scrub(parts(over), from);
const damaged = async () => (await pageOfDamaged(at.database, '', 1000)).map(({ digest, problem }) => `${problem} ${digest}`);
const isShown = async (digest: string) => (await findBlob(at.database, at.repositoryId, digest)) !== undefined;

/** A store that behaves as the one it stands before, but for what is given. */
const before = (over: Partial<BlobStore>): BlobStore => ({ ...at.blobs, ...over });

describe('scrub', () => {
  it('finds every planted flip, cut and loss, and nothing else', { timeout: 120_000 }, async () => {
    const plant = fc.record({ blob: fc.nat(), kind: fc.constantFrom('flip', 'cut', 'lose', 'grow'), place: fc.nat(), bit: fc.nat(7) });
    const sizes = [1, 2, 100, 4096, 256 * 1024, 256 * 1024 + 1, 700_000];
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.constantFrom(...sizes), { minLength: 3, maxLength: 12 }),
        fc.array(plant, { maxLength: 4 }),
        async (lengths, plants) => {
          await at.remove();
          at = await testStorage();
          const digests: string[] = [];
          for (const length of lengths) digests.push(await at.push(randomBytes(length)));
          const broken = new Map<string, string>();
          for (const { blob, kind, place, bit } of plants) {
            // One stays whole, so that the store does not look as if it were not there.
            const digest = digests[1 + (blob % (digests.length - 1))] ?? '';
            if (digest === digests[0] || broken.has(digest)) continue;
            const bytes = readFileSync(at.pathOf(digest));
            if (kind === 'flip') {
              const index = place % bytes.length;
              bytes[index] = (bytes[index] ?? 0) ^ (1 << bit);
              await at.overwrite(digest, bytes);
            } else if (kind === 'cut') await at.cut(digest, place % bytes.length);
            else if (kind === 'grow') await at.overwrite(digest, Buffer.concat([bytes, Buffer.from([bit])]));
            else await at.lose(digest);
            broken.set(digest, { flip: 'hash', cut: 'size', grow: 'size', lose: 'missing' }[kind]);
          }
          const pass = await run();
          expect((await damaged()).sort()).toEqual([...broken].map(([digest, problem]) => `${problem} ${digest}`).sort());
          expect(pass).toMatchObject({ phase: 'done', blobs: new Set(digests).size, damaged: broken.size });
          for (const digest of digests) expect(await isShown(digest)).toBe(!broken.has(digest));
        },
      ),
      { numRuns: 25 },
    );
  });

  it('records, announces and logs what it puts into quarantine, once', async () => {
    await at.push();
    const digest = await at.push();
    await at.overwrite(digest, randomBytes(1000));
    const log = vi.spyOn(at.log, 'error');
    await run();
    await run();
    expect((await at.database.all(actions, {})).map(({ action }) => action)).toEqual(['blob.quarantine']);
    expect(log).toHaveBeenCalledTimes(1);
  });

  it('goes on where it was when it starts again', async () => {
    const digests: string[] = [];
    for (let i = 0; i < 6; i++) digests.push(await at.push());
    digests.sort();
    const read: string[] = [];
    const stop = new AbortController();
    const counting = (limit: number) =>
      before({
        open: (digest) => {
          read.push(digest);
          if (read.length === limit) stop.abort(new Error('the process stops'));
          return at.blobs.open(digest);
        },
      });
    const saved: Pass[] = [];
    const save = async (pass: Pass) => void saved.push(pass);
    const begun: Pass = { ...newPass(undefined, 1), position: digests[2] ?? '' };
    await expect(run({ blobs: counting(2), signal: stop.signal, save }, begun)).rejects.toThrow('the process stops');
    expect(read).toEqual(digests.slice(3, 5));
    read.length = 0;
    await run({ blobs: counting(0) }, { ...begun, position: digests[3] ?? '' });
    expect(read).toEqual(digests.slice(4));
  });

  it('takes an error of the disk for damage, and ends neither itself nor the process', async () => {
    await at.push();
    const digest = await at.push();
    const failing: BlobReader = {
      size: 1000,
      read: () => Promise.reject(Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO' })),
      close: async () => undefined,
    };
    const blobs = before({ open: async (asked) => (asked === digest ? failing : await at.blobs.open(asked)) });
    expect(await run({ blobs })).toMatchObject({ phase: 'done', damaged: 1 });
    expect(await findDamage(at.database, digest)).toMatchObject({ problem: 'unreadable', detail: 'cannot be read: EIO' });
  });

  it('takes an error that passes for none', async () => {
    const digest = await at.push();
    let calls = 0;
    const blobs = before({ open: (asked) => (++calls === 1 ? Promise.reject(new Error('reset')) : at.blobs.open(asked)) });
    await run({ blobs });
    expect(calls).toBe(2);
    expect(await findDamage(at.database, digest)).toBeUndefined();
  });

  it.each([
    ['says that it is out of reach', { open: () => Promise.reject(new AppError('unavailable', 'no keys at the moment')) }],
    ['fails as a whole', { open: () => Promise.reject(new Error('EIO')), ping: () => Promise.reject(new Error('EIO')) }],
    ['is empty, as one that is not mounted', { open: async () => undefined }],
  ])('calls nothing damaged where the store %s', async (_, over) => {
    for (let i = 0; i < 30; i++) await at.push(randomBytes(10));
    await expect(run({ blobs: before(over) })).rejects.toThrow();
    expect(await damaged()).toEqual([]);
  });

  it('passes over a single blob of which nobody can say anything', async () => {
    const digests: string[] = [];
    for (let i = 0; i < 6; i++) digests.push(await at.push());
    const lost = digests.sort()[2];
    const open = (digest: string) =>
      digest === lost ? Promise.reject(new AppError('unavailable', 'its key is lost')) : at.blobs.open(digest);
    expect(await run({ blobs: before({ open }) })).toMatchObject({ phase: 'done', blobs: 6, damaged: 0 });
    expect(await damaged()).toEqual([]);
  });

  it('calls damaged what a lost folder of a store that is there had', async () => {
    const digests: string[] = [];
    for (let i = 0; i < 60; i++) digests.push(await at.push(randomBytes(10)));
    digests.sort();
    for (const digest of digests.slice(5, 35)) await at.lose(digest);
    await run();
    expect(await damaged()).toEqual(digests.slice(5, 35).map((digest) => `missing ${digest}`));
  });

  it('reads what a push is about to store anew as well', async () => {
    await at.push();
    const digest = await at.push();
    await at.overwrite(digest, randomBytes(1000));
    await at.database.write((tx) => claimBlob(tx, { digest, size: 1000 }, at.clock.now()));
    expect(await run()).toMatchObject({ blobs: 2, damaged: 1 });
    expect(await isShown(digest)).toBe(false);
  });

  it('leaves alone what collection removed meanwhile', async () => {
    await at.push();
    const digest = await at.push();
    const gone = queriesOf<{ stored_blob: { digest: string; state: string } }>('test')<{ digest: string }>()('deleting', (db, p) =>
      db.updateTable('stored_blob').set({ state: 'deleting' }).where('digest', '=', p('digest')),
    );
    const blobs = before({
      async open(asked) {
        if (asked !== digest) return await at.blobs.open(asked);
        await at.database.run(gone, { digest });
        return undefined;
      },
    });
    await run({ blobs });
    expect(await damaged()).toEqual([]);
  });
});

describe('a push that stores the bytes anew', () => {
  it('while scrub puts them into quarantine is seen by its second look', async () => {
    await at.push();
    const bytes = randomBytes(1000);
    const digest = await at.push(bytes);
    await at.overwrite(digest, randomBytes(1000));
    let looks = 0;
    const blobs = before({
      async open(asked) {
        const reader = await at.blobs.open(asked);
        // Pushed after the damaged bytes were opened, and before they are in quarantine.
        if (asked === digest && ++looks === 1) await at.push(bytes);
        return reader;
      },
    });
    await run({ blobs });
    expect(looks).toBe(2);
    expect(await isShown(digest)).toBe(true);
  });
});

describe('repair', () => {
  const source = (name: string, content: Uint8Array | undefined): RepairSource => ({
    name,
    open: async (digest) => {
      if (content === undefined) return undefined;
      const store = before({});
      await store.put(digestOf(content), content);
      return digest === digestOf(content) ? await at.blobs.open(digest) : lying(content);
    },
  });
  const lying = (content: Uint8Array): BlobReader => ({
    size: content.length,
    read: async (buffer, length, position) => {
      const piece = content.subarray(position, position + length);
      buffer.set(piece);
      return piece.length;
    },
    close: async () => undefined,
  });

  it('asks one source after the other, believes none, and says which helped', async () => {
    await at.push();
    const bytes = randomBytes(300_000);
    const digest = await at.push(bytes);
    await at.overwrite(digest, randomBytes(300_000));
    const failing: RepairSource = { name: 'failing', open: () => Promise.reject(new Error('out of reach')) };
    const sources = [failing, source('empty', undefined), { name: 'liar', open: async () => lying(randomBytes(300_000)) }];
    await run({ sources });
    expect(await damaged()).toEqual([`hash ${digest}`]);
    await run({ sources: [...sources, { name: 'backup', open: async () => lying(bytes) }] });
    expect(await damaged()).toEqual([]);
    expect(readFileSync(at.pathOf(digest)).equals(bytes)).toBe(true);
    expect((await at.database.all(actions, {})).map(({ action }) => action)).toEqual(['blob.quarantine', 'blob.repair']);
  });

  it('takes a folder laid out as any registry does it', async () => {
    const bytes = randomBytes(1000);
    const other = await testStorage();
    try {
      const digest = await other.push(bytes);
      await at.push();
      await at.push(bytes);
      await at.lose(digest);
      await run({ sources: [folderSource(other.root)] });
      expect(await isShown(digest)).toBe(true);
      expect(await damaged()).toEqual([]);
    } finally {
      await other.remove();
    }
    expect(() => folderSource('/nowhere')).toThrow('no blobs');
  });

  it('of a manifest comes from another repository that has it', async () => {
    const layer = await at.push();
    const image = await at.pushImage('v1', layer, 1000);
    await at.database.write((tx) => setManifestContent(tx, image.id, Buffer.from('{}')));
    const pass = await run({
      sources: [{ name: 'backup', open: async (digest) => (digest === image.digest ? lying(image.bytes) : undefined) }],
    });
    expect(pass).toMatchObject({ manifests: 1, damaged: 1 });
    expect(Buffer.from((await manifestBytes(at.database, image.id)) ?? '').equals(image.bytes)).toBe(true);
  });

  it('of a manifest in the trash comes from a source too; until then its item says that it cannot come back', async () => {
    const layer = await at.push();
    const image = await at.pushImage('v1', layer, 1000);
    const sound = await at.pushImage('v2', layer, 1000);
    const { database, repositoryId, clock } = at;
    await database.write(async (tx) => {
      for (const { digest } of [image, sound]) await deleteManifest(tx, repositoryId, digest, 'ann', clock.now());
    });
    const item = async () => {
      const found = await findManifestInTrash(database, repositoryId, image.digest);
      if (!found) throw new Error('not in the trash');
      return found;
    };
    const { id } = await item();
    await database.write((tx) => setTrashedBytes(tx, id, Buffer.from('{}')));
    expect(await run()).toMatchObject({ phase: 'done', manifests: 2, damaged: 1 });
    expect((await item()).problem).toBe('its bytes are damaged');
    const how = { by: 'ann', now: clock.now(), sparse: { children: false, blobs: false }, replace: false };
    await expect(database.write(async (tx) => restoreManifest(tx, await item(), how))).rejects.toThrow('its bytes are damaged');
    await run(); // known: no second record
    expect((await database.all(actions, {})).map(({ action }) => action)).toEqual(['artifact.quarantine']);
    const backup = { name: 'backup', open: async (digest: string) => (digest === image.digest ? lying(image.bytes) : undefined) };
    expect(await run({ sources: [backup] })).toMatchObject({ damaged: 1 });
    expect((await item()).problem).toBeNull();
    await database.write(async (tx) => restoreManifest(tx, await item(), how));
    expect(Buffer.from((await manifestBytes(database, image.id)) ?? '').equals(image.bytes)).toBe(true);
    expect(await run()).toMatchObject({ manifests: 2, damaged: 0 });
  });

  it('goes on among manifests in the trash where it was', async () => {
    const layer = await at.push();
    const items: number[] = [];
    for (const tag of ['a', 'b', 'c']) {
      const { digest } = await at.pushImage(tag, layer, 1000);
      await at.database.write((tx) => deleteManifest(tx, at.repositoryId, digest, 'ann', at.clock.now()));
      items.push((await findManifestInTrash(at.database, at.repositoryId, digest))?.id ?? 0);
    }
    const pass = await run({}, { ...newPass(undefined, 1), phase: 'trash', position: String(items[1]) });
    expect(pass).toMatchObject({ phase: 'done', manifests: 1, blobs: 0 });
  });
});

describe('objects that nothing knows of', () => {
  const orphan = async () => {
    const bytes = randomBytes(50);
    await at.blobs.put(digestOf(bytes), bytes);
    return digestOf(bytes);
  };

  it('are given to collection, which keeps them for the grace time', async () => {
    const digest = await orphan();
    const known = await at.push();
    expect(await run({ orphanGraceMs: 5000 })).toMatchObject({ orphans: 1 });
    expect(await findStored(at.database, digest)).toEqual({ state: 'live', reviewAt: at.clock.now() + 5000, size: 50 });
    expect((await findStored(at.database, known))?.reviewAt).toBeNull();
    expect(await at.blobs.open(digest)).toBeDefined();
    expect(await run({ orphanGraceMs: 5000 })).toMatchObject({ orphans: 0 });
  });

  it('stay where the storage is another registry’s, unless the configuration says otherwise', async () => {
    await orphan();
    expect(await run()).toMatchObject({ orphans: 0 });
    const graceMs = (over: object = {}) => orphanGraceMs(at.database, { ...config, ...over });
    expect(await graceMs({ storageDir: '/srv' })).toBeUndefined();
    expect(await graceMs({ storageDir: '/srv', scrubOrphans: 'collect' })).toBe(config.collectionGraceSeconds * 1000);
    expect(await graceMs({ scrubOrphans: 'keep' })).toBeUndefined();
    expect(await graceMs({ storage: 's3', layoutCompatible: true })).toBeUndefined();
    expect(await graceMs()).toBe(config.collectionGraceSeconds * 1000);
    await at.database.write((tx) => beginRun(tx, 's3://bucket/docker/registry/v2', '{}', 1)); // a bucket that was adopted
    expect(await graceMs({ storage: 's3' })).toBeUndefined();
    expect(await graceMs({ storage: 's3', scrubOrphans: 'collect' })).toBe(config.collectionGraceSeconds * 1000);
  });
});

describe('jobs of scrub', () => {
  const runner = (over: object = {}) => {
    const definitions = scrubJobs({ database: at.database, blobs: at.blobs, clock: at.clock, log: at.log, config, ...over });
    return createJobRunner({ database: at.database, clock: at.clock, log: at.log, holder: 'test', definitions });
  };

  /** Recurring jobs are known once a runner has started. */
  const prepare = async () => {
    const first = runner({ config: { ...config, scrubDays: 0 } });
    await first.start();
    await first.stop();
  };

  it('read everything once in the set time, and again when they are asked', async () => {
    await at.push();
    await prepare();
    const jobs = runner();
    await jobs.runDue();
    const first = await findPass(at.database);
    expect(first).toMatchObject({ number: 1, phase: 'done', blobs: 1 });
    at.clock.set(at.clock.now() + 10_000);
    await jobs.runDue();
    expect(await findPass(at.database)).toEqual(first);
    await at.database.write((tx) => requestPass(tx, at.clock.now()));
    at.clock.set(at.clock.now() + 10_000);
    await runner().runDue();
    expect(await findPass(at.database)).toMatchObject({ number: 2, phase: 'done' });
    at.clock.set(at.clock.now() + 31 * 24 * 3_600_000);
    await runner().runDue();
    expect(await findPass(at.database)).toMatchObject({ number: 3, phase: 'done' });
  });

  it('look at what a request met, and leave what is sound', async () => {
    const sound = await at.push();
    const bad = await at.push();
    await at.overwrite(bad, randomBytes(1000));
    await at.database.write(async (tx) => {
      await suspectBlob(tx, sound, at.clock.now());
      await suspectBlob(tx, bad, at.clock.now());
      await suspectBlob(tx, digestOf('never seen'), at.clock.now());
    });
    const jobs = runner({ config: { ...config, scrubDays: 0 } });
    await vi.waitFor(async () => {
      await jobs.runDue();
      expect(await damaged()).toEqual([`hash ${bad}`]);
    });
  });

  it('try to repair again and again, with growing pauses', async () => {
    await at.push();
    const bytes = randomBytes(1000);
    const digest = await at.push(bytes);
    await at.lose(digest);
    await run();
    const first = await findDamage(at.database, digest);
    const jobs = () => runner({ config: { ...config, scrubDays: 0 } });
    await prepare();
    at.clock.set((first?.checkAt ?? 0) + 10_000);
    await jobs().runDue();
    const second = await findDamage(at.database, digest);
    expect(second).toMatchObject({ checks: 1 });
    expect((second?.checkAt ?? 0) - at.clock.now()).toBe(20 * 60_000);
    await at.blobs.put(digest, bytes);
    at.clock.set((second?.checkAt ?? 0) + 10_000);
    await jobs().runDue();
    expect(await damaged()).toEqual([]);
  });
});

describe('pace', () => {
  const paused = async (options: { bytesPerSecond: number; busy?: boolean }, reads: readonly [number, number][]) => {
    let total = 0;
    const pace = createPace({
      bytesPerSecond: options.bytesPerSecond,
      isBusy: () => options.busy === true,
      signal: new AbortController().signal,
      sleep: async (ms) => {
        total += ms;
      },
    });
    for (const [bytes, took] of reads) await pace.after(bytes, took);
    return Math.round(total);
  };

  it('keeps to the bound, rests where reads are slow, and steps back from requests', async () => {
    expect(await paused({ bytesPerSecond: 1000 }, [[500, 100]])).toBe(400);
    expect(await paused({ bytesPerSecond: 1_000_000 }, [[500, 100]])).toBe(100);
    expect(await paused({ bytesPerSecond: 1000, busy: true }, [[500, 100]])).toBe(3200);
    expect(await paused({ bytesPerSecond: Number.POSITIVE_INFINITY, busy: true }, [[500, 100]])).toBe(0);
    expect(
      await paused(
        { bytesPerSecond: 1000 },
        Array.from({ length: 10 }, () => [3, 0] as const),
      ),
    ).toBe(24); // the rest is owed
  });

  it('ends with its signal', async () => {
    const stop = new AbortController();
    const pace = createPace({ bytesPerSecond: 1, isBusy: () => false, signal: stop.signal });
    const waiting = pace.after(1_000_000, 0);
    stop.abort(new Error('over'));
    await expect(waiting).rejects.toThrow();
  });
});

import { randomBytes } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { digestOf } from '@entrepot/oci';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { blobStoreContract } from '../contract.ts';
import { readContent } from '../encryption/testing.ts';
import { cooling, type TestTiers, tieredFiles } from './testing.ts';

/** Machines that run much beside. */
const SOON = { timeout: 20_000 };
const none = new AbortController().signal;
const pathOf = (digest: string) => {
  const [algorithm = '', hex = ''] = digest.split(':');
  return join('blobs', algorithm, hex.slice(0, 2), hex, 'data');
};

blobStoreContract('two tiers of files', async () => {
  const first = await tieredFiles();
  return {
    open: async () => (await first.another()).store,
    damage: async (digest, bytes) => writeFileSync(join(first.root, 'hot', pathOf(digest)), bytes),
    age: first.age,
    remove: first.remove,
  };
});

// Whatever is stored is moved to the cold tier at once, so that all that holds of a store is asked of what lies there.
blobStoreContract('two tiers of files, all of it cold', async () => {
  const first = await tieredFiles();
  const cooled = ({ store, tiers }: TestTiers) => cooling(store, tiers);
  return {
    open: async () => cooled(await first.another()),
    damage: async (digest, bytes) => {
      for (const tier of ['hot', 'cold']) {
        const path = join(first.root, tier, pathOf(digest));
        if (existsSync(path)) writeFileSync(path, bytes);
      }
    },
    age: first.age,
    remove: first.remove,
  };
});

describe('a blob of two tiers', () => {
  let at: TestTiers;
  const bytes = randomBytes(3_000_000);
  const digest = digestOf(bytes);
  beforeEach(async () => {
    at = await tieredFiles();
    await at.store.put(digest, bytes);
  });
  afterEach(() => at.remove());

  it('has no row while it is simply hot', async () => {
    expect(await at.row(digest)).toBeUndefined();
    expect(await at.copies(digest)).toEqual(['hot']);
    expect([...(await at.tiers.placesOf(at.database, [digest]))]).toEqual([]);
  });

  it('moves to the cold tier and back, and lies in one of them in the end', async () => {
    expect(await at.tiers.demote(digest, none)).toBe('moved');
    expect(await at.row(digest)).toMatchObject({ tier: 'cold', bytes: bytes.length, sha256: digest.slice(7), leftover: 'hot', task: null });
    expect(await at.copies(digest)).toEqual(['hot', 'cold']);
    await at.run('tiers.sweep');
    expect(await at.copies(digest)).toEqual(['cold']);
    expect(await at.row(digest)).toMatchObject({ tier: 'cold', leftover: null });
    expect(await at.tiers.demote(digest, none)).toBe('there');
    expect(await readContent(await at.store.open(digest))).toEqual(bytes);
    expect(await at.tiers.totals(at.database)).toEqual([
      { tier: 'cold', blobs: 1, bytes: bytes.length },
      { tier: 'archived', blobs: 0, bytes: 0 },
    ]);
    expect(await at.tiers.pageOf(at.database, 'cold', '', 10)).toHaveLength(1);

    expect(await at.tiers.promote(digest, none)).toBe('moved');
    await at.run('tiers.sweep');
    expect(await at.copies(digest)).toEqual(['hot']);
    expect(await at.row(digest)).toBeUndefined();
    expect(await at.tiers.promote(digest, none)).toBe('there');
    expect(await readContent(await at.store.open(digest))).toEqual(bytes);
  });

  it('that is told by no tier is missing to both moves', async () => {
    const other = digestOf('nothing');
    expect(await at.tiers.demote(other, none)).toBe('missing');
    expect(await at.tiers.promote(other, none)).toBe('missing');
    expect(await at.row(other)).toBeUndefined();
  });

  it('is read to its end by who began before it was moved and taken away', async () => {
    const hot = await at.store.open(digest);
    await at.tiers.demote(digest, none);
    await at.run('tiers.sweep');
    const cold = await at.store.open(digest);
    await at.tiers.promote(digest, none);
    await at.run('tiers.sweep');
    expect(await readContent(hot)).toEqual(bytes);
    expect(await readContent(cold)).toEqual(bytes);
  });

  it('of a sha512 digest moves as well', async () => {
    const other = digestOf(bytes, 'sha512');
    await at.store.put(other, bytes);
    expect(await at.tiers.demote(other, none)).toBe('moved');
    expect((await at.row(other))?.sha256).toBe(digest.slice(7));
  });

  it('that is damaged is moved neither way', async () => {
    const path = (tier: string) => join(at.root, tier, pathOf(digest));
    const bad = Buffer.from(bytes);
    bad[1_000_000] = (bad[1_000_000] ?? 0) ^ 1;
    writeFileSync(path('hot'), bad);
    const onDamaged = vi.fn();
    const watched = await at.another({ onDamaged });
    expect(await watched.tiers.demote(digest, none)).toBe('damaged');
    expect(onDamaged).toHaveBeenCalledWith(digest);
    writeFileSync(path('hot'), bytes);
    expect(await at.tiers.demote(digest, none)).toBe('moved');
    await at.run('tiers.sweep');
    writeFileSync(path('cold'), bad);
    expect(await at.tiers.promote(digest, none)).toBe('damaged');
    await at.run('tiers.sweep');
    expect(await at.copies(digest)).toEqual(['cold']);
  });

  it('is fetched once for all who pull it, and hot afterwards', async () => {
    await at.tiers.demote(digest, none);
    await at.run('tiers.sweep');
    const seen: string[] = [];
    at.tiers.use({ admits: () => true, onRead: (_, tier) => seen.push(tier) });
    const opened = await Promise.all(Array.from({ length: 20 }, () => at.store.open(digest, { pulled: true })));
    const read = await Promise.all(opened.map((reader) => readContent(reader, 100_000)));
    for (const each of read) expect(each.equals(bytes)).toBe(true);
    await expect.poll(() => at.row(digest), SOON).toMatchObject({ tier: 'hot', leftover: 'cold' });
    expect(seen).toEqual(Array.from({ length: 20 }, () => 'cold'));
    await readContent(await at.store.open(digest, { pulled: true }));
    expect(seen.at(-1)).toBe('hot');
  });

  it('that nobody pulls is not fetched, nor counted', async () => {
    await at.tiers.demote(digest, none);
    await at.run('tiers.sweep');
    const onRead = vi.fn();
    at.tiers.use({ admits: () => true, onRead });
    await readContent(await at.store.open(digest));
    expect(await at.copies(digest)).toEqual(['cold']);
    expect(onRead).not.toHaveBeenCalled();
  });

  it('is served from where it lies where the policy does not admit it', async () => {
    await at.tiers.demote(digest, none);
    await at.run('tiers.sweep');
    at.tiers.use({ admits: () => false, onRead: () => undefined });
    expect(await readContent(await at.store.open(digest, { pulled: true }))).toEqual(bytes);
    expect(await at.copies(digest)).toEqual(['cold']);
  });

  it('pushed again while cold is hot again, and the cold copy goes', async () => {
    await at.tiers.demote(digest, none);
    await at.run('tiers.sweep');
    await at.store.put(digest, bytes);
    expect(await at.row(digest)).toMatchObject({ tier: 'hot', leftover: 'cold' });
    await at.run('tiers.sweep');
    expect(await at.copies(digest)).toEqual(['hot']);
    expect(await at.row(digest)).toBeUndefined();
  });

  it('is removed from both tiers, with or without a row', async () => {
    await at.tiers.demote(digest, none);
    await at.store.remove(digest);
    expect(await at.copies(digest)).toEqual([]);
    expect(await at.row(digest)).toBeUndefined();
    await at.cold.put(digest, bytes);
    await at.store.remove(digest);
    expect(await at.copies(digest)).toEqual([]);
  });

  it('is listed once, wherever it lies', async () => {
    const both = digestOf('both');
    await at.store.put(both, Buffer.from('both'));
    await at.tiers.demote(both, none);
    await at.tiers.demote(digest, none);
    const listed = async () => (await Array.fromAsync(at.store.blobs())).map(({ digest: each, size }) => `${each} ${size}`).sort();
    const wanted = [`${digest} ${bytes.length}`, `${both} 4`].sort();
    expect(await listed()).toEqual(wanted);
    await at.run('tiers.sweep');
    expect(await listed()).toEqual(wanted);
  });

  it('whose row was lost is found where it lies, and gets one again', async () => {
    const lost = Buffer.from('lost');
    await at.cold.put(digestOf(lost), lost);
    await at.cold.put(digest, bytes); // a copy too many
    expect(await readContent(await at.store.open(digestOf(lost)))).toEqual(lost);
    expect(await at.run('tiers.mend')).toEqual({ looked: 2, found: 2 });
    expect(await at.row(digestOf(lost))).toMatchObject({ tier: 'cold', bytes: 4, leftover: null });
    await at.run('tiers.sweep');
    expect(await at.copies(digest)).toEqual(['hot']);
    expect(await at.row(digest)).toBeUndefined();
  });

  it('whose row is of another time than the tiers is never taken away as a copy too many', async () => {
    await at.tiers.demote(digest, none);
    await at.cold.remove(digest);
    await at.run('tiers.sweep');
    expect(await at.copies(digest)).toEqual(['hot']);
    expect(await at.row(digest)).toBeUndefined();
  });

  it('is not moved where the cold tier is not there, as with a disk that is not mounted', async () => {
    const other = await at.another({ requireCold: () => Promise.reject(new Error('not mounted')) });
    await expect(other.tiers.demote(digest, none)).rejects.toThrow('not mounted');
    expect(await at.copies(digest)).toEqual(['hot']);
    await at.tiers.demote(digest, none);
    await at.run('tiers.sweep');
    await at.cold.remove(digest);
    await expect(other.store.open(digest)).rejects.toThrow('not mounted');
  });

  it('moves without the calls of a stopped move: what it left among the uploads is stale', async () => {
    const writer = await at.cold.openUpload('tier-left', { fence: false });
    await writer.write(bytes, 1000, 0);
    await writer.close();
    expect(await Array.fromAsync(at.store.staleUploads(Date.now() + 1000))).toEqual(['tier-left']);
    await at.store.removeUpload('tier-left');
    expect(await Array.fromAsync(at.store.staleUploads(Date.now() + 1000))).toEqual([]);
  });
});

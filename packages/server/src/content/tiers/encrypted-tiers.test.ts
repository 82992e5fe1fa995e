import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { digestOf } from '@entrepot/oci';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { blobStoreContract } from '../contract.ts';
import { encryptionJobs } from '../encryption/jobs.ts';
import { encryptedFiles, readContent, storedPath, type TestEncryption } from '../encryption/testing.ts';
import { openFileCompanions } from '../file-companions.ts';
import { openFileStore } from '../file-store.ts';
import { bothCompanions, keepCompanionsTwice } from './companions.ts';
import { findRow } from './rows.ts';
import { cooling, QUIET, runJob, tiersOf } from './testing.ts';
import type { Tiers } from './tiers.ts';

/** Machines that run much beside. */
const SOON = { timeout: 20_000 };
const none = new AbortController().signal;

/** Encryption around two tiers of files, of which each store that is opened has one of its own. */
async function encryptedTiers(): Promise<{ first: TestEncryption; tiersFor(of: TestEncryption): Tiers; cold: string }> {
  const all = new Map<unknown, Tiers>();
  const cold = mkdtempSync(join(tmpdir(), 'entrepot-cold-'));
  const first = await encryptedFiles({
    around(base, database) {
      const { store, tiers } = tiersOf({ hot: base, cold: openFileStore(cold), database, isPlain: false });
      all.set(store, tiers);
      return store;
    },
  });
  return {
    first,
    cold,
    tiersFor(of) {
      const tiers = all.get(of.base);
      if (!tiers) throw new Error('a store without tiers');
      return tiers;
    },
  };
}

blobStoreContract('encryption around two tiers, all of it cold', async () => {
  const { first, tiersFor, cold } = await encryptedTiers();
  const opened: TestEncryption[] = [];
  return {
    async open() {
      const next = await first.another();
      opened.push(next);
      return cooling(next.store, tiersFor(next));
    },
    async damage(digest, bytes) {
      await openFileStore(cold).put(digest, bytes);
    },
    age: first.age,
    async remove() {
      for (const { threads, base } of opened) {
        await threads.close();
        await base.close?.();
      }
      await first.remove();
      rmSync(cold, { recursive: true, force: true });
    },
  };
});

describe('encrypted blobs of two tiers', () => {
  let first: TestEncryption;
  let tiers: Tiers;
  let cold: string;
  const bytes = randomBytes(400_000);
  const digest = digestOf(bytes);
  beforeEach(async () => {
    const made = await encryptedTiers();
    ({ first, cold } = made);
    tiers = made.tiersFor(first);
    await first.store.put(digest, bytes);
  });
  afterEach(async () => {
    await first.base.close?.();
    await first.remove();
    rmSync(cold, { recursive: true, force: true });
  });

  const demoted = async () => {
    expect(await tiers.demote(digest, none)).toBe('moved');
    await runJob(tiers, 'tiers.sweep');
  };

  it('move as they are, sealed, and are read in ranges where they lie', async () => {
    const sealed = readFileSync(storedPath(first.root, digest));
    await demoted();
    const files = readdirSync(cold, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    expect(files).toHaveLength(1);
    for (const { parentPath, name } of files) expect(readFileSync(join(parentPath, name)).equals(sealed)).toBe(true);
    expect(await findRow(first.database, digest)).toMatchObject({ bytes: sealed.length });
    const reader = await first.store.open(digest);
    const part = Buffer.alloc(1000);
    expect(await reader?.read(part, 1000, 200_000)).toBe(1000);
    expect(part.equals(bytes.subarray(200_000, 201_000))).toBe(true);
    await reader?.close();
    expect((await readContent(await first.store.open(digest, { pulled: true }))).equals(bytes)).toBe(true);
    await expect.poll(() => findRow(first.database, digest), SOON).toMatchObject({ tier: 'hot' });
  });

  it('sealed anew while they become cold are never left with the old bytes, nor with none', async () => {
    // The push was done, and the process died before it could say so: what was moved is the former sealing.
    const hot = openFileStore(join(first.root, 'store'));
    expect(await tiers.demote(digest, none)).toBe('moved');
    const former = readFileSync(storedPath(first.root, digest));
    const second = await encryptedFiles();
    await second.store.put(digest, bytes);
    await hot.put(digest, readFileSync(storedPath(second.root, digest)));
    await second.remove();
    await runJob(tiers, 'tiers.sweep');
    expect(readFileSync(storedPath(first.root, digest)).equals(former)).toBe(false);
    await runJob(tiers, 'tiers.sweep');
    expect(await findRow(first.database, digest)).toBeUndefined();
    expect(readdirSync(join(cold, 'blobs', 'sha256', digest.slice(7, 9)))).toEqual([]);
  });

  it('are opened after the hot disk and the database were lost, by the copies of keys beside the cold tier', async () => {
    const [hotKeys, coldKeys] = [openFileCompanions(join(first.root, 'companions')), openFileCompanions(join(cold, 'encryption'))];
    const companions = bothCompanions(hotKeys, coldKeys);
    const keep = async (beside: typeof companions) => {
      const jobs = encryptionJobs({ ...first, companions: beside, clock: { now: () => Date.now() + 3_600_000 }, log: QUIET });
      const context = { signal: none, attempt: 1, hold: async () => undefined, progress: async () => undefined };
      await jobs.find(({ kind }) => kind === 'encryption.keep')?.run(null, context);
    };
    await keep(hotKeys); // before there was a cold tier
    const names = () =>
      readdirSync(cold, { recursive: true, withFileTypes: true }).filter(
        ({ name, parentPath }) => parentPath.includes('encryption') && name !== '',
      );
    expect(names().filter((entry) => entry.isFile())).toEqual([]);
    await keepCompanionsTwice(first.database, 'one', 0);
    await keep(companions);
    const kept = names().filter((entry) => entry.isFile());
    expect(kept).toHaveLength(1);
    await keepCompanionsTwice(first.database, 'one', 0);
    rmSync(join(first.root, 'companions'), { recursive: true });
    for (const { parentPath, name } of kept) {
      const relative = join(parentPath, name).slice(join(cold, 'encryption').length + 1);
      expect(Buffer.from((await companions.read(relative)) ?? [])).toEqual(readFileSync(join(parentPath, name)));
      await companions.remove(relative);
      expect(await companions.read(relative)).toBeUndefined();
    }
  });
});

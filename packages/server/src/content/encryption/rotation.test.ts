import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, rmSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { digestOf } from '@entrepot/oci';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createLog, type JobContext, queriesOf } from '../../platform/index.ts';
import type { ContentTables } from '../schema.ts';
import { companionOf } from './data-keys.ts';
import { keyIdOf } from './encrypted-store.ts';
import { RECORD_BYTES } from './format.ts';
import { encryptionJobs } from './jobs.ts';
import { deleteKey } from './key-rows.ts';
import { addKeyVersion, openKeyFile } from './providers/local-file.ts';
import type { KeyProvider } from './providers/provider.ts';
import { countKeys } from './rotation-rows.ts';
import { encryptedFiles, readContent, storedPath, type TestEncryption } from './testing.ts';

const spoil = queriesOf<ContentTables>('testing')<{ id: string; wrapped: string }>()('spoilDataKey', (db, p) =>
  db
    .updateTable('data_key')
    .set({ wrapped: p('wrapped') })
    .where('id', '=', p('id')),
);

let at: TestEncryption;
let now: number;
const clock = { now: () => now };
/** How many calls the provider answers yet. */
let answers = Number.POSITIVE_INFINITY;

/** A provider that may be out of reach. */
function reachable(provider: KeyProvider): KeyProvider {
  const call =
    <A extends unknown[], T>(work: (...given: A) => Promise<T>) =>
    async (...given: A): Promise<T> => {
      if (answers-- <= 0) throw new Error('connect ECONNREFUSED');
      return await work(...given);
    };
  return {
    name: provider.name,
    current: call(provider.current),
    wrap: call(provider.wrap),
    unwrap: call(provider.unwrap),
    rewrap: call(provider.rewrap),
    health: call(provider.health),
  };
}

beforeEach(async () => {
  now = Date.now();
  answers = Number.POSITIVE_INFINITY;
  at = await encryptedFiles({ clock, provider: (file) => reachable(openKeyFile(file)) });
});
afterEach(() => at.remove());

const HOUR = 3_600_000;

function runJob(kind: string, of = at, signal = new AbortController().signal): Promise<unknown> {
  const context: JobContext = { signal, attempt: 1, hold: async () => undefined, progress: async () => undefined };
  const { base, store, companions, database, keys, named } = of;
  const job = encryptionJobs({ base, store, companions, database, keys, named, clock, log: createLog('silent') }).find(
    (each) => each.kind === kind,
  );
  if (!job) throw new Error(`there is no job ${kind}`);
  return job.run(null, context);
}

const keep = () => runJob('encryption.keep');
const rewrap = () => runJob('encryption.rewrap');

async function stored(count: number, bytes = 500): Promise<Buffer[]> {
  const all = Array.from({ length: count }, () => randomBytes(bytes));
  for (const each of all) await at.store.put(digestOf(each), each);
  return all;
}

async function keyOf(bytes: Buffer): Promise<string> {
  const id = await keyIdOf(at.base, digestOf(bytes));
  if (id === undefined) throw new Error('the blob names no key');
  return id;
}

const copyOf = (id: string) => join(at.root, 'companions', companionOf(id));
const pathOf = (bytes: Buffer) => storedPath(at.root, digestOf(bytes));

describe('wrapped keys', () => {
  it('get copies beside the blobs, by which these are read without the database', async () => {
    const [blob = Buffer.alloc(0)] = await stored(1);
    const id = await keyOf(blob);
    await keep();
    expect(existsSync(copyOf(id))).toBe(false); // it is looked for a little later
    now += HOUR;
    await keep();
    expect(JSON.parse(readFileSync(copyOf(id), 'utf8'))).toMatchObject({ id, provider: 'file', version: '1' });
    expect(statSync(copyOf(id)).mode & 0o077).toBe(0);
    await at.database.write((tx) => deleteKey(tx, id));
    const later = await at.another();
    expect((await readContent(await later.store.open(digestOf(blob)))).equals(blob)).toBe(true);
    expect(await countKeys(at.database)).toEqual([{ provider: 'file', version: '1', keys: 1, copied: 0 }]); // and known again
    await later.threads.close();
  });

  it('are gone with their blob', async () => {
    const [blob = Buffer.alloc(0)] = await stored(1);
    const id = await keyOf(blob);
    now += HOUR;
    await keep();
    await at.store.remove(digestOf(blob));
    expect(existsSync(copyOf(id))).toBe(false);
    expect(await countKeys(at.database)).toEqual([]);
  });

  it('of a blob that was stored anew, or never came to its place, are forgotten a day after nobody found them', async () => {
    const [blob = Buffer.alloc(0), lost = Buffer.alloc(0)] = await stored(2);
    await at.store.put(digestOf(blob), blob);
    unlinkSync(pathOf(lost));
    const count = async () => (await countKeys(at.database))[0]?.keys;
    for (const hours of [1, 1, 22]) {
      now += hours * HOUR;
      await keep();
      expect(await count()).toBe(3);
    }
    now += 2 * HOUR;
    await keep();
    expect(await count()).toBe(1);
    expect((await readContent(await at.store.open(digestOf(blob)))).equals(blob)).toBe(true);
  });

  it('are not forgotten when the whole store is missing, as a disk that is not mounted', async () => {
    const blobs = await stored(3);
    rmSync(join(at.root, 'store', 'blobs'), { recursive: true });
    for (let day = 0; day < 5; day++) {
      now += 25 * HOUR;
      await keep();
    }
    expect((await countKeys(at.database))[0]?.keys).toBe(blobs.length);
  });
});

describe('a rotation', () => {
  it('wraps all keys anew and touches no blob; the old version can go', async () => {
    const blobs = await stored(150);
    const before = blobs.map((blob) => readFileSync(pathOf(blob)));
    now += HOUR;
    for (let i = 0; i < 4; i++) await keep();
    const version = addKeyVersion(at.keyFile);
    expect(await rewrap()).toMatchObject({ provider: 'file', version, done: 150, failed: 0 });
    expect(await countKeys(at.database)).toEqual([{ provider: 'file', version, keys: 150, copied: 150 }]);
    const last = readFileSync(at.keyFile, 'utf8').trimEnd().split('\n').at(-1);
    writeFileSync(at.keyFile, `${last}\n`);
    const later = await at.another();
    for (const [index, blob] of blobs.entries()) {
      expect(readFileSync(pathOf(blob)).equals(before[index] ?? Buffer.alloc(0))).toBe(true);
      expect((await readContent(await later.store.open(digestOf(blob)))).equals(blob)).toBe(true);
    }
    expect(JSON.parse(readFileSync(copyOf(await keyOf(blobs[0] ?? Buffer.alloc(0))), 'utf8'))).toMatchObject({ version });
    await later.threads.close();
  });

  it('that was cut off goes on where it was', async () => {
    await stored(150);
    addKeyVersion(at.keyFile);
    answers = 100;
    await expect(rewrap()).rejects.toThrow('ECONNREFUSED');
    answers = Number.POSITIVE_INFINITY;
    const left = (await countKeys(at.database)).find(({ version }) => version === '1')?.keys ?? 0;
    expect(left).toBeGreaterThan(50);
    expect(left).toBeLessThan(150);
    expect(await rewrap()).toMatchObject({ done: left });
    expect(await rewrap()).toMatchObject({ done: 0 });
  });

  it('goes past a key that cannot be unwrapped, and names it', async () => {
    const [bad = Buffer.alloc(0)] = await stored(10);
    const id = await keyOf(bad);
    await at.database.write(async (tx) => void (await tx.run(spoil, { id, wrapped: randomBytes(60).toString('base64url') })));
    addKeyVersion(at.keyFile);
    expect(await rewrap()).toMatchObject({ done: 9, failed: 1, failedKeys: [id] });
  });

  it('under pushes and pulls disturbs neither', async () => {
    const blobs = await stored(60);
    const other = await at.another();
    let rotating = true;
    const pulls = (async () => {
      let pulled = 0;
      for (; rotating || pulled < 60; pulled++) {
        const blob = blobs[pulled % blobs.length] ?? Buffer.alloc(0);
        expect((await readContent(await other.store.open(digestOf(blob)))).equals(blob)).toBe(true);
      }
    })();
    const pushes = (async () => {
      for (let i = 0; i < 40; i++) blobs.push(...(await stored(1)));
    })();
    for (let i = 0; i < 4; i++) {
      addKeyVersion(at.keyFile);
      await rewrap();
    }
    await pushes;
    rotating = false;
    await pulls;
    await rewrap();
    expect(await countKeys(at.database)).toEqual([{ provider: 'file', version: '5', keys: 100, copied: 0 }]);
    await other.threads.close();
  });
});

describe('while the provider cannot be reached', () => {
  it('what was read before is read on for an hour, new blobs and keys are refused with 503, and readiness tells', async () => {
    const [blob = Buffer.alloc(0), unread = Buffer.alloc(0)] = await stored(2);
    const other = await at.another();
    await readContent(await other.store.open(digestOf(blob)));
    await other.store.ping();
    answers = 0;
    expect((await readContent(await other.store.open(digestOf(blob)))).equals(blob)).toBe(true);
    for (const refused of [
      () => other.store.open(digestOf(unread)),
      () => other.store.put(digestOf('new'), Buffer.from('new')),
      () => other.store.openUpload('new', { fence: false }),
    ]) {
      await expect(refused()).rejects.toMatchObject({ code: 'unavailable', status: 503, headers: { 'Retry-After': '5' } });
    }
    now += 11_000; // what it said of its health before is old by now
    await expect(other.store.ping()).rejects.toThrow('ECONNREFUSED');
    answers = Number.POSITIVE_INFINITY;
    await other.store.ping();
    expect((await readContent(await other.store.open(digestOf(unread)))).equals(unread)).toBe(true);
    await other.threads.close();
  });
});

describe('blobs in the clear', () => {
  it('are encrypted by the job, all but damaged ones, and only once', async () => {
    const clear = Array.from({ length: 5 }, (_, index) => randomBytes(index * RECORD_BYTES + index));
    for (const blob of clear) await at.base.put(digestOf(blob), blob);
    const [encrypted = Buffer.alloc(0)] = await stored(1);
    await at.base.put(digestOf('damaged'), Buffer.from('damagee'));
    expect(await runJob('encryption.encrypt')).toMatchObject({ encrypted: 5, failed: 1, before: 1 });
    for (const blob of clear) {
      expect((await readContent(await at.store.open(digestOf(blob)))).equals(blob)).toBe(true);
      if (blob.length > 0) expect(readFileSync(pathOf(blob)).includes(blob.subarray(0, 40))).toBe(false);
    }
    expect((await readContent(await at.store.open(digestOf(encrypted)))).equals(encrypted)).toBe(true);
    expect(readFileSync(pathOf(Buffer.from('damaged'))).toString()).toBe('damagee');
    expect(await runJob('encryption.encrypt')).toMatchObject({ encrypted: 0, failed: 1, before: 6 });
    for await (const upload of at.base.staleUploads(Number.MAX_SAFE_INTEGER)) throw new Error(`${upload} was left behind`);
  });

  it('are left as they are when the job is cancelled, and done by the next one', async () => {
    const blob = randomBytes(100_000);
    await at.base.put(digestOf(blob), blob);
    await expect(runJob('encryption.encrypt', at, AbortSignal.abort(new Error('cancelled')))).rejects.toThrow('cancelled');
    expect((await readContent(await at.store.open(digestOf(blob)))).equals(blob)).toBe(true);
    expect(await runJob('encryption.encrypt')).toMatchObject({ encrypted: 1 });
  });

  it('have their own sizes beside encrypted ones in the list', async () => {
    const clear = randomBytes(1000);
    await at.base.put(digestOf(clear), clear);
    const [encrypted = Buffer.alloc(0), unknown = Buffer.alloc(0)] = await stored(2, 70_000);
    now += HOUR;
    await keep();
    await at.database.write(async (tx) => deleteKey(tx, await keyOf(unknown)));
    const found: string[] = [];
    for await (const { digest, size } of at.store.blobs()) found.push(`${digest} ${size}`);
    expect(found.sort()).toEqual([clear, encrypted, unknown].map((bytes) => `${digestOf(bytes)} ${bytes.length}`).sort());
  });
});

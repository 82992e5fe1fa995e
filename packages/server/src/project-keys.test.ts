import { randomBytes } from 'node:crypto';
import { digestOf } from '@entrepot/oci';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  blobScope,
  createProject,
  ensureRepository,
  findBlob,
  keysOfHolders,
  linkBlob,
  projectKeyOf,
  setProjectKey,
  unlinkBlob,
} from './catalog/index.ts';
import { catalogMigrations } from './catalog/schema.ts';
import type { BlobReader, BlobStore, Companions } from './content/blob-store.ts';
import { CipherThreads } from './content/encryption/cipher-threads.ts';
import { createDataKeys, type NamedProviders } from './content/encryption/data-keys.ts';
import { createEncryptedStore, keyIdOf } from './content/encryption/encrypted-store.ts';
import { encryptionJobs } from './content/encryption/jobs.ts';
import { createNamedKeys } from './content/encryption/named-keys.ts';
import { type KeyProvider, KeyRefused } from './content/encryption/providers/provider.ts';
import { readContent } from './content/encryption/testing.ts';
import { keysOfBlob, wrappingsOf } from './content/encryption/wrapping-rows.ts';
import { contentMigrations } from './content/schema.ts';
import { projectKeyJobs } from './lifecycle/project-keys/jobs.ts';
import { postgresData, sqliteData } from './platform/database/testing.ts';
import { createLog, type Database, type JobContext, jobMigrations, outboxMigrations, queriesOf, type Session } from './platform/index.ts';
import type { Call } from './registry/http.ts';
import { BlobClosed, createProjectKeys } from './registry/project-keys.ts';

// Pushes, mounts, deletions, changes of keys and outages in any order, over the real transactions: whoever has a link opens
// what it leads to by the key of its project as long as that can be used, whatever becomes of the keys of others; and in the
// end the data keys are wrapped by the keys of those who hold the blob, and by no others.

const HOUR_MS = 3_600_000;
const PROJECTS = ['acme', 'acme-too', 'globex', 'open'] as const;
const BLOBS = [Buffer.from('small'), randomBytes(70_000), Buffer.alloc(0)];
const TABLES = ['repository_blob', 'project_blob', 'data_key', 'key_wrapping', 'blob_key_due', 'project_usage'] as const;
const query = queriesOf<Record<(typeof TABLES)[number], { digest: string }> & { blob_key_due: { due_at: number; digest: string } }>(
  'project-keys-test',
);
const empty = TABLES.map((table) => query()(`empty-${table}`, (db) => db.deleteFrom(table)));

type Project = (typeof PROJECTS)[number];

/** A key that may be out of reach, or gone. */
function testKey(of: string, isOut: () => boolean): KeyProvider {
  const wrap = (key: Uint8Array, id: string) => ({ version: '1', wrapped: JSON.stringify([of, id, Buffer.from(key).toString('hex')]) });
  const reach = () => {
    if (isOut()) throw new Error(`${of} is out of reach`);
  };
  return {
    name: 'file',
    current: async () => '1',
    async wrap(key, id) {
      reach();
      return wrap(key, id);
    },
    async unwrap({ wrapped }, id) {
      reach();
      const [by, bound, key] = JSON.parse(wrapped) as [string, string, string];
      if (by !== of || bound !== id) throw new KeyRefused('of another key');
      return Buffer.from(key, 'hex');
    },
    rewrap: async (wrapped) => wrapped,
    health: async () => reach(),
  };
}

function memoryStore(objects: Map<string, Uint8Array>): BlobStore {
  const refuse = async () => {
    throw new Error('not in this test');
  };
  return {
    async open(digest) {
      const bytes = objects.get(digest);
      if (!bytes) return undefined;
      return {
        size: bytes.length,
        async read(buffer, length, position) {
          const part = bytes.subarray(position, position + length);
          buffer.set(part);
          return part.length;
        },
        close: async () => undefined,
      } satisfies BlobReader;
    },
    put: async (digest, bytes) => void objects.set(digest, bytes),
    remove: async (digest) => void objects.delete(digest),
    async *blobs() {
      for (const [digest, { length }] of objects) yield { digest, size: length };
    },
    uploadSize: async () => 0,
    async *staleUploads() {},
    ping: async () => undefined,
    ...{ openUpload: refuse, openUploadForReading: refuse, commit: refuse, removeUpload: refuse },
  } as BlobStore;
}

describe.each([
  ['SQLite', sqliteData, 12],
  ['PostgreSQL', postgresData, 5],
] as const)('keys of projects on %s', (_, dataOf, runs) => {
  const data = dataOf([...catalogMigrations, ...contentMigrations, ...jobMigrations, ...outboxMigrations]);
  const threads = new CipherThreads(1);
  let database: Database;
  beforeAll(async () => {
    database = await data.open();
    await database.write(async (tx) => {
      for (const name of PROJECTS) {
        await createProject(tx, { name, public: false, by: 'ann', now: 1 });
        await ensureRepository(tx, `${name}/app`, 'ann', 1);
      }
    });
  });
  afterAll(async () => {
    await threads.close();
    await data.remove();
  });

  async function newWorld() {
    await database.write(async (tx) => {
      for (const each of empty) await tx.run(each, {});
      for (const [index, key] of ['a', 'a', 'g', null].entries()) await setProjectKey(tx, index + 1, key);
    });
    const objects = new Map<string, Uint8Array>();
    const out = new Set<string>();
    const links = new Map<Project, Set<string>>(PROJECTS.map((name) => [name, new Set()]));
    let now = 1_000_000;
    const clock = { now: () => now };
    const named: NamedProviders = {
      names: ['a', 'g', 'h'],
      of: (name) => (named.names.includes(name) ? testKey(name, () => out.has(name)) : undefined),
    };
    const own = { active: testKey('own', () => false), of: () => testKey('own', () => false) };
    const companions: Companions = { read: async () => undefined, write: async () => undefined, remove: async () => undefined };
    const base = memoryStore(objects);

    /** As another process would begin, with nothing unwrapped. */
    function instance() {
      const keys = createDataKeys({ database, providers: own, named, companions, clock });
      const isInPlace = async (digest: string, id: string) => (await keyIdOf(base, digest)) === id;
      const projectKeys = createNamedKeys({ database, keys, own, named, clock, isInPlace });
      const store = createEncryptedStore({ base, database, keys, threads, clock });
      return { keys, projectKeys, store };
    }
    const context: JobContext = {
      signal: new AbortController().signal,
      attempt: 1,
      hold: async () => undefined,
      progress: async () => undefined,
    };
    const log = createLog('silent');
    async function run(kind: string, payload: unknown = null): Promise<void> {
      const { keys, projectKeys, store } = instance();
      const jobs = [
        ...encryptionJobs({ base, store, companions, database, keys, named, clock, log }),
        ...projectKeyJobs({ database, encryption: { keys, projectKeys, jobs: [] }, clock, log }),
      ];
      await jobs.find((job) => job.kind === kind)?.run(payload as never, context);
    }

    async function link(project: Project, digest: string, isThere: (tx: Session) => Promise<boolean>): Promise<boolean> {
      const call = { name: `${project}/app` } as Call;
      const { projectKeys } = instance();
      const keys = createProjectKeys({ database, projectKeys });
      return await keys.around(call, digest, (check) =>
        database.write(
          async (tx) => {
            if (!(await isThere(tx))) return false;
            const repository = await ensureRepository(tx, call.name, 'ann', now);
            await check(tx, repository);
            await linkBlob(tx, repository.id, { digest, size: 1 }, now);
            return true;
          },
          { scope: [blobScope(digest)] },
        ),
      );
    }

    const idOf = (project: Project) => PROJECTS.indexOf(project) + 1;
    const keyOf = async (project: Project) => (await projectKeyOf(database, idOf(project))) ?? undefined;
    const isOut = async (project: Project) => out.has((await keyOf(project)) ?? '');

    return {
      out,
      links,
      keyOf,
      later(ms: number) {
        now += ms;
      },
      run,
      async push(project: Project, bytes: Buffer) {
        const digest = digestOf(bytes);
        const { projectKeys, store } = instance();
        const refused = await createProjectKeys({ database, projectKeys })
          .require({ name: `${project}/app` } as Call)
          .catch((error: unknown) => error);
        if (await isOut(project)) return void expect(refused).toMatchObject({ code: 'unavailable' });
        expect(refused).toBeUndefined();
        await store.put(digest, bytes);
        expect(await link(project, digest, async () => true)).toBe(true);
        links.get(project)?.add(digest);
      },
      async mount(from: Project, to: Project, bytes: Buffer) {
        const digest = digestOf(bytes);
        if (await isOut(to)) return;
        const isLinked = await link(to, digest, async (tx) => (await findBlob(tx, idOf(from), digest)) !== undefined).catch((error) => {
          if (!(error instanceof BlobClosed)) throw error;
          expect(out.size).toBeGreaterThan(0);
          return undefined;
        });
        if (isLinked === undefined) return;
        expect(isLinked).toBe(links.get(from)?.has(digest));
        if (isLinked) links.get(to)?.add(digest);
      },
      async unlink(project: Project, bytes: Buffer) {
        const digest = digestOf(bytes);
        if (!links.get(project)?.delete(digest)) return;
        await database.write((tx) => unlinkBlob(tx, idOf(project), digest, now), { scope: [blobScope(digest)] });
      },
      async setKey(project: Project, key: string | null) {
        if (out.size > 0) return; // what the old key alone opens has to be opened once more
        await database.write((tx) => setProjectKey(tx, idOf(project), key));
        await requireReadable();
        await run('encryption.project', { projectId: idOf(project) });
      },
      requireReadable,
      async requireExact() {
        for (const digest of new Set([...links.values()].flatMap((each) => [...each]))) {
          const wanted = await keysOfHolders(database, digest);
          for (const { id, provider } of await keysOfBlob(database, digest)) {
            const names = new Set<string | null>((await wrappingsOf(database, id)).map(({ name }) => name));
            if (provider !== 'projects') names.add(null);
            expect(names).toEqual(wanted);
          }
        }
      },
      /** Who has the registry's key, and not that of a project, opens only what somebody else holds too. */
      async requireClosed(key: string) {
        out.clear();
        out.add(key);
        for (const digest of new Set([...links.values()].flatMap((each) => [...each]))) {
          const wanted = await keysOfHolders(database, digest);
          const opened = await instance()
            .store.open(digest)
            .then(() => true)
            .catch(() => false);
          expect(opened).toBe(wanted.size > 1 || !wanted.has(key));
        }
        out.clear();
      },
    };

    async function requireReadable(): Promise<void> {
      for (const [project, digests] of links) {
        for (const digest of digests) {
          const opening = instance().store.open(digest, { key: await keyOf(project) });
          if (await isOut(project)) await expect(opening).rejects.toMatchObject({ code: 'unavailable', status: 503 });
          else expect(digestOf(await readContent(await opening))).toBe(digest);
        }
      }
    }
  }

  const project = fc.constantFrom(...PROJECTS);
  const blob = fc.nat({ max: BLOBS.length - 1 });
  const blobOf = (index: number) => BLOBS[index] ?? Buffer.alloc(0);
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ do: fc.constant('push' as const), project, blob }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('mount' as const), from: project, project, blob }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('unlink' as const), project, blob }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('settle' as const), ms: fc.constantFrom(0, 10_000, 70_000) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('keep' as const), ms: fc.constantFrom(0, 11_000, 25 * HOUR_MS) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('outage' as const), key: fc.constantFrom('a', 'g', 'h') }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('set' as const), project, key: fc.constantFrom('a', 'g', 'h', null) }) },
  );

  it('follow links', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 25 }), async (steps) => {
        const world = await newWorld();
        for (const each of steps) {
          if (each.do === 'push') await world.push(each.project, blobOf(each.blob));
          else if (each.do === 'mount') await world.mount(each.from, each.project, blobOf(each.blob));
          else if (each.do === 'unlink') await world.unlink(each.project, blobOf(each.blob));
          else if (each.do === 'set') await world.setKey(each.project, each.key);
          else if (each.do === 'outage') {
            if (!world.out.delete(each.key)) world.out.add(each.key);
          } else {
            world.later(each.ms);
            await world.run(each.do === 'keep' ? 'encryption.keep' : 'encryption.settle');
          }
          await world.requireReadable();
        }
        world.out.clear();
        for (const hours of [1, 25, 25]) {
          world.later(hours * HOUR_MS);
          await world.run('encryption.keep');
          await world.run('encryption.settle');
        }
        await world.requireReadable();
        await world.requireExact();
        for (const key of ['a', 'g', 'h']) await world.requireClosed(key);
      }),
      { numRuns: Number(process.env.ENTREPOT_RUNS ?? runs) },
    );
  }, 120_000);
});

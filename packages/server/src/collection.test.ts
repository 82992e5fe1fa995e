import { digestOf, type Manifest } from '@entrepot/oci';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  createProject,
  deleteManifest,
  ensureRepository,
  findBlob,
  isDamagedIn,
  linkBlob,
  nextReview,
  purgeItem,
  putManifest,
  releaseHold,
  renewBlob,
  takeHold,
  unlinkBlob,
} from './catalog/index.ts';
import { catalogMigrations } from './catalog/schema.ts';
import { type Collected, collect } from './lifecycle/collection/collect.ts';
import { roomData } from './platform/database/testing.ts';
import { createLog, type Database, jobMigrations, outboxMigrations, queriesOf, type Session } from './platform/index.ts';
import { createStoring, keep, type Stored } from './registry/storing.ts';

// Collection and pushes over the real transactions, interleaved before each of them and before each step of the store.

const GRACE_MS = 1000;
const HOUR_MS = 3_600_000;
const IMAGE = 'application/vnd.oci.image.manifest.v1+json';
const TABLES = [
  'manifest_reference',
  'manifest_content',
  'manifest',
  'repository_blob',
  'stored_blob',
  'damaged_blob',
  'project_blob',
] as const;

const query =
  queriesOf<Record<(typeof TABLES)[number], { digest: string; state: string; unneeded_since: number | null }>>('collection-test');
const empty = TABLES.map((table) => query()(`empty-${table}`, (db) => db.deleteFrom(table)));
const markUnneeded = query()('mark', (db) => db.updateTable('repository_blob').set({ unneeded_since: 1 }));
const allLinks = query()('links', (db) => db.selectFrom('repository_blob').select('digest'));
const allStored = query()('stored', (db) => db.selectFrom('stored_blob').select(['digest', 'state']));

const data = roomData([...catalogMigrations, ...jobMigrations, ...outboxMigrations]);
let database: Database;
let one: number;
let two: number;

beforeAll(async () => {
  database = await data.open();
  await database.write(async (tx) => {
    await createProject(tx, { name: 'demo', public: false, by: 'ann', now: 1 });
    one = (await ensureRepository(tx, 'demo/one', 'ann', 1)).id;
    two = (await ensureRepository(tx, 'demo/two', 'ann', 1)).id;
  });
});
afterAll(() => data.remove());

type Step = 'transaction' | 'put' | 'commit' | 'remove' | 'wait';
/** Comes before each step and lets others go first. */
type Before = (step: Step) => Promise<unknown>;

interface World {
  readonly objects: Map<string, Uint8Array>;
  readonly uploads: Map<string, Uint8Array>;
  now: number;
  failing: boolean;
  /** Whether what has a link must be in the store; not where a test removes it. */
  sound: boolean;
}

async function newWorld(): Promise<World> {
  await database.write(async (tx) => {
    for (const each of empty) await tx.run(each, {});
  });
  return { objects: new Map(), uploads: new Map(), now: 1_000_000, failing: false, sound: true };
}

/** What has a link is in the store, at any time. */
async function requireSound({ objects }: World): Promise<void> {
  for (const { digest } of await database.all(allLinks, {})) {
    if (!objects.has(digest)) throw new Error(`${digest} has a link and is not in the store`);
  }
}

/** Transactions and store as one of several processes has them. */
function process(world: World, before: Before) {
  const own: Database = Object.assign(Object.create(database) as Database, {
    all: database.all.bind(database),
    first: database.first.bind(database),
    async write<T>(work: (tx: Session) => Promise<T>): Promise<T> {
      await before('transaction');
      const result = await database.write(work, { durable: false });
      if (world.sound) await requireSound(world);
      return result;
    },
  });
  const blobs = {
    async put(digest: string, bytes: Uint8Array) {
      await before('put');
      world.objects.set(digest, bytes);
    },
    async commit(id: string, digest: string) {
      await before('commit');
      world.objects.set(digest, world.uploads.get(id) ?? Buffer.from('nothing'));
    },
    async remove(digest: string) {
      await before('remove');
      if (world.failing) throw new Error('the store is down');
      world.objects.delete(digest);
    },
    open: async (digest: string) =>
      world.objects.has(digest) ? { size: 1, read: async () => 0, close: async () => undefined } : undefined,
  };
  return { database: own, blobs, clock: { now: () => world.now } };
}

function clientOf(world: World, before: Before = async () => undefined) {
  const { database: own, ...parts } = process(world, before);
  const storing = createStoring({ ...parts, database: own, commitTime: () => undefined, pause: () => before('wait') });
  const link = (repositoryId: number) => (stored: Stored) =>
    own.write(async (tx) => {
      if (!(await keep(tx, stored, world.now))) return false;
      await linkBlob(tx, repositoryId, stored, world.now);
      return true;
    });
  return {
    async push(repositoryId: number, text: string, size: 'small' | 'large' = 'small'): Promise<string> {
      const bytes = Buffer.from(text);
      const digest = digestOf(bytes);
      if (size === 'small') {
        await storing.put(digest, bytes, link(repositoryId));
      } else {
        const id = `${world.uploads.size}`;
        world.uploads.set(id, bytes);
        await storing.commit(id, digest, bytes.length, link(repositoryId));
      }
      return digest;
    },
    async head(repositoryId: number, digest: string): Promise<boolean> {
      const found = await findBlob(database, repositoryId, digest);
      if (!found) return false;
      if (found.unneededSince === null || world.now - found.unneededSince < GRACE_MS / 2) return true;
      return await own.write((tx) => renewBlob(tx, repositoryId, digest, world.now));
    },
    mount: (source: number, target: number, digest: string) =>
      own.write(async (tx) => {
        const found = await findBlob(tx, source, digest);
        if (found) await linkBlob(tx, target, { digest, size: found.size }, world.now);
        return found !== undefined;
      }),
    unlink: (repositoryId: number, digest: string) => own.write((tx) => unlinkBlob(tx, repositoryId, digest, world.now)),
    async putManifest(repositoryId: number, digests: readonly string[]): Promise<string> {
      const parts = digests.map((digest) => ({ digest, size: world.objects.get(digest)?.length ?? 1, mediaType: 'x/y' }));
      const bytes = Buffer.from(JSON.stringify([repositoryId, digests]));
      const manifest = { kind: 'image', mediaType: IMAGE, blobs: parts, children: [] } as unknown as Manifest;
      const push = { repositoryId, digest: digestOf(bytes), bytes, manifest, tags: [], by: 'ann', now: world.now };
      await own.write((tx) => putManifest(tx, { ...push, sparse: { children: false, blobs: false } }));
      return push.digest;
    },
    async deleteManifest(repositoryId: number, digest: string) {
      const id = await own.write((tx) => deleteManifest(tx, repositoryId, digest, 'ann', world.now));
      await own.write((tx) => purgeItem(tx, { id, kind: 'manifest', repositoryId }, world.now)); // out of the trash too
    },
  };
}

function collector(world: World, before: Before = async () => undefined) {
  const parts = { ...process(world, before), log: createLog('silent'), graceMs: GRACE_MS };
  const context = { signal: new AbortController().signal, progress: async () => undefined, hold: async () => undefined };
  return (options = {}): Promise<Collected> => collect(parts, context, options);
}

/** Nothing is left of what nothing needs, once its time has passed. */
async function requireClean(world: World): Promise<void> {
  const run = collector(world);
  world.now += GRACE_MS;
  await run();
  world.now += 2 * HOUR_MS; // claims of pushes that failed, and what is remembered as gone
  for (let times = 0; times < 3; times++, world.now += HOUR_MS) await run();
  expect([...world.objects.keys()]).toEqual([]);
  expect(await database.all(allLinks, {})).toEqual([]);
  expect(await database.all(allStored, {})).toEqual([]);
  expect(await nextReview(database, GRACE_MS)).toBe(Number.POSITIVE_INFINITY);
}

const stored = async () => (await database.all(allStored, {})).map(({ state }) => state);

describe('any interleaving of pushes, mounts, deletions and collections', () => {
  const does = fc.constantFrom('push', 'push', 'push', 'mount', 'mount', 'unlink', 'collect', 'collect', 'wait', 'wait');
  /** What one client does with some blobs in one of two repositories. */
  const client = fc.record({
    does: does as fc.Arbitrary<'push' | 'mount' | 'unlink' | 'collect' | 'wait'>,
    home: fc.constantFrom('one' as const, 'two' as const),
    texts: fc.uniqueArray(fc.constantFrom('a', 'b', 'c'), { minLength: 1 }),
    size: fc.constantFrom('small' as const, 'large' as const),
    ms: fc.constantFrom(100, 490, 1100),
  });
  type Client = typeof client extends fc.Arbitrary<infer C> ? C : never;

  it('keeps what manifests need, breaks no promise, and leaves nothing else behind', async () => {
    const property = fc.asyncProperty(fc.scheduler(), fc.array(client, { minLength: 2, maxLength: 8 }), async (scheduler, clients) => {
      const world = await newWorld();
      const before: Before = (step) => scheduler.schedule(Promise.resolve(), step);
      const self = clientOf(world, before);
      const run = collector(world, before);
      // Deleting a blob by hand takes back what others were told of it; nothing else may.
      const isTakenBack = clients.some((each) => each.does === 'unlink');
      const manifests = new Map<string, readonly [number, string]>();

      async function bring({ does: how, home, texts, size }: Client): Promise<void> {
        const [target, other] = home === 'one' ? [one, two] : [two, one];
        const told = world.now;
        const digests: string[] = [];
        for (const text of texts) {
          const digest = digestOf(text);
          digests.push(digest);
          if (await self.head(target, digest)) continue;
          if (how === 'mount' && (await self.mount(other, target, digest))) continue;
          // What was unknown when a large upload was committed, and had a whole life until it was linked, is pushed once more.
          const push = () => self.push(target, text, size);
          await push().catch((error: { code?: string }) => {
            if (size === 'small' || error.code !== 'unavailable') throw error;
            return push();
          });
        }
        await before('wait');
        const isPromised = !isTakenBack && world.now - told < GRACE_MS / 2;
        await self.putManifest(target, digests).then(
          (digest) => manifests.set(`${target} ${digest}`, [target, digest]),
          (error: { code?: string }) => expect([error.code, isPromised]).toEqual(['manifest_blob_unknown', false]),
        );
      }

      async function act(each: Client): Promise<unknown> {
        const target = each.home === 'one' ? one : two;
        if (each.does === 'collect') return await run();
        if (each.does === 'unlink') return await Promise.allSettled(each.texts.map((text) => self.unlink(target, digestOf(text))));
        if (each.does !== 'wait') return await bring(each);
        await before('wait');
        world.now += each.ms;
        return undefined;
      }

      await scheduler.waitFor(Promise.all(clients.map(act)));
      const free = clientOf(world);
      for (const [repositoryId, digest] of manifests.values()) await free.deleteManifest(repositoryId, digest);
      await requireClean(world);
    });
    await fc.assert(property, { numRuns: 100, interruptAfterTimeLimit: 20_000, markInterruptAsFailure: false });
  }, 60_000);
});

it('a push of what is being collected never loses its bytes, whatever the order of their steps', async () => {
  const size = fc.constantFrom('small' as const, 'large' as const);
  const property = fc.asyncProperty(fc.scheduler(), fc.array(size, { minLength: 1, maxLength: 2 }), async (scheduler, sizes) => {
    const world = await newWorld();
    await clientOf(world).push(one, 'x');
    world.now += GRACE_MS;
    const before: Before = (step) => scheduler.schedule(Promise.resolve(), step);
    const client = clientOf(world, before);
    const run = collector(world, before);
    const acts = sizes.map((each) => client.push(two, 'x', each));
    await scheduler.waitFor(Promise.all([...acts, run(), run()]));
    expect(world.objects.size).toBe(1);
    expect(await stored()).toEqual(['live']);
  });
  await fc.assert(property, { numRuns: 150, interruptAfterTimeLimit: 15_000 });
}, 60_000);

it.each(['small', 'large'] as const)('a whole collection between storing and linking a %s blob is noticed', async (size) => {
  const world = await newWorld();
  const digest = await clientOf(world).push(one, 'x');
  world.now += GRACE_MS;
  let transactions = size === 'small' ? 1 : 2; // of a large one the first is the claim
  const client = clientOf(world, async (step) => {
    if (step === 'transaction' && --transactions === 0) await collector(world)();
  });
  await client.push(two, 'x', size);
  expect(world.objects.has(digest)).toBe(true);
});

/** Before which steps of a collection of one blob it is stopped, so that others act there. */
const STOPS = [
  'anything',
  'its link goes',
  'its deletion begins',
  'its object goes',
  'its deletion ends',
  'what is long gone is forgotten',
];

describe.each(STOPS.map((name, at) => [name, at] as const))('a collection that is stopped before %s', (_, at) => {
  let world: World;
  let digest: string;

  beforeEach(async () => {
    world = await newWorld();
    digest = await clientOf(world).push(one, 'x');
    world.now += GRACE_MS;
  });

  /** Runs a collection that lets others act before the step, and goes on at their first wait. */
  async function meanwhile(act: (client: ReturnType<typeof clientOf>) => Promise<void>): Promise<void> {
    let reached = () => {};
    let goOn = () => {};
    const isThere = new Promise<void>((resolve) => (reached = resolve));
    const mayGoOn = new Promise<void>((resolve) => (goOn = resolve));
    let steps = 0;
    const run = collector(world, async () => {
      if (steps++ !== at) return;
      reached();
      await mayGoOn;
    })();
    await isThere;
    const client = clientOf(world, async (step) => {
      if (step === 'wait') goOn();
      await new Promise(setImmediate);
    });
    const acted = act(client).finally(goOn);
    await run;
    await acted;
    await requireSound(world);
  }

  const needed = async (repositoryId: number) => {
    world.now += 2 * GRACE_MS;
    await collector(world)();
    expect(await findBlob(database, repositoryId, digest)).toMatchObject({ unneededSince: null });
    expect(world.objects.has(digest)).toBe(true);
    expect(await stored()).toEqual(['live']);
  };

  it('takes nothing that HEAD was told of', async () => {
    let isThere = false;
    await meanwhile(async (client) => {
      isThere = await client.head(one, digest);
      if (isThere) await client.putManifest(one, [digest]);
    });
    expect(isThere).toBe(at <= 1);
    if (isThere) await needed(one);
  });

  it('takes nothing that HEAD was told of and that is named later', async () => {
    let isThere = false;
    await meanwhile(async (client) => {
      isThere = await client.head(one, digest);
    });
    if (!isThere) return expect(at).toBeGreaterThan(1);
    world.now += GRACE_MS / 2 - 1;
    await collector(world)();
    await clientOf(world).putManifest(one, [digest]);
    await needed(one);
  });

  it('takes nothing that was mounted', async () => {
    let isThere = false;
    await meanwhile(async (client) => {
      isThere = await client.mount(one, two, digest);
      if (isThere) await client.putManifest(two, [digest]);
    });
    expect(isThere).toBe(at <= 1);
    if (isThere) await needed(two);
  });

  it.each([
    ['small', 'the same'],
    ['large', 'the same'],
    ['small', 'another'],
    ['large', 'another'],
  ] as const)('takes nothing that is pushed again, %s, to %s repository', async (size, where) => {
    const target = where === 'the same' ? one : two;
    await meanwhile(async (client) => {
      await client.push(target, 'x', size);
      await client.putManifest(target, [digest]);
    });
    await needed(target);
  });

  it('and whose process then dies is finished by another, and holds up no push for long', async () => {
    let steps = 0;
    const died = collector(world, async () => {
      if (steps++ >= at) throw new Error('killed');
    })();
    await expect(died).rejects.toThrow();
    // A push right after that, while the dead one still has the blob to itself, waits for the end of that.
    const client = clientOf(world, async (step) => {
      if (step === 'wait') world.now += 10_000;
    });
    await client.push(two, 'x', 'large');
    expect(world.objects.has(digest)).toBe(true);
    await client.putManifest(two, [digest]);
    await needed(two);
  });

  it('and whose process then dies leaves nothing behind', async () => {
    let steps = 0;
    await collector(world, async () => {
      if (steps++ >= at) throw new Error('killed');
    })().catch(() => undefined);
    world.now += 60_000;
    await requireClean(world);
  });
});

describe('collection', () => {
  let world: World;
  beforeEach(async () => {
    world = await newWorld();
  });

  it('leaves alone what is needed, young or held, and says what it took', async () => {
    const client = clientOf(world);
    const [needed, old] = [await client.push(one, 'needed'), await client.push(one, 'old')];
    await client.mount(one, two, old);
    await client.putManifest(one, [needed]);
    world.now += GRACE_MS;
    const young = await client.push(one, 'young');
    await database.write((tx) => takeHold(tx, { id: 'h', reason: 'backup', now: world.now, until: world.now + HOUR_MS }));
    expect(await collector(world)()).toEqual({ links: 2, blobs: 0, bytes: 0, failures: 0 });
    expect([...world.objects.keys()].sort()).toEqual([needed, old, young].sort());
    await database.write((tx) => releaseHold(tx, 'h'));
    expect(await collector(world)()).toEqual({ links: 0, blobs: 1, bytes: 3, failures: 0 });
    expect([...world.objects.keys()].sort()).toEqual([needed, young].sort());
    expect(await collector(world)({ skipGrace: true })).toEqual({ links: 1, blobs: 1, bytes: 5, failures: 0 });
    expect([...world.objects.keys()]).toEqual([needed]);
  });

  it('takes what a manifest alone needed, once it is deleted, and nothing that another needs', async () => {
    const client = clientOf(world);
    const [shared, own] = [await client.push(one, 'shared'), await client.push(one, 'own')];
    const first = await client.putManifest(one, [shared, own]);
    await client.putManifest(one, [shared]);
    await client.deleteManifest(one, first);
    world.now += GRACE_MS - 1;
    expect(await collector(world)()).toMatchObject({ links: 0, blobs: 0 });
    world.now += 1;
    expect(await collector(world)()).toMatchObject({ links: 1, blobs: 1 });
    expect([...world.objects.keys()]).toEqual([shared]);
  });

  it('keeps what is needed though it was marked as if it were not', async () => {
    const client = clientOf(world);
    const digest = await client.push(one, 'x');
    await client.putManifest(one, [digest]);
    await database.write(async (tx) => void (await tx.run(markUnneeded, {})));
    world.now += GRACE_MS;
    expect(await collector(world)()).toMatchObject({ links: 0, blobs: 0 });
    expect(await findBlob(database, one, digest)).toMatchObject({ unneededSince: null });
  });

  it('goes on in batches until all is gone', async () => {
    const client = clientOf(world);
    for (let at = 0; at < 230; at++) await client.push(at % 2 ? one : two, `blob ${at}`);
    world.now += GRACE_MS;
    expect(await collector(world)()).toMatchObject({ links: 230, blobs: 230 });
    await requireClean(world);
  });

  it('tells of a store that fails, tries again later, and meanwhile lets pushes through', async () => {
    const client = clientOf(world, async (step) => {
      if (step === 'wait') world.now += 10_000;
    });
    const digest = await client.push(one, 'x');
    world.now += GRACE_MS;
    world.failing = true;
    await expect(collector(world)()).rejects.toThrow('1 blobs could not be removed from the store: Error: the store is down');
    expect(await stored()).toEqual(['deleting']);
    await client.push(two, 'x', 'large');
    expect(await stored()).toEqual(['live']);
    await client.unlink(two, digest);
    await expect(collector(world)()).rejects.toThrow('the store is down');
    world.failing = false;
    world.now += 60_000;
    expect(await collector(world)()).toMatchObject({ blobs: 0 });
    world.now += GRACE_MS; // the pause after a failure
    expect(await collector(world)()).toMatchObject({ blobs: 1, failures: 0 });
  });

  it('says that a blob is missing which a removal hit after its time', async () => {
    const client = clientOf(world);
    const digest = await client.push(one, 'x');
    world.now += GRACE_MS;
    world.sound = false;
    const late = collector(world, async (step) => {
      if (step !== 'remove') return;
      world.now += 60_000;
      await client.push(one, 'x', 'large');
    });
    await late();
    expect(await isDamagedIn(database, one, digest)).toBe(true);
    expect(await client.head(one, digest)).toBe(false);
  });
});

import { createHash } from 'node:crypto';
import { parseManifest } from '@entrepot/oci';
import {
  catalogMigrations,
  createProject,
  ensureRepository,
  findManifest,
  findProject,
  keepStored,
  linkBlob,
  putManifest,
} from '../../catalog/index.ts';
import { contentMigrations, type MoveOutcome, type Tier, type TierPolicy, type Tiers } from '../../content/index.ts';
import {
  auditMigrations,
  createLog,
  createMetrics,
  type Database,
  jobMigrations,
  loadConfig,
  outboxMigrations,
  queriesOf,
} from '../../platform/index.ts';
import type { TierJobParts } from './jobs.ts';
import { heatMigration } from './schema.ts';

const IMAGE = 'application/vnd.oci.image.manifest.v1+json';

interface Tables {
  blob_tier: { digest: string; tier: Tier; since: number; bytes: number; wanted: number };
}

const query = queriesOf<Tables>('testing-tiers');
const place = query<{ digest: string; tier: Tier; since: number }>()('place', (db, p) =>
  db
    .insertInto('blob_tier')
    .values({ digest: p('digest'), tier: p('tier'), since: p('since'), bytes: 0, wanted: 0 })
    .onConflict((conflict) =>
      conflict.column('digest').doUpdateSet((eb) => ({ tier: eb.ref('excluded.tier'), since: eb.ref('excluded.since') })),
    ),
);
const placeOf = query<{ digest: string }>()('placeOf', (db, p) =>
  db.selectFrom('blob_tier').select('tier').where('digest', '=', p('digest')),
);

export const shaOf = (text: string | Uint8Array) => `sha256:${createHash('sha256').update(text).digest('hex')}`;

/** A store of two tiers that has rows and no bytes. */
export interface TestTiers extends Tiers {
  readonly moves: string[];
  /** What the next moves of a blob come to, in place of what they should. */
  readonly outcomes: Map<string, MoveOutcome | Error>;
  policy: TierPolicy | undefined;
  tierOf(digest: string): Promise<Tier>;
  put(digest: string, tier: Tier): Promise<void>;
}

function testTiers(database: Database, now: () => number): TestTiers {
  const moves: string[] = [];
  const outcomes = new Map<string, MoveOutcome | Error>();
  const put = async (digest: string, tier: Tier) =>
    void (await database.write(async (tx) => await tx.run(place, { digest, tier, since: now() })));
  const tierOf = async (digest: string): Promise<Tier> => (await database.first(placeOf, { digest }))?.tier ?? 'hot';
  async function move(digest: string, tier: 'hot' | 'cold', signal: AbortSignal): Promise<MoveOutcome> {
    signal.throwIfAborted();
    const outcome = outcomes.get(digest);
    if (outcome instanceof Error) throw outcome;
    if (outcome !== undefined) return outcome;
    if ((await tierOf(digest)) === tier) return 'there';
    await put(digest, tier);
    moves.push(`${digest} ${tier}`);
    return 'moved';
  }
  const none = () => Promise.reject(new Error('not for these tests'));
  const tiers: TestTiers = {
    ...{ moves, outcomes, tierOf, put, policy: undefined },
    demote: (digest, signal) => move(digest, 'cold', signal),
    promote: (digest, signal) => move(digest, 'hot', signal),
    ...{ restore: none, placesOf: none, pageOf: none, totals: none },
    room: () => Promise.resolve(undefined),
    use: (policy) => {
      tiers.policy = policy;
    },
    jobs: [],
  };
  return tiers;
}

/** A catalogue whose blobs have no bytes, and the parts of the room on it. */
export interface TestRoom {
  readonly database: Database;
  readonly tiers: TestTiers;
  readonly parts: TierJobParts;
  readonly clock: { now(): number; set(time: number): void };
  /** Pushes an image of layers, by name and size, and gives its digest. */
  push(repository: string, layers: Readonly<Record<string, number>>): Promise<string>;
  idOf(repository: string): Promise<number>;
  manifestOf(repository: string, digest: string): Promise<number>;
}

export const TEST_MIGRATIONS = [
  ...[...catalogMigrations, ...contentMigrations, ...jobMigrations, ...outboxMigrations, ...auditMigrations],
  heatMigration,
];

/** On a database with those migrations. */
export async function testRoom(
  database: Database,
  flags: Readonly<Record<string, string>> = {},
  start = Date.UTC(2026, 5, 1),
): Promise<TestRoom> {
  let now = start;
  const clock = {
    now: () => now,
    set: (time: number) => {
      now = time;
    },
  };
  await database.write((tx) => createProject(tx, { name: 'demo', public: false, by: 'ann', now }));
  const tiers = testTiers(database, clock.now);
  const config = loadConfig({
    env: {},
    flags: { coldStorage: 'files', coldDirectory: '/cold', tierMinBytes: '100', tierMinHours: '0', tierSchedule: '0 0 1 1 *', ...flags },
  });
  const idOf = async (repository: string) => (await database.write((tx) => ensureRepository(tx, repository, 'ann', now))).id;
  const log = createLog('silent');
  const parts = { database, clock, log, config, tiers, metrics: createMetrics(), blobs: undefined as never };
  return {
    ...{ database, tiers, parts, clock, idOf },
    async push(repository, layers) {
      const [name = ''] = repository.split('/');
      if (!(await findProject(database, name))) {
        await database.write((tx) => createProject(tx, { name, public: false, by: 'ann', now }));
      }
      const repositoryId = await idOf(repository);
      const blob = ([text, size]: [string, number]) => ({ mediaType: 'application/octet-stream', digest: shaOf(text), size });
      const manifest = {
        ...{
          schemaVersion: 2,
          mediaType: IMAGE,
          annotations: { at: `${now}` },
          config: blob([`config of ${Object.keys(layers).join()}`, 10]),
        },
        layers: Object.entries(layers).map(blob),
      };
      const bytes = Buffer.from(JSON.stringify(manifest));
      const parsed = parseManifest(bytes, IMAGE);
      await database.write(async (tx) => {
        for (const part of parsed.blobs) {
          await keepStored(tx, part, now);
          await linkBlob(tx, repositoryId, part, now);
        }
        const sparse = { children: false, blobs: false };
        await putManifest(tx, { repositoryId, digest: shaOf(bytes), bytes, manifest: parsed, tags: [], sparse, by: 'ann', now });
      });
      return shaOf(bytes);
    },
    manifestOf: async (repository, digest) => (await findManifest(database, await idOf(repository), digest))?.id ?? 0,
  };
}

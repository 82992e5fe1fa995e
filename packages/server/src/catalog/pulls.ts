import { LRUCache } from 'lru-cache';
import { append, type Clock, type Database, queriesOf, type Session } from '../platform/index.ts';
import type { CatalogEvent } from './events.ts';
import type { PullTables } from './pulls-schema.ts';
import type { CatalogTables } from './schema.ts';

const query = queriesOf<PullTables & Pick<CatalogTables, 'repository'>>('pulls');

const addTagPulls = query<{ repositoryId: number; name: string; at: number; pulls: number }>()('addTagPulls', (db, p) =>
  db
    .insertInto('tag_pull')
    .values({ repository_id: p('repositoryId'), name: p('name'), last_at: p('at'), pulls: p('pulls') })
    .onConflict((conflict) =>
      conflict.columns(['repository_id', 'name']).doUpdateSet((eb) => ({
        last_at: eb
          .case()
          .when('tag_pull.last_at', '>', eb.ref('excluded.last_at'))
          .then(eb.ref('tag_pull.last_at'))
          .else(eb.ref('excluded.last_at'))
          .end(),
        pulls: eb('tag_pull.pulls', '+', eb.ref('excluded.pulls')),
      })),
    ),
);
const addManifestPulls = query<{ repositoryId: number; digest: string; at: number; digestAt: number | null; pulls: number }>()(
  'addManifestPulls',
  (db, p) =>
    db
      .insertInto('manifest_pull')
      .values({ repository_id: p('repositoryId'), digest: p('digest'), last_at: p('at'), digest_at: p('digestAt'), pulls: p('pulls') })
      .onConflict((conflict) =>
        conflict.columns(['repository_id', 'digest']).doUpdateSet((eb) => ({
          last_at: eb
            .case()
            .when('manifest_pull.last_at', '>', eb.ref('excluded.last_at'))
            .then(eb.ref('manifest_pull.last_at'))
            .else(eb.ref('excluded.last_at'))
            .end(),
          digest_at: eb.fn.coalesce('excluded.digest_at', 'manifest_pull.digest_at'),
          pulls: eb('manifest_pull.pulls', '+', eb.ref('excluded.pulls')),
        })),
      ),
);

const purgeTagPulls = query<{ repositoryId: number; limit: number }>()('purgeTagPulls', (db, p) =>
  db
    .deleteFrom('tag_pull')
    .where('repository_id', '=', p('repositoryId'))
    .where('name', 'in', (eb) =>
      eb
        .selectFrom('tag_pull as old')
        .select('old.name')
        .where('old.repository_id', '=', p('repositoryId'))
        .orderBy('old.name')
        .limit(p('limit')),
    ),
);
const purgeManifestPulls = query<{ repositoryId: number; limit: number }>()('purgeManifestPulls', (db, p) =>
  db
    .deleteFrom('manifest_pull')
    .where('repository_id', '=', p('repositoryId'))
    .where('digest', 'in', (eb) =>
      eb
        .selectFrom('manifest_pull as old')
        .select('old.digest')
        .where('old.repository_id', '=', p('repositoryId'))
        .orderBy('old.digest')
        .limit(p('limit')),
    ),
);

const placeOf = query<{ id: number }>()('placeOf', (db, p) =>
  db.selectFrom('repository').select(['name', 'project_id as projectId']).where('id', '=', p('id')).where('deleted_at', 'is', null),
);

/** Forgets pulls of a repository that is cleared away; gives how many rows, `limit` of each kind at most. */
export async function purgePulls(tx: Session, repositoryId: number, limit: number): Promise<number> {
  return (await tx.run(purgeTagPulls, { repositoryId, limit })) + (await tx.run(purgeManifestPulls, { repositoryId, limit }));
}

const FLUSH_MS = 5000;
/** What is remembered between two writes; beyond it pulls are not counted, but none waits. */
const MOST = 20_000;
const BATCH = 500;
/** For so long who asked where a tag leads is taken to pull that tag when it fetches the digest. */
const ASKED_MS = 5 * 60_000;
const ASKED_MOST = 10_000;
/** Events of pulls that are remembered between two writes, and told at one; of more nobody is told. */
const EVENTS_MOST = 5000;
const TOLD_MOST = 1000;

export interface Pull {
  readonly repositoryId: number;
  readonly digest: string;
  /** undefined: by its digest. */
  readonly tag: string | undefined;
  /** Who, and from where. */
  readonly client: string;
  /** Name of who pulls. */
  readonly by: string;
}

/** Where pulls are told, without delay; nobody waits for them to be written. */
export interface PullNotes {
  /** Somebody asked by HEAD where a tag leads: what it does next is to fetch that digest, as containerd does. */
  asked(pull: Pull): void;
  pulled(pull: Pull): void;
  /** Writes what is remembered. */
  flush(): Promise<void>;
}

/** Of which projects somebody wants to be told of pulls; asked before each write, never by who pulls. */
export type PullListeners = (session: Session) => Promise<ReadonlySet<number> | 'all'>;

interface Told {
  readonly repositoryId: number;
  readonly digest: string;
  readonly tag: string | undefined;
  readonly by: string;
  pulls: number;
}

interface Counted {
  readonly repositoryId: number;
  readonly name: string;
  at: number;
  digestAt: number | null;
  pulls: number;
}

/** Remembers pulls, as many as make sense, and writes them together every few seconds. What a crash loses are those of the last seconds. */
export function createPullNotes({
  database,
  clock,
  listeners = () => Promise.resolve(new Set()),
}: {
  readonly database: Database;
  readonly clock: Clock;
  readonly listeners?: PullListeners;
}): PullNotes {
  let tags = new Map<string, Counted>();
  let manifests = new Map<string, Counted>();
  let events = new Map<string, Told>();
  let timer: NodeJS.Timeout | undefined;
  let writing: Promise<void> = Promise.resolve();
  const asked = new LRUCache<string, string>({ max: ASKED_MOST, ttl: ASKED_MS });
  const askedKey = ({ repositoryId, digest, client }: Pull) => `${repositoryId} ${digest} ${client}`;

  function count(into: Map<string, Counted>, repositoryId: number, name: string, byDigest: boolean): void {
    const key = `${repositoryId} ${name}`;
    const at = clock.now();
    const known = into.get(key);
    if (known) {
      known.at = at;
      known.pulls++;
      if (byDigest) known.digestAt = at;
    } else if (into.size < MOST) into.set(key, { repositoryId, name, at, digestAt: byDigest ? at : null, pulls: 1 });
    timer ??= setTimeout(() => void flush(), FLUSH_MS).unref();
  }

  function remember({ repositoryId, digest, by }: Pull, tag: string | undefined): void {
    const key = `${repositoryId} ${digest} ${tag ?? ''} ${by}`;
    const known = events.get(key);
    if (known) known.pulls++;
    else if (events.size < EVENTS_MOST) events.set(key, { repositoryId, digest, tag, by, pulls: 1 });
  }

  async function tell(told: readonly Told[]): Promise<void> {
    const heard = told.length === 0 ? new Set<number>() : await listeners(database);
    if (heard !== 'all' && heard.size === 0) return;
    const places = new Map<number, { readonly name: string; readonly projectId: number } | undefined>();
    const wanted: { readonly name: string; readonly event: CatalogEvent }[] = [];
    for (const { repositoryId, digest, tag, by, pulls } of told) {
      if (!places.has(repositoryId)) places.set(repositoryId, await database.first(placeOf, { id: repositoryId }));
      const place = places.get(repositoryId);
      if (!place || (heard !== 'all' && !heard.has(place.projectId))) continue;
      const payload = { digest, tags: tag === undefined ? [] : [tag], pulls, by };
      wanted.push({ name: place.name, event: { topic: 'manifest.pulled', payload } });
      if (wanted.length === TOLD_MOST) break;
    }
    for (let from = 0; from < wanted.length; from += BATCH) {
      await database.write(
        async (tx) => {
          for (const { name, event } of wanted.slice(from, from + BATCH)) await append(tx, { ...event, repository: name }, clock.now());
        },
        { durable: false, scope: ['pulls'] },
      );
    }
  }

  async function write(): Promise<void> {
    const [ofTags, ofManifests, told] = [[...tags.values()], [...manifests.values()], [...events.values()]];
    tags = new Map();
    manifests = new Map();
    events = new Map();
    // In one order, so that processes that write at once do not wait for each other in a circle.
    for (const list of [ofTags, ofManifests]) list.sort((a, b) => a.repositoryId - b.repositoryId || (a.name < b.name ? -1 : 1));
    const options = { durable: false, scope: ['pulls'] };
    for (let from = 0; from < ofTags.length; from += BATCH) {
      await database.write(async (tx) => {
        for (const { digestAt: _, ...row } of ofTags.slice(from, from + BATCH)) await tx.run(addTagPulls, row);
      }, options);
    }
    for (let from = 0; from < ofManifests.length; from += BATCH) {
      await database.write(async (tx) => {
        for (const { name, ...row } of ofManifests.slice(from, from + BATCH)) await tx.run(addManifestPulls, { ...row, digest: name });
      }, options);
    }
    await tell(told);
  }

  function flush(): Promise<void> {
    clearTimeout(timer);
    timer = undefined;
    // Statistics: what cannot be written is not worth a failure.
    writing = writing.then(write).catch(() => undefined);
    return writing;
  }

  return {
    asked(pull) {
      if (pull.tag !== undefined) asked.set(askedKey(pull), pull.tag);
    },
    pulled(pull) {
      const tag = pull.tag ?? asked.get(askedKey(pull));
      if (tag !== undefined) count(tags, pull.repositoryId, tag, false);
      count(manifests, pull.repositoryId, pull.digest, tag === undefined);
      remember(pull, tag);
    },
    flush,
  };
}

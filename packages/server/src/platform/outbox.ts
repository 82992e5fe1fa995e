import type { Generated } from 'kysely';
import type { Clock } from './clock.ts';
import { type Database, type Migration, queriesOf, type Session } from './database/index.ts';
import type { JobDefinition } from './jobs/index.ts';

interface OutboxTables {
  outbox_event: { id: Generated<number>; topic: string; repository: string; payload: string; created_at: number };
  /** Bookmarks: each consumer has seen all events up to its position. */
  outbox_consumer: { name: string; position: number; seen_at: number };
}

export const outboxMigrations: readonly Migration[] = [
  {
    name: '0001-outbox',
    up: ({ db }) => [
      db.schema
        .createTable('outbox_event')
        .addColumn('id', 'integer', (c) => c.primaryKey().autoIncrement())
        .addColumn('topic', 'text', (c) => c.notNull())
        .addColumn('repository', 'text', (c) => c.notNull())
        .addColumn('payload', 'text', (c) => c.notNull())
        .addColumn('created_at', 'bigint', (c) => c.notNull()),
      db.schema
        .createTable('outbox_consumer')
        .addColumn('name', 'text', (c) => c.primaryKey())
        .addColumn('position', 'bigint', (c) => c.notNull())
        .addColumn('seen_at', 'bigint', (c) => c.notNull()),
    ],
  },
];

const query = queriesOf<OutboxTables>('outbox');

const insertEvent = query<{ topic: string; repository: string; payload: string; now: number }>()('append', (db, p) =>
  db.insertInto('outbox_event').values({ topic: p('topic'), repository: p('repository'), payload: p('payload'), created_at: p('now') }),
);
const newestEvent = query()('newest', (db) => db.selectFrom('outbox_event').select('id').orderBy('id', 'desc').limit(1));
const eventsAfter = query<{ position: number; limit: number }>()('eventsAfter', (db, p) =>
  db
    .selectFrom('outbox_event')
    .select(['id', 'topic', 'repository', 'payload', 'created_at as at'])
    .where('id', '>', p('position'))
    .orderBy('id')
    .limit(p('limit')),
);
const positionOf = query<{ name: string }>()('position', (db, p) =>
  db.selectFrom('outbox_consumer').select('position').where('name', '=', p('name')),
);
const savePosition = query<{ name: string; position: number; now: number }>()('savePosition', (db, p) =>
  db
    .insertInto('outbox_consumer')
    .values({ name: p('name'), position: p('position'), seen_at: p('now') })
    .onConflict((conflict) =>
      conflict.column('name').doUpdateSet((eb) => ({ position: eb.ref('excluded.position'), seen_at: eb.ref('excluded.seen_at') })),
    ),
);
const touchConsumer = query<{ name: string; now: number }>()('touchConsumer', (db, p) =>
  db
    .insertInto('outbox_consumer')
    .values({ name: p('name'), position: 0, seen_at: p('now') })
    .onConflict((conflict) => conflict.column('name').doUpdateSet((eb) => ({ seen_at: eb.ref('excluded.seen_at') }))),
);
const forgetConsumers = query<{ before: number }>()('forgetConsumers', (db, p) =>
  db.deleteFrom('outbox_consumer').where('seen_at', '<', p('before')),
);
const slowestPosition = query()('slowestPosition', (db) =>
  db.selectFrom('outbox_consumer').select('position').orderBy('position').limit(1),
);
const pruneSeen = query<{ position: number; limit: number }>()('pruneSeen', (db, p) =>
  db
    .deleteFrom('outbox_event')
    .where('id', 'in', (eb) =>
      eb.selectFrom('outbox_event as old').select('old.id').where('old.id', '<=', p('position')).orderBy('old.id').limit(p('limit')),
    ),
);
/** Ids rise with time, so only the oldest few are looked at. */
const pruneOld = query<{ before: number; limit: number }>()('pruneOld', (db, p) =>
  db
    .deleteFrom('outbox_event')
    .where('id', 'in', (eb) => eb.selectFrom('outbox_event as old').select('old.id').orderBy('old.id').limit(p('limit')))
    .where('created_at', '<', p('before')),
);

/** Something that happened in a repository, as a change announces it. */
export interface NewEvent {
  readonly topic: string;
  readonly repository: string;
  /** Anything that JSON can carry. */
  readonly payload: unknown;
}

/** An event as its consumers see it. */
export interface OutboxEvent extends NewEvent {
  /** Rises from event to event; the same at each delivery of one event. */
  readonly id: number;
  /** Milliseconds since 1970. */
  readonly at: number;
}

/**
 * Announces something in the transaction of the change itself: the event exists if and only if the change does.
 * Events become visible in the order of their ids; consumers rely on that.
 */
export async function append(tx: Session, { topic, repository, payload }: NewEvent, now: number): Promise<void> {
  const event = { topic, repository, payload: JSON.stringify(payload), now };
  await tx.inOrder(async () => void (await tx.run(insertEvent, event)));
}

export interface OutboxConsumer {
  /** Name of its bookmark; keep it for ever. */
  readonly name: string;
  /** What it wants to hear of; absent: everything. */
  readonly topics?: readonly string[];
  /**
   * Takes one event. Where it fails the same event comes again later, with growing pauses, and none after it before, of
   * whatever repository: work that is slow or may fail for long belongs into a job, which this only enqueues.
   */
  handle(event: OutboxEvent, signal: AbortSignal): Promise<void>;
}

const BATCH = 100;
const DAY_MS = 24 * 3_600_000;
const UNHEARD_KEPT_MS = 7 * DAY_MS;
/** Nothing is kept for longer, whoever has not seen it. */
const KEPT_MS = 30 * DAY_MS;
const PRUNE_BATCH = 500;

/** The job that brings a consumer its events: in order, at least once, over all processes one delivery at a time. */
export function outboxDelivery(database: Database, clock: Clock, consumer: OutboxConsumer): JobDefinition {
  const { name, topics } = consumer;
  const position = async () => (await database.first(positionOf, { name }))?.position ?? 0;
  return {
    kind: `outbox.${name}`,
    schedule: { everyMs: 0 },
    maxAttempts: Number.POSITIVE_INFINITY,
    ready: async () => ((await database.first(newestEvent, {}))?.id ?? 0) > (await position()),
    async run(_, { signal, hold }) {
      for (let seen = await position(); ; ) {
        const events = await database.all(eventsAfter, { position: seen, limit: BATCH });
        if (events.length === 0) return;
        const before = seen;
        try {
          for (const event of events) {
            signal.throwIfAborted();
            if (topics === undefined || topics.includes(event.topic)) {
              await consumer.handle({ ...event, payload: JSON.parse(event.payload) }, signal);
            }
            seen = event.id;
          }
        } finally {
          const reached = seen;
          if (reached > before) {
            await database.write(
              async (tx) => {
                await hold(tx);
                await tx.run(savePosition, { name, position: reached, now: clock.now() });
              },
              { durable: false, scope: [`outbox:${name}`] },
            );
          }
        }
      }
    },
  };
}

/**
 * Forgets events that every consumer has seen, or that are seven days old where there is no consumer, or 30 in any case;
 * and bookmarks of consumers that no running version has known for 30 days. `consumers` are those of this version.
 */
export async function pruneOutbox(database: Database, consumers: readonly string[], now: number, signal: AbortSignal): Promise<void> {
  await database.write(
    async (tx) => {
      for (const name of consumers) await tx.run(touchConsumer, { name, now });
      await tx.run(forgetConsumers, { before: now - KEPT_MS });
    },
    { durable: false, scope: consumers.map((name) => `outbox:${name}`) },
  );
  const slowest = (await database.first(slowestPosition, {}))?.position;
  const old = now - (slowest === undefined ? UNHEARD_KEPT_MS : KEPT_MS);
  for (let removed = PRUNE_BATCH; removed >= PRUNE_BATCH && !signal.aborted; ) {
    removed = await database.write(
      async (tx) =>
        (await tx.run(pruneOld, { before: old, limit: PRUNE_BATCH })) +
        (slowest === undefined ? 0 : await tx.run(pruneSeen, { position: slowest, limit: PRUNE_BATCH })),
      { durable: false, scope: ['outbox'] },
    );
  }
}

/** How many events the slowest consumer has still to see; 0 where there is none. */
export async function outboxBacklog(session: Session): Promise<number> {
  const slowest = (await session.first(slowestPosition, {}))?.position;
  const newest = (await session.first(newestEvent, {}))?.id;
  return slowest === undefined || newest === undefined ? 0 : newest - slowest;
}

import { BEFORE_ALL, type Order, queriesOf, type Session } from '../../platform/index.ts';
import type { WebhookTables } from './schema.ts';
import type { DeliveryState, EventName, WebhookFormat } from './words.ts';

const query = queriesOf<WebhookTables>('webhooks');

const LISTED = [
  'id',
  'webhook_id as webhookId',
  'event_id as eventId',
  'repetition',
  'event',
  'format',
  'state',
  'attempts',
  'next_at as nextAt',
  'status',
  'duration_ms as durationMs',
  'error',
  'created_at as createdAt',
  'attempted_at as attemptedAt',
] as const;

/** A delivery without what is sent. */
export interface Delivery {
  readonly id: number;
  readonly webhookId: number;
  readonly eventId: string;
  readonly repetition: number;
  readonly event: string;
  readonly format: WebhookFormat;
  readonly state: DeliveryState;
  readonly attempts: number;
  readonly nextAt: number | null;
  readonly status: number | null;
  readonly durationMs: number | null;
  readonly error: string | null;
  readonly createdAt: number;
  readonly attemptedAt: number | null;
}

const insertDelivery = query<{
  webhookId: number;
  eventId: string;
  repetition: number;
  event: string;
  format: WebhookFormat;
  body: string;
  now: number;
}>()('insertDelivery', (db, p) =>
  db
    .insertInto('webhook_delivery')
    .values({
      webhook_id: p('webhookId'),
      event_id: p('eventId'),
      repetition: p('repetition'),
      event: p('event'),
      format: p('format'),
      body: p('body'),
      state: 'waiting',
      attempts: 0,
      next_at: p('now'),
      created_at: p('now'),
    })
    .onConflict((conflict) => conflict.columns(['webhook_id', 'event_id', 'repetition']).doNothing())
    .returning('id'),
);
const deliveryById = query<{ id: number; webhookId: number }>()('delivery', (db, p) =>
  db
    .selectFrom('webhook_delivery')
    .select([...LISTED, 'body'])
    .where('id', '=', p('id'))
    .where('webhook_id', '=', p('webhookId')),
);
const lastRepetition = query<{ webhookId: number; eventId: string }>()('lastRepetition', (db, p) =>
  db
    .selectFrom('webhook_delivery')
    .select('repetition')
    .where('webhook_id', '=', p('webhookId'))
    .where('event_id', '=', p('eventId'))
    .orderBy('repetition', 'desc')
    .limit(1),
);
const listDeliveries = (name: string, order: Order) =>
  query<{ webhookId: number; last: number; state: string; event: string; limit: number }>()(name, (db, p) =>
    db
      .selectFrom('webhook_delivery')
      .select(LISTED)
      .where('webhook_id', '=', p('webhookId'))
      .where('id', order === 'asc' ? '>' : '<', p('last'))
      .where((eb) => eb.or([eb(p('state'), '=', ''), eb(eb.ref('state'), '=', p('state') as never)]))
      .where((eb) => eb.or([eb(p('event'), '=', ''), eb('event', '=', p('event'))]))
      .orderBy('id', order)
      .limit(p('limit')),
  );
const lists = { asc: listDeliveries('deliveries', 'asc'), desc: listDeliveries('deliveriesDown', 'desc') } as const;
const dueWebhooks = query<{ now: number; limit: number }>()('dueWebhooks', (db, p) =>
  db
    .selectFrom('webhook_delivery')
    .select('webhook_id as webhookId')
    .distinct()
    .where('next_at', '<=', p('now'))
    .orderBy('webhook_id')
    .limit(p('limit')),
);
const anyDue = query<{ now: number }>()('anyDue', (db, p) =>
  db.selectFrom('webhook_delivery').select('id').where('next_at', '<=', p('now')).limit(1),
);
const dueOfWebhook = query<{ webhookId: number; now: number; limit: number }>()('dueOfWebhook', (db, p) =>
  db
    .selectFrom('webhook_delivery')
    .select([...LISTED, 'body'])
    .where('webhook_id', '=', p('webhookId'))
    .where('next_at', '<=', p('now'))
    .orderBy('next_at')
    .orderBy('id')
    .limit(p('limit')),
);
/** Only where no other run has tried it meanwhile. */
const settleAttempt = query<{
  id: number;
  attempts: number;
  state: DeliveryState;
  nextAt: number | null;
  status: number | null;
  durationMs: number;
  error: string | null;
  now: number;
}>()('settleAttempt', (db, p) =>
  db
    .updateTable('webhook_delivery')
    .set((eb) => ({
      state: p('state'),
      attempts: eb('attempts', '+', 1),
      next_at: p('nextAt'),
      status: p('status'),
      duration_ms: p('durationMs'),
      error: p('error'),
      attempted_at: p('now'),
    }))
    .where('id', '=', p('id'))
    .where('attempts', '=', p('attempts'))
    .where('state', '=', 'waiting'),
);
const giveUpWaiting = query<{ webhookId: number; error: string }>()('giveUpWaiting', (db, p) =>
  db
    .updateTable('webhook_delivery')
    .set({ state: 'failed', next_at: null, error: p('error') })
    .where('webhook_id', '=', p('webhookId'))
    .where('state', '=', 'waiting'),
);
const hastenWaiting = query<{ webhookId: number; now: number }>()('hastenWaiting', (db, p) =>
  db
    .updateTable('webhook_delivery')
    .set({ next_at: p('now') })
    .where('webhook_id', '=', p('webhookId'))
    .where('state', '=', 'waiting')
    .where('next_at', '>', p('now')),
);
const webhooksWithLog = query<{ last: number; limit: number }>()('webhooksWithLog', (db, p) =>
  db.selectFrom('webhook').select('id').where('id', '>', p('last')).orderBy('id').limit(p('limit')),
);
const nthNewest = query<{ webhookId: number; kept: number }>()('nthNewest', (db, p) =>
  db.selectFrom('webhook_delivery').select('id').where('webhook_id', '=', p('webhookId')).orderBy('id', 'desc').limit(1).offset(p('kept')),
);
const pruneBeyond = query<{ webhookId: number; last: number; limit: number }>()('pruneBeyond', (db, p) =>
  db
    .deleteFrom('webhook_delivery')
    .where('id', 'in', (eb) =>
      eb
        .selectFrom('webhook_delivery as old')
        .select('old.id')
        .where('old.webhook_id', '=', p('webhookId'))
        .where('old.id', '<=', p('last'))
        .where('old.state', '!=', 'waiting')
        .limit(p('limit')),
    ),
);
const pruneOlder = query<{ before: number; limit: number }>()('pruneOlder', (db, p) =>
  db
    .deleteFrom('webhook_delivery')
    .where('id', 'in', (eb) =>
      eb
        .selectFrom('webhook_delivery as old')
        .select('old.id')
        .where('old.created_at', '<', p('before'))
        .where('old.state', '!=', 'waiting')
        .limit(p('limit')),
    ),
);

export { nthNewest, pruneBeyond, pruneOlder, settleAttempt, webhooksWithLog };

export interface NewDelivery {
  readonly webhookId: number;
  readonly eventId: string;
  readonly event: EventName;
  readonly format: WebhookFormat;
  readonly body: string;
}

/** Adds a delivery that is due at once; an event that a webhook has already is not added again. */
export async function addDelivery(tx: Session, delivery: NewDelivery, now: number): Promise<void> {
  await tx.run(insertDelivery, { ...delivery, repetition: 0, now });
}

/** Adds a delivery of the same event with the same body, due at once, and gives its id. */
export async function repeatDelivery(tx: Session, delivery: Delivery & { readonly body: string }, now: number): Promise<number> {
  const { webhookId, eventId, event, format, body } = delivery;
  const repetition = ((await tx.first(lastRepetition, { webhookId, eventId }))?.repetition ?? 0) + 1;
  const row = await tx.first(insertDelivery, { webhookId, eventId, event, format, body, repetition, now });
  if (!row) throw new Error('an inserted delivery has no id');
  return row.id;
}

/** A delivery of a webhook, with its body; undefined where it is none of its. */
export async function findDelivery(
  session: Session,
  webhookId: number,
  id: number,
): Promise<(Delivery & { readonly body: string }) | undefined> {
  return await session.first(deliveryById, { id, webhookId });
}

/** Deliveries of a webhook by age, after one of them. */
export async function pageOfDeliveries(
  session: Session,
  webhookId: number,
  page: { order: Order; last?: number | undefined; state?: string | undefined; event?: string | undefined; limit: number },
): Promise<Delivery[]> {
  const { order, last = BEFORE_ALL[order].number, state = '', event = '', limit } = page;
  return await session.all(lists[order], { webhookId, last, state, event, limit });
}

export async function isAnyDue(session: Session, now: number): Promise<boolean> {
  return (await session.first(anyDue, { now })) !== undefined;
}

/** Ids of webhooks with something to send. */
export async function webhooksDue(session: Session, now: number, limit: number): Promise<number[]> {
  return (await session.all(dueWebhooks, { now, limit })).map(({ webhookId }) => webhookId);
}

export async function deliveriesDue(
  session: Session,
  webhookId: number,
  now: number,
  limit: number,
): Promise<(Delivery & { readonly body: string })[]> {
  return await session.all(dueOfWebhook, { webhookId, now, limit });
}

/** Has all that waits tried at once. */
export async function hasten(tx: Session, webhookId: number, now: number): Promise<void> {
  await tx.run(hastenWaiting, { webhookId, now });
}

/** Gives up all that waits. */
export async function giveUp(tx: Session, webhookId: number, error: string): Promise<void> {
  await tx.run(giveUpWaiting, { webhookId, error });
}

import Type from 'typebox';
import type { Identity } from '../../access/index.ts';
import {
  AppError,
  type Clock,
  type Database,
  listOf,
  listQuery,
  PAGE_DEFAULT,
  pageOf,
  type Route,
  readCursor,
  routesFor,
  type Session,
  sortOf,
} from '../../platform/index.ts';
import { findDelivery, pageOfDeliveries, repeatDelivery } from './deliveries.ts';
import { requireWebhook, type WebhookPlace } from './places.ts';
import { DeliveryView, DeliveryWithBody, deliveryView } from './view.ts';
import { DELIVERY_STATES, EVENT_NAMES } from './words.ts';

const { read, change } = routesFor<Identity>();

type DeliveryPath = { readonly project?: string; readonly webhook: number; readonly delivery: number };

/** The delivery of a path, and its webhook. Throws `not_found` where it is none of that. */
async function requireDelivery(session: Session, params: DeliveryPath) {
  const webhook = await requireWebhook(session, params);
  const delivery = await findDelivery(session, webhook.id, params.delivery);
  if (!delivery) throw new AppError('not_found', `there is no delivery ${params.delivery}`);
  return { webhook, delivery };
}

/** What a webhook sent, and is to send. */
export function deliveryRoutesAt(
  { database }: { readonly database: Database; readonly clock: Clock },
  { path, where, seen, managed, ofWebhook, ofDelivery }: WebhookPlace,
): Route[] {
  const base = `${path}/:webhook/deliveries`;
  const tag = 'Webhooks';
  return [
    read({
      method: 'GET',
      path: base,
      summary: `List the deliveries of a webhook ${where}`,
      tag,
      permission: seen,
      params: ofWebhook,
      query: listQuery(['created'], {
        state: Type.Optional(Type.Enum([...DELIVERY_STATES])),
        event: Type.Optional(Type.Enum([...EVENT_NAMES])),
      }),
      answer: listOf(DeliveryView),
      async handle({ params, query: { limit = PAGE_DEFAULT, after, sort = '-created', state, event } }) {
        const { id } = await requireWebhook(database, params);
        const [last] = after === undefined ? [undefined] : readCursor(after, [0]);
        const rows = await pageOfDeliveries(database, id, { order: sortOf(sort).order, last, state, event, limit: limit + 1 });
        const { items, next } = pageOf(rows, limit, (row) => [row.id]);
        return { body: { items: items.map(deliveryView) }, next };
      },
    }),
    read({
      method: 'GET',
      path: `${base}/:delivery`,
      summary: `Read a delivery of a webhook ${where} with what is sent`,
      tag,
      permission: seen,
      params: ofDelivery,
      answer: DeliveryWithBody,
      async handle({ params }) {
        const { delivery } = await requireDelivery(database, params);
        return { body: { ...deliveryView(delivery), body: delivery.body } };
      },
    }),
    change({
      method: 'POST',
      path: `${base}/:delivery/redeliver`,
      summary: `Send once more what a webhook ${where} sent or gave up`,
      description: 'The same body with the same event id; it is tried as long as the first was, and has an entry of its own.',
      tag,
      permission: managed,
      audit: 'webhook.redeliver',
      params: ofDelivery,
      answer: DeliveryView,
      status: 202,
      async change(tx, { params, now }) {
        const { webhook, delivery } = await requireDelivery(tx, params);
        if (!webhook.enabled) throw new AppError('conflict', 'the webhook is not enabled');
        const made = await findDelivery(tx, webhook.id, await repeatDelivery(tx, delivery, now));
        if (!made) throw new Error('a delivery vanished in its own transaction');
        const { project } = params;
        const resource = { type: 'webhook', name: webhook.name, ...(project === undefined ? {} : { project }) };
        return { body: deliveryView(made), resource, after: { eventId: delivery.eventId, event: delivery.event } };
      },
    }),
  ];
}

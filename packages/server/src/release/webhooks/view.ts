import Type, { type Static } from 'typebox';
import { PLAIN_URL } from '../../platform/index.ts';
import type { Delivery } from './deliveries.ts';
import { liveSecrets, namesOf, type WebhookSecrets } from './secrets.ts';
import type { Webhook } from './store.ts';
import { DELIVERY_STATES, EVENT_NAMES, FORMATS } from './words.ts';

const Time = Type.String({ format: 'date-time' });
const Null = Type.Null();

export const Url = Type.String({
  maxLength: 2048,
  pattern: PLAIN_URL,
  description: 'http or https, without user, password, query and fragment; a query is one of the secrets',
});
export const Name = Type.String({ minLength: 1, maxLength: 64, pattern: '^[^\\x00-\\x1f\\x7f]+$' });
export const Format = Type.Enum([...FORMATS], { description: 'cloudevents: CloudEvents 1.0; harbor: the payload of Harbor' });
export const Events = Type.Array(Type.Enum([...EVENT_NAMES]), {
  minItems: 1,
  maxItems: EVENT_NAMES.length,
  uniqueItems: true,
  description: 'what it hears of; absent: all that the format can tell of but pulls',
});
export const Pattern = (of: string) => Type.String({ maxLength: 512, description: `pattern of ${of}; empty: any, and what has none` });

const settings = {
  name: Name,
  url: Url,
  format: Format,
  events: Events,
  repositories: Pattern('full repository names'),
  tags: Pattern('tags'),
  enabled: Type.Boolean(),
};
export const WebhookView = Type.Object({
  id: Type.Integer(),
  ...settings,
  secrets: Type.Array(Type.Enum(['authorization', 'query']), { description: 'which are set' }),
  signingSecrets: Type.Integer({ description: 'keys that deliveries are signed with: two while they rotate' }),
  failingSince: Type.Union([Time, Null], { description: 'the first failure that no success has followed' }),
  lastSuccessAt: Type.Union([Time, Null]),
  disabledReason: Type.Union([Type.String(), Null], { description: 'why the registry disabled it' }),
  createdAt: Time,
  createdBy: Type.String(),
});
export const WebhookWithSecret = Type.Object({
  ...WebhookView.properties,
  signingSecret: Type.Optional(Type.String({ description: 'key of the signatures; shown this once' })),
});
export const DeliveryView = Type.Object({
  id: Type.Integer(),
  eventId: Type.String({ description: 'the same at every delivery of one event' }),
  event: Type.String(),
  format: Format,
  redelivery: Type.Boolean({ description: 'somebody asked for it to be sent once more' }),
  state: Type.Enum([...DELIVERY_STATES]),
  attempts: Type.Integer(),
  nextAttemptAt: Type.Union([Time, Null]),
  status: Type.Union([Type.Integer(), Null], { description: 'what the receiver answered at the last attempt' }),
  durationMs: Type.Union([Type.Integer(), Null]),
  error: Type.Union([Type.String(), Null]),
  createdAt: Time,
  attemptedAt: Type.Union([Time, Null]),
});
export const DeliveryWithBody = Type.Object({ ...DeliveryView.properties, body: Type.String({ description: 'what is sent' }) });

const time = (at: number | null) => (at === null ? null : new Date(at).toISOString());

/** What somebody set of a webhook, for the audit record. */
export function settingsOf({ name, url, format, events, repositories, tags, enabled }: Webhook, secrets: WebhookSecrets) {
  return { name, url, format, events: [...events], repositories, tags, enabled, secrets: namesOf(secrets) };
}

export function viewOf(webhook: Webhook, secrets: WebhookSecrets, now: number): Static<typeof WebhookView> {
  const { id, failingSince, lastSuccessAt, disabledReason, createdAt, createdBy } = webhook;
  return {
    id,
    ...settingsOf(webhook, secrets),
    signingSecrets: liveSecrets(secrets, now).length,
    failingSince: time(failingSince),
    lastSuccessAt: time(lastSuccessAt),
    disabledReason,
    createdAt: new Date(createdAt).toISOString(),
    createdBy,
  };
}

export function deliveryView(delivery: Delivery): Static<typeof DeliveryView> {
  const { id, eventId, event, format, repetition, state, attempts, nextAt, status, durationMs, error, createdAt, attemptedAt } = delivery;
  return {
    ...{ id, eventId, event, format, redelivery: repetition > 0, state, attempts, status, durationMs, error },
    nextAttemptAt: time(nextAt),
    createdAt: new Date(createdAt).toISOString(),
    attemptedAt: time(attemptedAt),
  };
}

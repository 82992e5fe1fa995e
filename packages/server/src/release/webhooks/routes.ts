import Type from 'typebox';
import type { Identity } from '../../access/index.ts';
import { placeIdOf } from '../../catalog/routes.ts';
import {
  type AuditResource,
  type Clock,
  type Database,
  listOf,
  listQuery,
  newId,
  type Outbound,
  PAGE_DEFAULT,
  pageOf,
  type Route,
  readCursor,
  requireMatch,
  routesFor,
  type Seal,
} from '../../platform/index.ts';
import { giveUp, hasten } from './deliveries.ts';
import { deliveryRoutesAt } from './delivery-routes.ts';
import { payloadOf, type Told } from './payloads.ts';
import { PLACES, requireWebhook, type WebhookPlace } from './places.ts';
import { projectNameOf } from './project-name.ts';
import { changedSecrets, newSigningSecret, openSecrets, rotated, sealSecrets } from './secrets.ts';
import { SecretsInput } from './secrets-schema.ts';
import { type Outcome, sendMessage } from './send.ts';
import { checkSettings, checkUrl, leadsElsewhere } from './settings.ts';
import { addWebhook, changeWebhook, deleteWebhook, setSecrets, type Webhook, type WebhookSettings, webhooksOf } from './store.ts';
import { Events, Format, Name, Pattern, settingsOf, Url, viewOf, WebhookView, WebhookWithSecret } from './view.ts';
import { usualEventsOf } from './words.ts';

const choices = {
  format: Type.Optional(Format),
  events: Type.Optional(Events),
  repositories: Type.Optional(Pattern('full repository names')),
  tags: Type.Optional(Pattern('tags')),
  enabled: Type.Optional(Type.Boolean()),
  secrets: Type.Optional(SecretsInput),
};
const NewWebhook = Type.Object({ name: Name, url: Url, ...choices }, { additionalProperties: false });
const WebhookChange = Type.Object({ name: Type.Optional(Name), url: Type.Optional(Url), ...choices }, { additionalProperties: false });
const Rotation = Type.Object(
  {
    overlapHours: Type.Optional(
      Type.Integer({ minimum: 0, maximum: 168, default: 24, description: 'how long deliveries are signed with the secret before, too' }),
    ),
  },
  { additionalProperties: false },
);
const Ping = Type.Object({
  ok: Type.Boolean({ description: 'the receiver answered with 200 to 299' }),
  status: Type.Union([Type.Integer(), Type.Null()]),
  error: Type.Union([Type.String(), Type.Null()]),
  durationMs: Type.Integer(),
});

const { read, change } = routesFor<Identity>();
const HOUR_MS = 3_600_000;

export interface WebhookRouteParts {
  readonly database: Database;
  readonly outbound: Outbound;
  readonly webhookSeal: Seal;
  readonly clock: Clock;
  /** Address of this registry as clients know it. */
  readonly registry: string;
}

/** Webhooks of projects and of the system, and what they sent. */
export function webhookRoutes(parts: WebhookRouteParts): Route[] {
  return PLACES.flatMap((place) => [...routesAt(parts, place), ...deliveryRoutesAt(parts, place)]);
}

const etagOf = ({ id, version }: Webhook) => `${id}.${version}`;

function resourceOf({ name }: Webhook, project: string | undefined): AuditResource {
  return { type: 'webhook', name, ...(project === undefined ? {} : { project }) };
}

function routesAt(parts: WebhookRouteParts, { path, where, seen, managed, ofPlace, ofWebhook }: WebhookPlace): Route[] {
  const { database, outbound, webhookSeal: seal, clock, registry } = parts;
  const tag = 'Webhooks';
  const one = `${path}/:webhook`;
  const show = (webhook: Webhook) => viewOf(webhook, openSecrets(seal, webhook), clock.now());
  const told = (webhook: Webhook) => settingsOf(webhook, openSecrets(seal, webhook));

  return [
    read({
      method: 'GET',
      path,
      summary: `List the webhooks ${where}`,
      tag,
      permission: seen,
      params: ofPlace,
      query: listQuery(['name'], {}),
      answer: listOf(WebhookView),
      async handle({ params, query: { limit = PAGE_DEFAULT, after, sort = 'name' } }) {
        const [last] = after === undefined ? [undefined] : readCursor(after, ['']);
        const all = await webhooksOf(database, await placeIdOf(database, params)); // few, by the limit at creation
        if (sort === '-name') all.reverse();
        const from = last === undefined ? 0 : all.findIndex(({ name }) => (sort === '-name' ? name < last : name > last));
        const { items, next } = pageOf(from < 0 ? [] : all.slice(from), limit, ({ name }) => [name]);
        return { body: { items: items.map(show) }, next };
      },
    }),
    read({
      method: 'GET',
      path: one,
      summary: `Read a webhook ${where}`,
      tag,
      permission: seen,
      params: ofWebhook,
      answer: WebhookView,
      async handle({ params }) {
        const webhook = await requireWebhook(database, params);
        return { body: show(webhook), etag: etagOf(webhook) };
      },
    }),
    change({
      method: 'POST',
      path,
      summary: `Make a webhook ${where}`,
      description: 'The answer holds the secret that deliveries are signed with, which is shown this once.',
      tag,
      permission: managed,
      audit: 'webhook.create',
      params: ofPlace,
      body: NewWebhook,
      answer: WebhookWithSecret,
      status: 201,
      async change(tx, { params, body, caller, now }) {
        const { name, url, format = 'cloudevents', repositories = '', tags = '', enabled = true, secrets: given = {} } = body;
        const { events = usualEventsOf(format) } = body;
        const settings: WebhookSettings = { name, url, format, events, repositories, tags, enabled };
        const placeId = await placeIdOf(tx, params);
        checkUrl(url);
        await checkSettings(tx, placeId, settings);
        const id = await addWebhook(tx, placeId, settings, { by: caller.actor.name, now });
        const signingSecret = newSigningSecret();
        const secrets = changedSecrets({ signing: [{ secret: signingSecret, endsAt: null }] }, given, false);
        await setSecrets(tx, id, sealSecrets(seal, id, secrets), false);
        const webhook = await requireWebhook(tx, { ...params, webhook: id });
        const view = show(webhook);
        const resource = resourceOf(webhook, params.project);
        return { body: { ...view, signingSecret }, replay: view, etag: etagOf(webhook), resource, after: told(webhook) };
      },
    }),
    change({
      method: 'PATCH',
      path: one,
      summary: `Change a webhook ${where}`,
      description:
        'What waits is tried at once, or given up where it is disabled. Where the address leads to another server, the secrets must be given again: those known are not sent there.',
      tag,
      permission: managed,
      audit: 'webhook.update',
      params: ofWebhook,
      body: WebhookChange,
      answer: WebhookView,
      async change(tx, call) {
        const { params, body, now } = call;
        const before = await requireWebhook(tx, params);
        requireMatch(call, etagOf(before));
        const { secrets: given = {}, ...wanted } = body;
        const { format = before.format } = wanted;
        const events = wanted.events ?? (format === before.format ? before.events : usualEventsOf(format));
        const settings: WebhookSettings = { ...before, ...wanted, format, events };
        checkUrl(settings.url);
        await checkSettings(tx, before.projectId, settings, before);
        const known = openSecrets(seal, before);
        const secrets = changedSecrets(known, given, leadsElsewhere(settings.url, before.url));
        await changeWebhook(tx, before, settings, now);
        await setSecrets(tx, before.id, sealSecrets(seal, before.id, secrets), false);
        if (settings.enabled) await hasten(tx, before.id, now);
        else await giveUp(tx, before.id, 'the webhook was disabled');
        const after = await requireWebhook(tx, params);
        const resource = resourceOf(after, params.project);
        return { body: show(after), etag: etagOf(after), resource, before: settingsOf(before, known), after: told(after) };
      },
    }),
    change({
      method: 'DELETE',
      path: one,
      summary: `Delete a webhook ${where} with its deliveries`,
      tag,
      permission: managed,
      audit: 'webhook.delete',
      params: ofWebhook,
      async change(tx, call) {
        const webhook = await requireWebhook(tx, call.params);
        requireMatch(call, etagOf(webhook));
        await deleteWebhook(tx, webhook.id);
        return { resource: resourceOf(webhook, call.params.project), before: told(webhook) };
      },
    }),
    change({
      method: 'POST',
      path: `${one}/rotate`,
      summary: `Give a webhook ${where} another secret to sign with`,
      description: 'The answer holds the secret, which is shown this once. For some hours deliveries are signed with the one before, too.',
      tag,
      permission: managed,
      audit: 'webhook.rotate',
      params: ofWebhook,
      body: Rotation,
      answer: WebhookWithSecret,
      async change(tx, call) {
        const { params, body, now } = call;
        const before = await requireWebhook(tx, params);
        requireMatch(call, etagOf(before));
        const signingSecret = newSigningSecret();
        const secrets = rotated(openSecrets(seal, before), signingSecret, now + (body.overlapHours ?? 24) * HOUR_MS);
        await setSecrets(tx, before.id, sealSecrets(seal, before.id, secrets), true);
        const after = await requireWebhook(tx, params);
        const view = show(after);
        const resource = resourceOf(after, params.project);
        return { body: { ...view, signingSecret }, replay: view, etag: etagOf(after), resource, after: told(after) };
      },
    }),
    change({
      method: 'POST',
      path: `${one}/ping`,
      summary: `Send a test event to a webhook ${where}, and tell what became of it`,
      description: 'It is sent once, whether the webhook is enabled or not, and stands in no log. Of the answer only the status is told.',
      tag,
      permission: managed,
      audit: 'webhook.ping',
      params: ofWebhook,
      answer: Ping,
      async prepare({ params, caller, now }): Promise<Outcome> {
        const webhook = await requireWebhook(database, params);
        const project = (await projectNameOf(database, webhook)) ?? 'example';
        const event = pingOf(webhook, project, caller.actor.name, now);
        const around = { registry, isPublic: false, repositoryCreatedAt: undefined };
        const { format } = webhook;
        const message = { eventId: event.id, event: 'ping', format, body: payloadOf(format, event, around), attempt: 1 };
        return await sendMessage({ outbound, clock }, webhook.url, openSecrets(seal, webhook), message);
      },
      async change(tx, { params }, outcome: Outcome) {
        const webhook = await requireWebhook(tx, params);
        return { body: { ...outcome }, resource: resourceOf(webhook, params.project), after: { ...outcome } };
      },
    }),
  ];
}

/** An event that looks as others do, so that what receives it can be tried; its digest is that of nothing. */
function pingOf({ format }: Webhook, project: string, actor: string, now: number): Told {
  const common = { id: `ping-${newId()}`, at: now, actor, project };
  if (format === 'cloudevents') return { ...common, name: 'ping' };
  const digest = 'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
  return { ...common, name: 'artifact.pushed', repository: `${project}/ping`, digest, tags: ['ping'] };
}

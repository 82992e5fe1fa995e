import { findProject } from '../../catalog/index.ts';
import { type Clock, compileGlob, type Database, type Glob, type OutboxConsumer, queriesOf } from '../../platform/index.ts';
import { addDelivery } from './deliveries.ts';
import { type HookEvent, hookEventOf } from './events.ts';
import { payloadOf } from './payloads.ts';
import { listeners, type Webhook } from './store.ts';
import { TOPICS } from './words.ts';

const query = queriesOf<{ repository: { name: string; created_at: number } }>('webhooks');
const repositoryCreated = query<{ name: string }>()('repositoryCreated', (db, p) =>
  db.selectFrom('repository').select('created_at as at').where('name', '=', p('name')),
);

export interface ConsumerParts {
  readonly database: Database;
  readonly clock: Clock;
  /** Address of this registry as clients know it. */
  readonly registry: string;
}

/**
 * Makes of each event a delivery to every webhook that wants it, in one transaction; sending them is not done here. An event that
 * comes twice makes no second delivery.
 */
export function webhookConsumer({ database, clock, registry }: ConsumerParts): OutboxConsumer {
  return {
    name: 'webhooks',
    topics: Object.keys(TOPICS),
    async handle(announced) {
      const event = hookEventOf(announced);
      if (event === undefined) return;
      const project = event.project === undefined ? undefined : await findProject(database, event.project);
      const webhooks = (await listeners(database, project?.id ?? null)).filter((webhook) => wants(webhook, event));
      if (webhooks.length === 0) return;
      const created = event.repository === undefined ? undefined : await database.first(repositoryCreated, { name: event.repository });
      const around = { registry, isPublic: project?.public ?? false, repositoryCreatedAt: created?.at };
      const { id: eventId, name } = event;
      const deliveries = webhooks.map(({ id, format }) => {
        return { webhookId: id, eventId, event: name, format, body: payloadOf(format, event, around) };
      });
      await database.write(
        async (tx) => {
          for (const delivery of deliveries) await addDelivery(tx, delivery, clock.now());
        },
        { durable: false, scope: deliveries.map(({ webhookId }) => `webhook:${webhookId}`) },
      );
    },
  };
}

/**
 * Whether a webhook is to hear of an event: of none before it was made, as the name of its project may have been another's. A
 * pattern is met only by an event that has what it asks for.
 */
function wants({ events, repositories, tags, listensFrom }: Webhook, event: HookEvent): boolean {
  if (event.at < listensFrom || !events.includes(event.name)) return false;
  if (repositories !== '' && (event.repository === undefined || !globOf(repositories)(event.repository))) return false;
  if (tags === '') return true;
  const given = event.tag === undefined ? (event.tags ?? []) : [event.tag];
  return given.some(globOf(tags));
}

const GLOBS = new Map<string, Glob>();
const GLOBS_MOST = 1000;

function globOf(pattern: string): Glob {
  let glob = GLOBS.get(pattern);
  if (glob === undefined) {
    glob = compileGlob(pattern);
    if (GLOBS.size >= GLOBS_MOST) GLOBS.clear();
    GLOBS.set(pattern, glob);
  }
  return glob;
}

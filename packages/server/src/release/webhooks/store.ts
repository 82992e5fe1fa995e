import { queriesOf, type Session } from '../../platform/index.ts';
import type { WebhookTables } from './schema.ts';
import { type EventName, PULLED, usualEventsOf, type WebhookFormat } from './words.ts';

const query = queriesOf<WebhookTables>('webhooks');

const COLUMNS = [
  'id',
  'project_id as projectId',
  'name',
  'url',
  'format',
  'events',
  'repositories',
  'tags',
  'secrets',
  'enabled',
  'listens_from as listensFrom',
  'failing_since as failingSince',
  'last_success_at as lastSuccessAt',
  'disabled_reason as disabledReason',
  'created_at as createdAt',
  'created_by as createdBy',
  'version',
] as const;

export interface Webhook {
  readonly id: number;
  /** null: of the system. */
  readonly projectId: number | null;
  readonly name: string;
  readonly url: string;
  readonly format: WebhookFormat;
  readonly events: readonly EventName[];
  /** Patterns; empty: any. */
  readonly repositories: string;
  readonly tags: string;
  /** Sealed. */
  readonly secrets: string;
  readonly enabled: boolean;
  readonly listensFrom: number;
  readonly failingSince: number | null;
  readonly lastSuccessAt: number | null;
  readonly disabledReason: string | null;
  readonly createdAt: number;
  readonly createdBy: string;
  readonly version: number;
}

/** What somebody sets. */
export type WebhookSettings = Pick<Webhook, 'name' | 'url' | 'format' | 'events' | 'repositories' | 'tags' | 'enabled'>;

const ofSystem = query()('ofSystem', (db) => db.selectFrom('webhook').select(COLUMNS).where('project_id', 'is', null).orderBy('name'));
const ofProject = query<{ projectId: number }>()('ofProject', (db, p) =>
  db.selectFrom('webhook').select(COLUMNS).where('project_id', '=', p('projectId')).orderBy('name'),
);
const byId = query<{ id: number }>()('byId', (db, p) => db.selectFrom('webhook').select(COLUMNS).where('id', '=', p('id')));
const byIdIn = query<{ id: number; projectId: number }>()('byIdIn', (db, p) =>
  db
    .selectFrom('webhook')
    .select(COLUMNS)
    .where('id', '=', p('id'))
    .where((eb) => eb(eb.fn.coalesce('project_id', eb.lit(0)), '=', p('projectId'))),
);
const insertWebhook = query<SettingsColumns & { projectId: number | null; now: number; by: string }>()('insert', (db, p) =>
  db
    .insertInto('webhook')
    .values({
      project_id: p('projectId'),
      name: p('name'),
      url: p('url'),
      format: p('format'),
      events: p('events'),
      repositories: p('repositories'),
      tags: p('tags'),
      secrets: '',
      enabled: p('enabled'),
      hears_pulls: p('hearsPulls'),
      listens_from: p('now'),
      created_at: p('now'),
      created_by: p('by'),
      version: 1,
    })
    .returning('id'),
);
const updateWebhook = query<SettingsColumns & { id: number; listensFrom: number }>()('update', (db, p) =>
  db
    .updateTable('webhook')
    .set((eb) => ({
      name: p('name'),
      url: p('url'),
      format: p('format'),
      events: p('events'),
      repositories: p('repositories'),
      tags: p('tags'),
      enabled: p('enabled'),
      hears_pulls: p('hearsPulls'),
      listens_from: p('listensFrom'),
      failing_since: null,
      disabled_reason: null,
      version: eb('version', '+', 1),
    }))
    .where('id', '=', p('id')),
);
const updateSecrets = query<{ id: number; secrets: string; step: number }>()('updateSecrets', (db, p) =>
  db
    .updateTable('webhook')
    .set((eb) => ({ secrets: p('secrets'), version: eb('version', '+', p('step')) }))
    .where('id', '=', p('id')),
);
const removeWebhook = query<{ id: number }>()('remove', (db, p) => db.deleteFrom('webhook').where('id', '=', p('id')));
const markSuccess = query<{ id: number; now: number }>()('markSuccess', (db, p) =>
  db
    .updateTable('webhook')
    .set({ failing_since: null, last_success_at: p('now') })
    .where('id', '=', p('id')),
);
const markFailure = query<{ id: number; now: number }>()('markFailure', (db, p) =>
  db
    .updateTable('webhook')
    .set((eb) => ({ failing_since: eb.fn.coalesce('failing_since', p('now')) }))
    .where('id', '=', p('id'))
    .returning('failing_since as failingSince'),
);
const disableRow = query<{ id: number; reason: string }>()('disable', (db, p) =>
  db
    .updateTable('webhook')
    .set((eb) => ({ enabled: 0, disabled_reason: p('reason'), version: eb('version', '+', 1) }))
    .where('id', '=', p('id'))
    .where('enabled', '=', 1),
);
const heardBy = query<{ projectId: number }>()('heardBy', (db, p) =>
  db
    .selectFrom('webhook')
    .select(COLUMNS)
    .where('enabled', '=', 1)
    .where((eb) => eb.or([eb('project_id', 'is', null), eb('project_id', '=', p('projectId'))])),
);

const hearingPulls = query()('hearingPulls', (db) =>
  db.selectFrom('webhook').select('project_id as projectId').distinct().where('hears_pulls', '=', 1).where('enabled', '=', 1),
);

interface SettingsColumns {
  [column: string]: string | number | null;
  name: string;
  url: string;
  format: WebhookFormat;
  events: string;
  repositories: string;
  tags: string;
  enabled: number;
  hearsPulls: number;
}

type Row = Omit<Webhook, 'events' | 'enabled'> & { readonly events: string; readonly enabled: number };

function webhookOf({ events, enabled, ...row }: Row): Webhook {
  return { ...row, events: events === '' ? usualEventsOf(row.format) : (events.split(',') as EventName[]), enabled: enabled === 1 };
}

function columnsOf({ name, url, format, events, repositories, tags, enabled }: WebhookSettings): SettingsColumns {
  const usual = usualEventsOf(format);
  const isUsual = usual.length === events.length && usual.every((event) => events.includes(event));
  const switches = { enabled: enabled ? 1 : 0, hearsPulls: events.includes(PULLED) ? 1 : 0 };
  return { name, url, format, events: isUsual ? '' : events.join(','), repositories, tags, ...switches };
}

/** Webhooks of a project, or of the system, by name. */
export async function webhooksOf(session: Session, projectId: number | null): Promise<Webhook[]> {
  const rows = projectId === null ? await session.all(ofSystem, {}) : await session.all(ofProject, { projectId });
  return rows.map(webhookOf);
}

export async function findWebhook(session: Session, id: number): Promise<Webhook | undefined> {
  const row = await session.first(byId, { id });
  return row && webhookOf(row);
}

/** A webhook of a project, or of the system; undefined where it is none of that place. */
export async function findWebhookIn(session: Session, projectId: number | null, id: number): Promise<Webhook | undefined> {
  const row = await session.first(byIdIn, { id, projectId: projectId ?? 0 });
  return row && webhookOf(row);
}

/** Enabled webhooks that hear of a project: its own and the system's; `null` where the project is no more. */
export async function listeners(session: Session, projectId: number | null): Promise<Webhook[]> {
  return (await session.all(heardBy, { projectId: projectId ?? 0 })).map(webhookOf);
}

/** Of which projects somebody wants to hear of pulls: their ids, or `all`. */
export async function projectsHearingPulls(session: Session): Promise<ReadonlySet<number> | 'all'> {
  const heard = new Set((await session.all(hearingPulls, {})).map(({ projectId }) => projectId));
  return heard.has(null) ? 'all' : (heard as Set<number>);
}

/** Makes a webhook without secrets and gives its id. */
export async function addWebhook(
  tx: Session,
  projectId: number | null,
  settings: WebhookSettings,
  { by, now }: { readonly by: string; readonly now: number },
): Promise<number> {
  const row = await tx.first(insertWebhook, { ...columnsOf(settings), projectId, by, now });
  if (!row) throw new Error('an inserted webhook has no id');
  return row.id;
}

/** Changes what somebody set. What failed before is forgotten, as it may go well now; of what happened while it was off it hears nothing. */
export async function changeWebhook(tx: Session, before: Webhook, settings: WebhookSettings, now: number): Promise<void> {
  const listensFrom = settings.enabled && !before.enabled ? now : before.listensFrom;
  await tx.run(updateWebhook, { ...columnsOf(settings), id: before.id, listensFrom });
}

/** Sets the sealed secrets; of a change of their own the version tells. */
export async function setSecrets(tx: Session, id: number, secrets: string, isChange: boolean): Promise<void> {
  await tx.run(updateSecrets, { id, secrets, step: isChange ? 1 : 0 });
}

/** Deletes a webhook with its deliveries. */
export async function deleteWebhook(tx: Session, id: number): Promise<void> {
  await tx.run(removeWebhook, { id });
}

export async function noteSuccess(tx: Session, id: number, now: number): Promise<void> {
  await tx.run(markSuccess, { id, now });
}

/** Notes a failure and gives since when there was no success. */
export async function noteFailure(tx: Session, id: number, now: number): Promise<number> {
  return (await tx.first(markFailure, { id, now }))?.failingSince ?? now;
}

/** False where it is disabled already. */
export async function disableWebhook(tx: Session, id: number, reason: string): Promise<boolean> {
  return (await tx.run(disableRow, { id, reason })) === 1;
}

import Type, { type Static } from 'typebox';
import {
  findProject,
  findTrashItem,
  hasTrash,
  listTrash,
  type Project,
  purgeItem,
  type Restoring,
  setTrashDays,
  type TrashItem,
  trashDaysOf,
  trashThatWentWith,
  trashWith,
} from '../../catalog/index.ts';
import {
  AppError,
  type AuditResource,
  type Caller,
  type Config,
  cursorOf,
  enqueue,
  listOf,
  listQuery,
  PAGE_DEFAULT,
  type Route,
  readCursor,
  requireMatch,
  routesFor,
  type Session,
  sortOf,
} from '../../platform/index.ts';
import { whyNot } from './forecast.ts';
import { DAY_MS, EMPTY, type EmptyOrder } from './jobs.ts';
import { type Restored, restoreItem } from './restore.ts';
import { Kind, RestoredView, TrashView, viewOf } from './view.ts';

const OfProject = Type.Object({ project: Type.String({ maxLength: 128 }) });
const OfItem = Type.Object({ ...OfProject.properties, item: Type.Integer({ minimum: 1 }) });
const Time = Type.String({ format: 'date-time', maxLength: 40 });
const Replace = Type.Optional(Type.Boolean({ default: false, description: 'move tags back that lead elsewhere meanwhile' }));
const Restoration = Type.Object(
  {
    replace: Replace,
    name: Type.Optional(Type.String({ maxLength: 255, description: 'of a repository: another full name in its project' })),
  },
  { additionalProperties: false },
);
const MOST_ITEMS = 100;
const Restorations = Type.Object(
  {
    items: Type.Array(Type.Integer({ minimum: 1 }), { minItems: 1, maxItems: MOST_ITEMS, uniqueItems: true }),
    replace: Replace,
  },
  { additionalProperties: false },
);
const SHOWN = 100;
const ItemView = Type.Object({
  ...TrashView.properties,
  tags: Type.Array(Type.String(), { description: `tags that went with it, the first ${SHOWN} by name` }),
  manifests: Type.Array(Type.String(), { description: `manifests that went with it, the first ${SHOWN} by digest` }),
  restorable: Type.Boolean(),
  reason: Type.Optional(Type.String({ description: 'why it cannot be restored now' })),
});
const Policy = Type.Object(
  {
    days: Type.Union([Type.Integer({ minimum: 0, maximum: 3650 }), Type.Null()], {
      description: 'how long deleted content of the project can be restored; 0: not at all; null: as the server says',
    }),
  },
  { additionalProperties: false },
);
const PolicyView = Type.Object({ ...Policy.properties, effectiveDays: Type.Integer() });
const Emptying = Type.Object({ job: Type.Integer({ description: 'the job that purges it' }) });

interface Kept {
  readonly project: Project;
  /** For how long, in milliseconds. */
  readonly keptMs: number;
}

export interface TrashRouteParts {
  readonly database: Session;
  readonly config: Pick<Config, 'trashDays' | 'sparseIndexes' | 'sparseImages'>;
}

/** What was deleted, and how it comes back or goes for good. */
export function trashRoutes({ database, config }: TrashRouteParts): Route[] {
  const { read, change } = routesFor<Caller>();
  const tag = 'Trash';
  const base = '/projects/:project/trash';
  const sparse = { children: config.sparseIndexes, blobs: config.sparseImages };

  async function requireKept(session: Session, name: string): Promise<Kept> {
    const project = await findProject(session, name);
    if (!project) throw new AppError('not_found', `there is no project ${name}`);
    return { project, keptMs: ((await trashDaysOf(session, project.id)) ?? config.trashDays) * DAY_MS };
  }

  /** The item of a path, where it is one of its project and not past its time. */
  async function requireItem(session: Session, { project, keptMs }: Kept, id: number, now: number): Promise<TrashItem> {
    const item = await findTrashItem(session, id);
    if (!item || item.projectId !== project.id || item.deletedAt + keptMs <= now) {
      throw new AppError('not_found', `there is no item ${id} in the trash of ${project.name}`);
    }
    return item;
  }

  function resourceOf({ kind, repository, name, digest }: TrashItem): AuditResource {
    const [project = ''] = repository.split('/', 1);
    const common = { type: 'trash', project, repository };
    if (kind === 'tag') return { ...common, tag: name, ...(digest === null ? {} : { digest }) };
    return kind === 'manifest' ? { ...common, digest: name } : { ...common, name };
  }

  const resultOf = ({ tags, skipped, ...rest }: Restored): Static<typeof RestoredView> => ({
    ...rest,
    tags: [...tags],
    skipped: [...skipped],
  });

  async function purgeAll(tx: Session, item: TrashItem, now: number): Promise<number> {
    const beside = await trashThatWentWith(tx, item.id, MOST_ITEMS + 1);
    if (beside.length > MOST_ITEMS) throw new AppError('conflict', 'too much went with it to purge it at once; empty the trash');
    for (const each of [...beside, item]) await purgeItem(tx, each, now);
    return beside.length + 1;
  }

  return [
    read({
      method: 'GET',
      path: base,
      summary: 'List the trash of a project: deleted tags, manifests and repositories that can be restored, the latest first',
      description: 'A page may hold less than limit, and still go on.',
      tag,
      permission: 'trash:read',
      params: OfProject,
      query: listQuery(['deleted'], {
        kind: Type.Optional(Kind),
        repository: Type.Optional(Type.String({ maxLength: 255, description: 'only of the repository of this full name' })),
        name: Type.Optional(Type.String({ maxLength: 255, description: 'only those whose tag, digest or name contains this' })),
        by: Type.Optional(Type.String({ maxLength: 255, description: 'only what this user or robot deleted' })),
        since: Type.Optional(Time),
        until: Type.Optional(Time),
      }),
      answer: listOf(TrashView),
      async handle({ params, now, query: { limit = PAGE_DEFAULT, after, sort = '-deleted', since, until, ...filters } }) {
        const { project, keptMs } = await requireKept(database, params.project);
        const [last] = after === undefined ? [undefined] : readCursor(after, [0]);
        const { items, next } = await listTrash(database, {
          ...filters,
          projectId: project.id,
          order: sortOf(sort).order,
          last,
          limit,
          since: Math.max(now - keptMs + 1, timeOf(since) ?? 0),
          until: timeOf(until),
        });
        return { body: { items: items.map((item) => viewOf(item, keptMs)) }, next: next === undefined ? undefined : cursorOf(next) };
      },
    }),
    read({
      method: 'GET',
      path: `${base}/:item`,
      summary: 'Read an item of the trash: what went with it, and whether it can be restored',
      tag,
      permission: 'trash:read',
      params: OfItem,
      answer: ItemView,
      async handle({ params, now }) {
        const kept = await requireKept(database, params.project);
        const item = await requireItem(database, kept, params.item, now);
        const tags = await trashWith(database, item.id, 'tag', '', SHOWN);
        const manifests = await trashWith(database, item.id, 'manifest', '', SHOWN);
        const reason = await whyNot(database, item, sparse);
        return {
          body: {
            ...viewOf(item, kept.keptMs),
            tags: tags.map(({ name }) => name),
            manifests: manifests.map(({ name }) => name),
            restorable: reason === undefined,
            ...(reason === undefined ? {} : { reason }),
          },
        };
      },
    }),
    change({
      method: 'POST',
      path: `${base}/:item/restore`,
      summary: 'Restore a tag, a manifest with its tags and all it needs, or a repository with everything',
      description:
        'Refused where something it needs is gone, or its name is taken. What is large is restored by a job, in steps after each of which all is whole.',
      tag,
      permission: 'trash:restore',
      audit: 'trash.restore',
      params: OfItem,
      body: Restoration,
      answer: RestoredView,
      async change(tx, { params, body: { replace = false, name }, caller, now }) {
        const kept = await requireKept(tx, params.project);
        const item = await requireItem(tx, kept, params.item, now);
        if (name !== undefined && item.kind !== 'repository') throw new AppError('bad_request', 'only a repository can get another name');
        const how: Restoring = { by: caller.actor.name, now, sparse, replace };
        const restored = resultOf(await restoreItem(tx, item, how, name));
        return { body: restored, resource: resourceOf(item), after: restored };
      },
    }),
    change({
      method: 'POST',
      path: `${base}/restore`,
      summary: 'Restore several items, all or none',
      description: 'What is restored together with another of them needs no second time.',
      tag,
      permission: 'trash:restore',
      audit: 'trash.restore-many',
      params: OfProject,
      body: Restorations,
      answer: Type.Object({ items: Type.Array(RestoredView) }),
      async change(tx, { params, body: { items: ids, replace = false }, caller, now }) {
        const kept = await requireKept(tx, params.project);
        const how: Restoring = { by: caller.actor.name, now, sparse, replace };
        const wanted: TrashItem[] = [];
        for (const id of ids) wanted.push(await requireItem(tx, kept, id, now));
        const order = { repository: 0, manifest: 1, tag: 2 } as const;
        const items: Static<typeof RestoredView>[] = [];
        for (const { id } of wanted.sort((a, b) => order[a.kind] - order[b.kind])) {
          const item = await findTrashItem(tx, id);
          if (item) items.push(resultOf(await restoreItem(tx, item, how)));
        }
        return { body: { items }, resource: { type: 'trash', project: kept.project.name }, after: { items } };
      },
    }),
    change({
      method: 'DELETE',
      path: `${base}/:item`,
      summary: 'Purge an item of the trash and what went with it, for good',
      tag,
      permission: 'trash:purge',
      audit: 'trash.purge',
      params: OfItem,
      async change(tx, { params, now }) {
        const kept = await requireKept(tx, params.project);
        const item = await requireItem(tx, kept, params.item, now);
        if (item.jobId !== null) throw new AppError('conflict', `${item.name} is being restored`);
        const purged = await purgeAll(tx, item, now);
        return { resource: resourceOf(item), before: { ...viewOf(item, kept.keptMs), purged } };
      },
    }),
    change({
      method: 'DELETE',
      path: base,
      summary: 'Empty the trash of a project: a job purges all that is in it now, for good',
      tag,
      permission: 'trash:purge',
      audit: 'trash.empty',
      params: OfProject,
      answer: Emptying,
      status: 202,
      async change(tx, { params, now }) {
        const { project } = await requireKept(tx, params.project);
        const order: EmptyOrder = { projectId: project.id, before: now };
        const job = await enqueue(tx, { kind: EMPTY, payload: order, key: String(project.id), now });
        const wasEmpty = !(await hasTrash(tx, project.id));
        return { body: { job }, resource: { type: 'trash', project: project.name }, before: { empty: wasEmpty } };
      },
    }),
    read({
      method: 'GET',
      path: '/projects/:project/trash-policy',
      summary: 'Read how long a project keeps its trash',
      tag,
      permission: 'trash:read',
      params: OfProject,
      answer: PolicyView,
      async handle({ params }) {
        const { project } = await requireKept(database, params.project);
        const days = await trashDaysOf(database, project.id);
        return { body: { days, effectiveDays: days ?? config.trashDays }, etag: String(days) };
      },
    }),
    change({
      method: 'PUT',
      path: '/projects/:project/trash-policy',
      summary: 'Say how long a project keeps its trash, also what is in it already',
      tag,
      permission: 'trash:purge',
      audit: 'trash-policy.update',
      params: OfProject,
      body: Policy,
      answer: PolicyView,
      async change(tx, call) {
        const { project } = await requireKept(tx, call.params.project);
        const before = await trashDaysOf(tx, project.id);
        requireMatch(call, String(before));
        const { days } = call.body;
        await setTrashDays(tx, project.id, days);
        const resource = { type: 'trash-policy', project: project.name };
        return {
          body: { days, effectiveDays: days ?? config.trashDays },
          etag: String(days),
          resource,
          before: { days: before },
          after: { days },
        };
      },
    }),
  ];
}

function timeOf(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Date.parse(text);
}

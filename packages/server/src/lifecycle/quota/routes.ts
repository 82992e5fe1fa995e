import Type, { type Static } from 'typebox';
import {
  claimsOf,
  findProject,
  type Limits,
  limitsOf,
  type Project,
  pageOfQuotas,
  setProjectLimits,
  usageOf,
} from '../../catalog/index.ts';
import {
  AppError,
  BEFORE_ALL,
  type Caller,
  type Clock,
  type Database,
  enqueue,
  listOf,
  listQuery,
  PAGE_DEFAULT,
  pageOf,
  type Route,
  readCursor,
  requireMatch,
  routesFor,
  type Session,
  sortOf,
} from '../../platform/index.ts';
import { USAGE_CHECK } from './jobs.ts';

const Limit = (what: string, maximum: number) =>
  Type.Union([Type.Integer({ minimum: 0, maximum }), Type.Null()], { description: `most ${what}; null: no limit` });
const limits = {
  bytes: Limit('bytes', Number.MAX_SAFE_INTEGER),
  repositories: Limit('repositories', 1_000_000_000),
  tags: Limit('tags', 1_000_000_000),
};
const LimitsView = Type.Object(limits);
const LimitsChange = Type.Partial(Type.Object(limits), { additionalProperties: false });
const Counts = (description: string) =>
  Type.Object({ bytes: Type.Integer(), repositories: Type.Integer(), tags: Type.Integer() }, { description });
const QuotaView = Type.Object({
  project: Type.String(),
  limits: LimitsView,
  used: Counts('each blob of the project once, manifests, repositories and tags'),
  reserved: Counts('what pushes under way have room for besides'),
});
const OfProject = Type.Object({ project: Type.String({ maxLength: 128 }) });
const NO_LIMITS: Limits = { bytes: null, repositories: null, tags: null };

const plain = ({ bytes, repositories, tags }: Limits) => ({ bytes, repositories, tags });
const etagOf = ({ bytes, repositories, tags }: Limits) => [bytes, repositories, tags].map((limit) => limit ?? '-').join('.');

async function requireProject(session: Session, name: string): Promise<Project> {
  const project = await findProject(session, name);
  if (!project) throw new AppError('not_found', `there is no project ${name}`);
  return project;
}

async function viewOf(
  session: Session,
  { id, name }: { id: number; name: string },
  of: Limits,
  now: number,
): Promise<Static<typeof QuotaView>> {
  const used = await usageOf(session, id);
  const claims = await claimsOf(session, id, now);
  const reserved = {
    bytes: claims.bytes - used.bytes,
    repositories: claims.repositories - used.repositories,
    tags: claims.tags - used.tags,
  };
  return { project: name, limits: plain(of), used: { ...used }, reserved };
}

/** What projects hold and may hold. */
export function quotaRoutes({ database, clock }: { readonly database: Database; readonly clock: Clock }): Route[] {
  const { read, change } = routesFor<Caller>();
  const common = { tag: 'Quotas' } as const;
  return [
    read({
      ...common,
      method: 'GET',
      path: '/quotas',
      summary: 'List projects with their limits and what they hold',
      permission: 'quota:read',
      query: listQuery(['project'], { limited: Type.Optional(Type.Boolean({ description: 'only projects that have limits' })) }),
      answer: listOf(QuotaView),
      async handle({ query: { limit = PAGE_DEFAULT, after, sort = 'project', limited = false } }) {
        const { order } = sortOf(sort);
        const [last] = after === undefined ? [BEFORE_ALL[order].text] : readCursor(after, ['']);
        const rows = await pageOfQuotas(database, { order, last, limited, limit: limit + 1 });
        const { items, next } = pageOf(rows, limit, ({ name }) => [name]);
        const views: Static<typeof QuotaView>[] = [];
        for (const row of items) views.push(await viewOf(database, { id: row.projectId, name: row.name }, row, clock.now()));
        return { body: { items: views }, next };
      },
    }),
    read({
      ...common,
      method: 'GET',
      path: '/projects/:project/quota',
      summary: 'Read the limits of a project and what it holds',
      permission: 'quota:read',
      params: OfProject,
      answer: QuotaView,
      async handle({ params }) {
        const project = await requireProject(database, params.project);
        const of = (await limitsOf(database, project.id)) ?? NO_LIMITS;
        return { body: await viewOf(database, project, of, clock.now()), etag: etagOf(of) };
      },
    }),
    change({
      ...common,
      method: 'PATCH',
      path: '/projects/:project/quota',
      summary: 'Set limits of a project',
      description: 'What a project holds beyond a new limit stays; nothing is added to it.',
      permission: 'quota:manage',
      audit: 'quota.update',
      params: OfProject,
      body: LimitsChange,
      answer: QuotaView,
      async change(tx, call) {
        const project = await requireProject(tx, call.params.project);
        const before = (await limitsOf(tx, project.id)) ?? NO_LIMITS;
        requireMatch(call, etagOf(before));
        const after: Limits = { ...plain(before), ...call.body };
        await setProjectLimits(tx, project.id, after);
        return {
          body: await viewOf(tx, project, after, call.now),
          etag: etagOf(after),
          resource: { type: 'quota', project: project.name },
          before: plain(before),
          after: plain(after),
        };
      },
    }),
    change({
      ...common,
      method: 'POST',
      path: '/quotas/check',
      summary: 'Count anew what projects hold, and mend the count, in the background',
      permission: 'quota:manage',
      audit: 'quota.check',
      answer: Type.Object({ job: Type.Integer() }),
      status: 202,
      async change(tx, { now }) {
        const job = await enqueue(tx, { kind: USAGE_CHECK, key: 'asked', now });
        return { body: { job }, resource: { type: 'quota' }, after: { job } };
      },
    }),
  ];
}

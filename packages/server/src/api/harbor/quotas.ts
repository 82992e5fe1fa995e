import Type, { type Static } from 'typebox';
import type { Identity } from '../../access/index.ts';
import { findProjectById, limitsOf, type Project, pageOfQuotas, usageOf } from '../../catalog/index.ts';
import { AppError, BEFORE_ALL, type Route, routesFor, type Session } from '../../platform/index.ts';
import type { Adapter } from './adapt.ts';
import { answerList, gather, Items, ListQuery } from './lists.ts';
import { type HarborParts, Id, time } from './parts.ts';

const OfQuota = Type.Object({ id: Id });
const QuotaBody = Type.Object({ hard: Type.Object({ storage: Type.Integer({ minimum: -1 }) }) });

/** Bytes that a project may have and has, as Harbor writes them: -1 is no limit. */
export async function quotaOf(session: Session, projectId: number) {
  const limits = await limitsOf(session, projectId);
  const { bytes } = await usageOf(session, projectId);
  return { hard: { storage: limits?.bytes ?? -1 }, used: { storage: bytes } };
}

async function viewOf(session: Session, { id, name, createdAt, createdBy }: Pick<Project, 'id' | 'name' | 'createdAt' | 'createdBy'>) {
  const times = { creation_time: time(createdAt), update_time: time(createdAt) };
  return { id, ref: { id, name, owner_name: createdBy }, ...times, ...(await quotaOf(session, id)) };
}

/** Quotas of bytes; the id of one is that of its project. */
export function quotaRoutes({ database }: HarborParts, { change }: Adapter): Route[] {
  const { read } = routesFor<Identity>();
  const common = { tag: 'Harbor' } as const;

  async function requireProject(id: number): Promise<Project> {
    const project = await findProjectById(database, id);
    if (!project) throw new AppError('not_found', `there is no quota ${id}`);
    return project;
  }

  return [
    read({
      ...common,
      method: 'GET',
      path: '/quotas',
      summary: 'List quotas',
      permission: 'quota:read',
      query: Type.Object({
        ...ListQuery.properties,
        reference: Type.Optional(Type.String({ maxLength: 64 })),
        reference_id: Type.Optional(Type.String({ maxLength: 32 })),
      }),
      answer: Items,
      async handle(call) {
        const { reference = 'project', reference_id: only } = call.query;
        return await answerList(call, {
          load: async (most) =>
            reference !== 'project'
              ? []
              : await gather(most, async (last: string | undefined, limit: number) => {
                  const page = { order: 'asc', last: last ?? BEFORE_ALL.asc.text, limited: false, limit } as const;
                  const items = await pageOfQuotas(database, page);
                  return { items, next: items.length === limit ? items.at(-1)?.name : undefined };
                }),
          fields: {},
          where: ({ projectId }) => only === undefined || String(projectId) === only,
          view: async ({ projectId }) => await viewOf(database, await requireProject(projectId)),
        });
      },
    }),
    read({
      ...common,
      method: 'GET',
      path: '/quotas/:id',
      summary: 'Read a quota',
      permission: 'quota:read',
      params: OfQuota,
      answer: Type.Unknown(),
      handle: async ({ params }) => ({ body: await viewOf(database, await requireProject(params.id)) }),
    }),
    change('PATCH /projects/:project/quota', {
      method: 'PUT',
      path: '/quotas/:id',
      params: OfQuota,
      body: QuotaBody,
      call: async ({ params, body }) => {
        const project = await requireProject((params as Static<typeof OfQuota>).id);
        const { storage } = (body as Static<typeof QuotaBody>).hard;
        return { params: { project: project.name }, body: { bytes: storage < 0 ? null : storage } };
      },
    }),
  ];
}

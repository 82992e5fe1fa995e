import Type from 'typebox';
import { blobKeysWaiting, findProject, type Project, projectKeyOf, setProjectKey } from '../../catalog/index.ts';
import { AppError, type Caller, enqueue, type Route, requireMatch, routesFor, type Session } from '../../platform/index.ts';
import type { LifecycleParts } from '../parts.ts';
import { PROJECT_KEYS, type ProjectKeysOrder } from './jobs.ts';

const OfProject = Type.Object({ project: Type.String({ maxLength: 128 }) });
const Key = Type.Union([Type.String({ pattern: '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$', maxLength: 63 }), Type.Null()], {
  description: 'name of a key of the option encryptionProjectKeys; null: the key of the registry',
});
const View = Type.Object({
  key: Key,
  usable: Type.Boolean({ description: 'whether the key could be used just now; what was read within the hour is read without it' }),
  waiting: Type.Integer({ description: 'blobs of the project whose data keys have still to follow a change' }),
});
const Change = Type.Object({ key: Key }, { additionalProperties: false });
const Changed = Type.Object({ key: Key, job: Type.Integer({ description: 'id of the job that has the data keys follow' }) });

const etagOf = (key: string | null) => key ?? '-';

async function requireProject(session: Session, name: string): Promise<Project> {
  const project = await findProject(session, name);
  if (!project) throw new AppError('not_found', `there is no project ${name}`);
  return project;
}

/** Keys that projects have of their own. */
export function projectKeyRoutes({ database, encryption }: Pick<LifecycleParts, 'database' | 'encryption'>): Route[] {
  const { read, change } = routesFor<Caller>();
  const common = { tag: 'Storage' } as const;

  return [
    read({
      ...common,
      method: 'GET',
      path: '/projects/:project/encryption',
      summary: 'Read which key encrypts what a project holds',
      permission: 'project:update', // asks a key provider, which is not for everybody who sees a public project
      params: OfProject,
      answer: View,
      async handle({ params }) {
        const { id } = await requireProject(database, params.project);
        const key = await projectKeyOf(database, id);
        const ready = key === null ? encryption?.keys.health() : encryption?.projectKeys.ready(key);
        const usable = ready ? await ready.then(() => true).catch(() => false) : false;
        return { body: { key, usable, waiting: await blobKeysWaiting(database, id) }, etag: etagOf(key) };
      },
    }),
    change({
      ...common,
      method: 'PUT',
      path: '/projects/:project/encryption',
      summary: 'Give a project a key of its own, another one, or none',
      description:
        'Refused for a key that cannot be used now. What the project holds follows in the background: its data keys are wrapped by that key, and by no key that nobody needs any more.',
      permission: 'storage:manage',
      audit: 'encryption.project-key',
      params: OfProject,
      body: Change,
      answer: Changed,
      async prepare({ body: { key } }) {
        if (!encryption) throw new AppError('conflict', 'blobs of this registry are not encrypted; see the option encryption');
        if (key === null) return;
        if (!encryption.projectKeys.providers.names.includes(key))
          throw new AppError('bad_request', `there is no key ${key} in encryptionProjectKeys`);
        await encryption.projectKeys.ready(key);
      },
      async change(tx, call) {
        const { key } = call.body;
        const project = await requireProject(tx, call.params.project);
        const before = await projectKeyOf(tx, project.id);
        requireMatch(call, etagOf(before));
        await setProjectKey(tx, project.id, key);
        const order: ProjectKeysOrder = { projectId: project.id };
        const job = await enqueue(tx, { kind: PROJECT_KEYS, key: `project:${project.id}`, payload: order, now: call.now });
        return {
          body: { key, job },
          etag: etagOf(key),
          resource: { type: 'project', project: project.name },
          before: { key: before },
          after: { key, job },
        };
      },
    }),
  ];
}

import Type, { type Static } from 'typebox';
import { findRobotById, type Identity, type Permission } from '../../access/index.ts';
import { findProjectById } from '../../catalog/index.ts';
import { AppError, type Route, routesFor } from '../../platform/index.ts';
import type { Adapter, AnyCall } from './adapt.ts';
import { answerList, gather, Items, ListQuery } from './lists.ts';
import { type HarborParts, Id, locationOf } from './parts.ts';
import { parseQ } from './query.ts';
import { accessOf, permissionsOf } from './robot-access.ts';

const Text = (most: number) => Type.Optional(Type.Union([Type.String({ maxLength: most }), Type.Null()]));
const Granted = Type.Object({
  kind: Type.Optional(Type.String({ maxLength: 32 })),
  namespace: Type.Optional(Type.String({ maxLength: 255 })),
  access: Type.Array(Type.Object({ resource: Type.String({ maxLength: 64 }), action: Type.String({ maxLength: 64 }) }), { maxItems: 200 }),
});
const RobotBody = Type.Object({
  name: Text(255),
  description: Text(1000),
  level: Text(32),
  disable: Type.Optional(Type.Boolean()),
  duration: Type.Optional(Type.Integer({ minimum: -1, maximum: 36_500 })),
  permissions: Type.Optional(Type.Array(Granted, { maxItems: 50 })),
});
const SecretBody = Type.Object({ secret: Text(255) });
const OfRobot = Type.Object({ robot: Id });
type Body = Static<typeof RobotBody>;

/** A robot as the management API shows it. */
interface Shown {
  readonly id: number;
  readonly login: string;
  readonly project?: string;
  readonly description: string;
  readonly disabled: boolean;
  readonly expiresAt: string | null;
  readonly rights: readonly { readonly permissions?: readonly string[]; readonly project?: string }[];
  readonly createdAt: string;
  readonly secret?: string;
}

const DAY_MS = 86_400_000;
const seconds = (time: string | null) => (time === null ? -1 : Math.floor(Date.parse(time) / 1000));

function viewOf({ id, login, project, description, disabled, expiresAt, rights, createdAt }: Shown) {
  const days = expiresAt === null ? -1 : Math.ceil((Date.parse(expiresAt) - Date.parse(createdAt)) / DAY_MS);
  return {
    ...{ id, name: login, description, level: project === undefined ? 'system' : 'project', duration: days },
    ...{ editable: true, disable: disabled, expires_at: seconds(expiresAt) },
    permissions: rights.map(({ permissions = [], project: namespace = '*' }) => ({
      ...{ kind: 'project', namespace, access: accessOf(permissions) },
    })),
    ...{ creation_time: createdAt, update_time: createdAt, creator_type: 'local', creator_ref: 0 },
  };
}

/** Rights as the management API takes them. Throws `bad_request` where nothing of them is known here. */
function rightsOf(granted: readonly Static<typeof Granted>[]) {
  return granted.map(({ kind = 'project', namespace = '*', access }) => {
    const permissions = permissionsOf(access);
    if (permissions.length === 0) throw new AppError('bad_request', 'none of these rights of a robot is known here');
    return { permissions, ...(kind === 'system' || namespace === '*' ? {} : { project: namespace }) };
  });
}

function settingsOf({ description, disable, duration, permissions }: Body, now: number) {
  return {
    ...(typeof description === 'string' ? { description } : {}),
    ...(disable === undefined ? {} : { disabled: disable }),
    ...(duration === undefined ? {} : { expiresAt: duration === -1 ? null : new Date(now + duration * DAY_MS).toISOString() }),
    ...(permissions === undefined ? {} : { rights: rightsOf(permissions) }),
  };
}

/** Robots of the system and of projects. Which one it is stands not in the path, so rights are looked at here. */
export function robotRoutes({ database, access }: HarborParts, { change, read: inner }: Adapter): Route[] {
  const { read } = routesFor<Identity>();
  const common = { tag: 'Harbor', permission: 'login' } as const;

  /** Throws as every route does: what one may not see looks like what does not exist. */
  async function require(caller: Identity, permission: Permission, project: string | undefined): Promise<void> {
    if (await access.holds(caller, permission, { project })) return;
    const sees = project === undefined || (await access.holds(caller, 'project:read', { project }));
    throw sees ? new AppError('denied', `this needs the permission ${permission}`) : new AppError('not_found', 'there is no such project');
  }

  /** Where a robot is found in the management API. */
  async function placeOf(call: AnyCall, permission: Permission): Promise<{ path: string; params: Record<string, unknown> }> {
    const { robot: id } = call.params as Static<typeof OfRobot>;
    const robot = await findRobotById(database, id);
    const project = robot?.projectId === null || !robot ? undefined : (await findProjectById(database, robot.projectId))?.name;
    if (!robot || !(await access.holds(call.caller, permission, { project }))) throw new AppError('not_found', `there is no robot ${id}`);
    return project === undefined
      ? { path: '/robots', params: { robot: id } }
      : { path: '/projects/:project/robots', params: { project, robot: id } };
  }

  /** The project whose robots `q` asks for; undefined: those of the system. */
  async function projectOf(q: string): Promise<string | undefined> {
    const asked = new Map(parseQ(q).map(([name, condition]) => [name.toLowerCase(), condition]));
    const [level, id] = [asked.get('level'), asked.get('projectid')];
    if (level?.kind !== 'exact' || level.value !== 'project') return undefined;
    const project = id?.kind === 'exact' ? await findProjectById(database, Number(id.value)) : undefined;
    if (!project) throw new AppError('not_found', 'there is no such project');
    return project.name;
  }

  return [
    read({
      ...common,
      method: 'GET',
      path: '/robots',
      summary: 'List robots of the system, or with q=Level=project,ProjectID=… of a project',
      query: ListQuery,
      answer: Items,
      async handle(call) {
        const project = await projectOf(call.query.q ?? '');
        await require(call.caller, 'robot:read', project);
        const path = project === undefined ? 'GET /robots' : 'GET /projects/:project/robots';
        return await answerList<Shown>(call, {
          load: (most) =>
            gather(most, async (after: string | undefined, limit) => {
              const { body, next } = await inner(path, { ...call, params: { project }, body: undefined, query: { limit, after } });
              return { items: (body as { items: Shown[] }).items, next };
            }),
          fields: {
            name: ({ login }) => login,
            level: ({ project: own }) => (own === undefined ? 'system' : 'project'),
            Level: ({ project: own }) => (own === undefined ? 'system' : 'project'),
            ProjectID: () => call.query.q?.match(/ProjectID=(\d+)/)?.[1] ?? null,
            creation_time: ({ createdAt }) => Date.parse(createdAt),
          },
          view: async (robot) => viewOf(robot),
        });
      },
    }),
    read({
      ...common,
      method: 'GET',
      path: '/robots/:robot',
      summary: 'Read a robot',
      params: OfRobot,
      answer: Type.Unknown(),
      async handle(call) {
        const { path, params } = await placeOf({ ...call, query: {}, body: undefined }, 'robot:read');
        const { body } = await inner(`GET ${path}/:robot`, { ...call, params, query: {}, body: undefined });
        return { body: viewOf(body as Shown) };
      },
    }),
    change('POST /robots', {
      method: 'POST',
      path: '/robots',
      permission: 'login',
      params: Type.Object({}),
      body: RobotBody,
      answer: Type.Unknown(),
      status: 201,
      async call({ body, caller, now }) {
        const { name, level, permissions = [], ...others } = body as Body;
        const project = level === 'project' ? permissions[0]?.namespace : undefined;
        if (level === 'project' && project === undefined)
          throw new AppError('bad_request', 'a robot of a project names that in its permissions');
        await require(caller, 'robot:manage', project);
        const wanted = { name: name ?? '', ...settingsOf({ ...others, permissions, duration: others.duration ?? -1 }, now) };
        return project === undefined ? { body: wanted } : { route: 'POST /projects/:project/robots', params: { project }, body: wanted };
      },
      tell(body) {
        const { id, login, secret, createdAt, expiresAt } = body as Shown;
        const made = { id, name: login, creation_time: createdAt, expires_at: seconds(expiresAt) };
        return { body: secret === undefined ? made : { ...made, secret }, headers: locationOf(`/robots/${id}`) };
      },
    }),
    change('PATCH /robots/:robot', {
      method: 'PUT',
      path: '/robots/:robot',
      permission: 'login',
      params: OfRobot,
      body: RobotBody,
      async call(call) {
        const { path, params } = await placeOf(call, 'robot:manage');
        return { route: `PATCH ${path}/:robot`, params, body: settingsOf(call.body as Body, call.now) };
      },
    }),
    change('POST /robots/:robot/rotate', {
      method: 'PATCH',
      path: '/robots/:robot',
      permission: 'login',
      params: OfRobot,
      body: SecretBody,
      answer: Type.Unknown(),
      async call(call) {
        const { secret } = call.body as Static<typeof SecretBody>;
        if (secret) throw new AppError('bad_request', 'secrets are made here; leave it empty');
        const { path, params } = await placeOf(call, 'robot:manage');
        return { route: `POST ${path}/:robot/rotate`, params, body: {} };
      },
      tell(body) {
        const { secret } = body as Shown;
        return { body: secret === undefined ? {} : { secret } };
      },
    }),
    change('DELETE /robots/:robot', {
      method: 'DELETE',
      path: '/robots/:robot',
      permission: 'login',
      params: OfRobot,
      async call(call) {
        const { path, params } = await placeOf(call, 'robot:manage');
        return { route: `DELETE ${path}/:robot`, params };
      },
    }),
  ];
}

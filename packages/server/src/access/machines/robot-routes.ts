import Type, { type Static, type TInteger, type TObject, type TOptional, type TString } from 'typebox';
import {
  AppError,
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
import type { Access } from '../access.ts';
import type { Identity } from '../identity.ts';
import { requireProject } from '../project-routes.ts';
import { createKey, keyOfRobot, rotateKey } from './access-keys.ts';
import { Right, Rights, requireMayGive, rightsOf, setRights } from './robot-rights.ts';
import {
  changeRobot,
  createRobot,
  deleteRobot,
  pageOfRobots,
  type Robot,
  requireRobot,
  robotEtag,
  robotName,
  shortName,
} from './robots.ts';
import { SecretView, secretViews } from './secret-view.ts';
import { Expiry, readExpiry, readFuture, shownTime, Time } from './times.ts';

const RobotView = Type.Object({
  id: Type.Integer(),
  name: Type.String({ description: 'what it is called in its project' }),
  login: Type.String({ description: 'user name of docker login' }),
  project: Type.Optional(Type.String()),
  description: Type.String(),
  disabled: Type.Boolean(),
  expiresAt: Expiry,
  rights: Type.Array(Right),
  secrets: Type.Array(SecretView),
  createdAt: Time,
  createdBy: Type.String(),
});
/** With the secret, which is shown this once. */
const RobotWithSecret = Type.Object({ ...RobotView.properties, secret: Type.Optional(Type.String({ description: 'shown this once' })) });

const Description = Type.String({ maxLength: 1000 });
const NewRobot = Type.Object(
  {
    name: Type.String({ maxLength: 63 }),
    description: Type.Optional(Description),
    disabled: Type.Optional(Type.Boolean({ default: false })),
    expiresAt: Type.Optional(Expiry),
    rights: Rights,
    withSecret: Type.Optional(Type.Boolean({ default: true, description: 'false: it proves its identity by other means' })),
  },
  { additionalProperties: false },
);
const RobotChange = Type.Object(
  {
    description: Type.Optional(Description),
    disabled: Type.Optional(Type.Boolean()),
    expiresAt: Type.Optional(Expiry),
    rights: Type.Optional(Rights),
  },
  { additionalProperties: false },
);
const Rotation = Type.Object(
  { oldEndsAt: Type.Optional(Type.String({ maxLength: 40, description: 'until when the old secret goes on; absent: it ends at once' })) },
  { additionalProperties: false },
);
const Ids = Type.Object(
  { ids: Type.Array(Type.Integer({ minimum: 1 }), { minItems: 1, maxItems: 100, uniqueItems: true }) },
  { additionalProperties: false },
);
const Deleted = Type.Object({ deleted: Type.Integer() });

const Project = { project: Type.String({ maxLength: 128 }) };
const One = { robot: Type.Integer({ minimum: 1 }) };
/** The same handlers serve both homes of robots: the project is absent for those of the system. */
type Home = { project?: string };
type HomeParams = TObject<{ project: TOptional<TString> }>;
type RobotParams = TObject<{ project: TOptional<TString>; robot: TInteger }>;

interface Parts {
  readonly database: Session;
  readonly access: Access;
}

const { read, change } = routesFor<Identity>();

/** Robots of the system, and robots of projects; each is found under its own home only. */
export function robotRoutes(parts: Parts): Route[] {
  return [
    ...routesAt(parts, '/robots', Type.Object({}) as unknown as HomeParams, Type.Object(One) as unknown as RobotParams),
    ...routesAt(
      parts,
      '/projects/:project/robots',
      Type.Object(Project) as unknown as HomeParams,
      Type.Object({ ...Project, ...One }) as unknown as RobotParams,
    ),
  ];
}

function routesAt(parts: Parts, base: string, ofHome: HomeParams, ofOne: RobotParams): Route[] {
  const { database } = parts;
  const tag = 'Robots';
  const where = base === '/robots' ? 'of the system' : 'of a project';

  async function homeOf(session: Session, { project }: Home): Promise<number | null> {
    return project === undefined ? null : (await requireProject(session, project)).id;
  }

  async function viewOf(session: Session, robot: Robot, { project }: Home): Promise<Static<typeof RobotView>> {
    const { id, name, description, disabled, expiresAt, createdAt, createdBy } = robot;
    return {
      id,
      name: shortName(robot),
      login: name,
      ...(project === undefined ? {} : { project }),
      description,
      disabled,
      expiresAt: shownTime(expiresAt),
      rights: await rightsOf(session, id),
      secrets: secretViews((await keyOfRobot(session, id))?.secrets ?? []),
      createdAt: shownTime(createdAt),
      createdBy,
    };
  }

  const resourceOf = ({ name }: Robot, { project }: Home) => ({ type: 'robot', name, ...(project === undefined ? {} : { project }) });

  /** What a project robot is given is given in its project. */
  function rightsIn({ project }: Home, rights: readonly Right[]): Right[] {
    if (project === undefined) return [...rights];
    const stray = rights.find((right) => right.project !== undefined && right.project !== project);
    if (stray) throw new AppError('bad_request', `a robot of project ${project} has rights in that project only`);
    return rights.map((right) => ({ ...right, project }));
  }

  /** Whoever gets hold of a robot, by a new secret or by bringing it back, gets its rights: it must hold them all. */
  async function requireHoldsAll(caller: Identity, params: Home & { robot: number }): Promise<string> {
    const robot = await requireRobot(database, await homeOf(database, params), params.robot);
    const rights = await rightsOf(database, robot.id);
    await requireMayGive(parts, caller, rights);
    return JSON.stringify(rights);
  }

  async function requireUnchanged(tx: Session, robot: Robot, rights: string): Promise<void> {
    if (JSON.stringify(await rightsOf(tx, robot.id)) !== rights) throw new AppError('conflict', "the robot's rights changed meanwhile");
  }

  return [
    read({
      method: 'GET',
      path: base,
      summary: `List the robots ${where}`,
      tag,
      permission: 'robot:read',
      params: ofHome,
      query: listQuery(['name'], {
        name: Type.Optional(Type.String({ maxLength: 128, description: 'only those whose name contains this' })),
        disabled: Type.Optional(Type.Boolean()),
      }),
      answer: listOf(RobotView),
      async handle({ params, query: { limit = PAGE_DEFAULT, after, sort = 'name', name, disabled } }) {
        const [last] = after === undefined ? [undefined] : readCursor(after, ['']);
        const projectId = await homeOf(database, params);
        const { order } = sortOf(sort);
        const rows = await pageOfRobots(database, { projectId, name, disabled, order, after: last, limit: limit + 1 });
        const { items, next } = pageOf(rows, limit, (robot) => [robot.name]);
        return { body: { items: await Promise.all(items.map((robot) => viewOf(database, robot, params))) }, next };
      },
    }),
    read({
      method: 'GET',
      path: `${base}/:robot`,
      summary: `Read a robot ${where}`,
      tag,
      permission: 'robot:read',
      params: ofOne,
      answer: RobotView,
      async handle({ params }) {
        const robot = await requireRobot(database, await homeOf(database, params), params.robot);
        return { body: await viewOf(database, robot, params), etag: robotEtag(robot) };
      },
    }),
    change({
      method: 'POST',
      path: base,
      summary: `Make a robot ${where}, with rights that the caller holds`,
      description: 'The answer holds its secret, which is shown this once.',
      tag,
      permission: 'robot:manage',
      audit: 'robot.create',
      params: ofHome,
      body: NewRobot,
      answer: RobotWithSecret,
      status: 201,
      async prepare({ params, body, caller }) {
        const rights = rightsIn(params, body.rights);
        await requireMayGive(parts, caller, rights);
        return rights;
      },
      async change(tx, { params, body, caller, now }, rights) {
        const { description = '', disabled = false, withSecret = true } = body;
        const by = caller.actor.name;
        const name = robotName(params.project, body.name);
        const expiresAt = readExpiry(body.expiresAt, now);
        const robot = await createRobot(tx, { name, projectId: await homeOf(tx, params), description, disabled, expiresAt, by, now });
        await setRights(tx, robot, rights, { by, now });
        const owner = { kind: 'robot', id: robot.id } as const;
        const secret = withSecret ? (await createKey(tx, { owner, name: 'secret', expiresAt: null, now })).secret : undefined;
        const view = await viewOf(tx, robot, params);
        const shown = secret === undefined ? view : { ...view, secret };
        return { body: shown, replay: view, etag: robotEtag(robot), resource: resourceOf(robot, params), after: view };
      },
    }),
    change({
      method: 'PATCH',
      path: `${base}/:robot`,
      summary: `Change a robot ${where}`,
      tag,
      permission: 'robot:manage',
      audit: 'robot.update',
      params: ofOne,
      body: RobotChange,
      answer: RobotView,
      async prepare({ params, body, caller }) {
        const robot = await requireRobot(database, await homeOf(database, params), params.robot);
        const before = await rightsOf(database, robot.id);
        const same = new Set(before.map((right) => JSON.stringify(right)));
        const rights = body.rights && rightsIn(params, body.rights);
        const revives = body.disabled === false || body.expiresAt !== undefined;
        const added = rights?.filter((right) => !same.has(JSON.stringify(right))) ?? [];
        await requireMayGive(parts, caller, revives ? [...before, ...added] : added);
        return { before: JSON.stringify(before), rights };
      },
      async change(tx, call, { before: rightsBefore, rights }) {
        const { params, body, caller, now } = call;
        const robot = await requireRobot(tx, await homeOf(tx, params), params.robot);
        requireMatch(call, robotEtag(robot));
        await requireUnchanged(tx, robot, rightsBefore);
        const before = await viewOf(tx, robot, params);
        if (rights) await setRights(tx, robot, rights, { by: caller.actor.name, now });
        const { description = robot.description, disabled = robot.disabled } = body;
        const expiresAt = body.expiresAt === undefined ? robot.expiresAt : readExpiry(body.expiresAt, now);
        const changed = await changeRobot(tx, robot, { description, disabled, expiresAt });
        const after = await viewOf(tx, changed, params);
        return { body: after, etag: robotEtag(changed), resource: resourceOf(robot, params), before, after };
      },
    }),
    change({
      method: 'POST',
      path: `${base}/:robot/rotate`,
      summary: `Give a robot ${where} another secret`,
      description: 'The caller must hold all that the robot may. The answer holds the secret, which is shown this once.',
      tag,
      permission: 'robot:manage',
      audit: 'robot.rotate',
      params: ofOne,
      body: Rotation,
      answer: RobotWithSecret,
      prepare: ({ params, caller }) => requireHoldsAll(caller, params),
      async change(tx, call, rights) {
        const { params, body, now } = call;
        const robot = await requireRobot(tx, await homeOf(tx, params), params.robot);
        requireMatch(call, robotEtag(robot));
        await requireUnchanged(tx, robot, rights);
        const owner = { kind: 'robot', id: robot.id } as const;
        const before = await viewOf(tx, robot, params);
        const key = await keyOfRobot(tx, robot.id);
        const endsAt = body.oldEndsAt === undefined ? now : readFuture(body.oldEndsAt, now);
        const { secret } = key
          ? await rotateKey(tx, owner, key, { endsAt, now })
          : await createKey(tx, { owner, name: 'secret', expiresAt: null, now });
        const changed = await changeRobot(tx, robot, {});
        const after = await viewOf(tx, changed, params);
        return { body: { ...after, secret }, replay: after, etag: robotEtag(changed), resource: resourceOf(robot, params), before, after };
      },
    }),
    change({
      method: 'DELETE',
      path: `${base}/:robot`,
      summary: `Delete a robot ${where}`,
      tag,
      permission: 'robot:manage',
      audit: 'robot.delete',
      params: ofOne,
      async change(tx, call) {
        const { params } = call;
        const robot = await requireRobot(tx, await homeOf(tx, params), params.robot);
        requireMatch(call, robotEtag(robot));
        const before = await viewOf(tx, robot, params);
        await deleteRobot(tx, robot.id);
        return { resource: resourceOf(robot, params), before };
      },
    }),
    change({
      method: 'POST',
      path: `${base}/delete`,
      summary: `Delete several robots ${where}: all, or none where one does not exist`,
      tag,
      permission: 'robot:manage',
      audit: 'robot.delete',
      params: ofHome,
      body: Ids,
      answer: Deleted,
      async change(tx, { params, body }) {
        const projectId = await homeOf(tx, params);
        const before: Static<typeof RobotView>[] = [];
        for (const id of body.ids) {
          const robot = await requireRobot(tx, projectId, id);
          before.push(await viewOf(tx, robot, params));
          await deleteRobot(tx, id);
        }
        const { project } = params;
        return { body: { deleted: before.length }, resource: { type: 'robot', ...(project === undefined ? {} : { project }) }, before };
      },
    }),
  ];
}

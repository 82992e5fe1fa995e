import Type, { type Static } from 'typebox';
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
import type { Identity } from '../identity.ts';
import { createKey, keyOfRobot, rotateKey, secretsOfRobot } from './access-keys.ts';
import {
  heldBy,
  projectIdOf,
  ROBOT_HOMES,
  type RobotHome,
  type RobotParts,
  requireHoldsAll,
  requireSameRights,
  robotOfPath,
} from './robot-home.ts';
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
  robotResource,
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

const { read, change } = routesFor<Identity>();

/** Robots of the system, and robots of projects; each is found under its own home only. */
export function robotRoutes(parts: RobotParts): Route[] {
  return ROBOT_HOMES.flatMap((home) => routesAt(parts, home));
}

type Home = { project?: string };

function routesAt(parts: RobotParts, { path: base, where, ofHome, ofRobot: ofOne }: RobotHome): Route[] {
  const { database } = parts;
  const tag = 'Robots';

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
      secrets: secretViews(await secretsOfRobot(session, id)),
      createdAt: shownTime(createdAt),
      createdBy,
    };
  }

  /** What a project robot is given is given in its project. */
  function rightsIn({ project }: Home, rights: readonly Right[]): Right[] {
    if (project === undefined) return [...rights];
    const stray = rights.find((right) => right.project !== undefined && right.project !== project);
    if (stray) throw new AppError('bad_request', `a robot of project ${project} has rights in that project only`);
    return rights.map((right) => ({ ...right, project }));
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
        name: Type.Optional(Type.String({ maxLength: 128, description: 'only those whose login contains this' })),
        disabled: Type.Optional(Type.Boolean()),
      }),
      answer: listOf(RobotView),
      async handle({ params, query: { limit = PAGE_DEFAULT, after, sort = 'name', name, disabled } }) {
        const [last] = after === undefined ? [undefined] : readCursor(after, ['']);
        const projectId = await projectIdOf(database, params);
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
        const robot = await robotOfPath(database, params);
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
        const robot = await createRobot(tx, { name, projectId: await projectIdOf(tx, params), description, disabled, expiresAt, by, now });
        await setRights(tx, robot, rights, { by, now });
        const owner = { kind: 'robot', id: robot.id } as const;
        const secret = withSecret ? (await createKey(tx, { owner, name: 'secret', expiresAt: null, now })).secret : undefined;
        const view = await viewOf(tx, robot, params);
        const shown = secret === undefined ? view : { ...view, secret };
        return { body: shown, replay: view, etag: robotEtag(robot), resource: robotResource(robot.name), after: view };
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
        const robot = await robotOfPath(database, params);
        const before = await rightsOf(database, robot.id);
        const same = new Set(before.map((right) => JSON.stringify(right)));
        const rights = body.rights && rightsIn(params, body.rights);
        const revives = body.disabled === false || body.expiresAt !== undefined;
        const added = rights?.filter((right) => !same.has(JSON.stringify(right))) ?? [];
        await requireMayGive(parts, caller, added);
        return { rights, held: revives ? await requireHoldsAll(parts, caller, params) : await heldBy(database, robot.id) };
      },
      async change(tx, call, { held, rights }) {
        const { params, body, caller, now } = call;
        const robot = await robotOfPath(tx, params);
        requireMatch(call, robotEtag(robot));
        await requireSameRights(tx, robot, held);
        const before = await viewOf(tx, robot, params);
        if (rights) await setRights(tx, robot, rights, { by: caller.actor.name, now });
        const { description = robot.description, disabled = robot.disabled } = body;
        const expiresAt = body.expiresAt === undefined ? robot.expiresAt : readExpiry(body.expiresAt, now);
        const changed = await changeRobot(tx, robot, { description, disabled, expiresAt });
        const after = await viewOf(tx, changed, params);
        return { body: after, etag: robotEtag(changed), resource: robotResource(robot.name), before, after };
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
      prepare: ({ params, caller }) => requireHoldsAll(parts, caller, params),
      async change(tx, call, rights) {
        const { params, body, now } = call;
        const robot = await robotOfPath(tx, params);
        requireMatch(call, robotEtag(robot));
        await requireSameRights(tx, robot, rights);
        const owner = { kind: 'robot', id: robot.id } as const;
        const before = await viewOf(tx, robot, params);
        const key = await keyOfRobot(tx, robot.id);
        const endsAt = body.oldEndsAt === undefined ? now : readFuture(body.oldEndsAt, now);
        const { secret } = key
          ? await rotateKey(tx, owner, key, { endsAt, now })
          : await createKey(tx, { owner, name: 'secret', expiresAt: null, now });
        const changed = await changeRobot(tx, robot, {});
        const after = await viewOf(tx, changed, params);
        return { body: { ...after, secret }, replay: after, etag: robotEtag(changed), resource: robotResource(robot.name), before, after };
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
        const robot = await robotOfPath(tx, params);
        requireMatch(call, robotEtag(robot));
        const before = await viewOf(tx, robot, params);
        await deleteRobot(tx, robot.id);
        return { resource: robotResource(robot.name), before };
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
        const projectId = await projectIdOf(tx, params);
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

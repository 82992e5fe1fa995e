import { sql } from 'kysely';
import {
  AppError,
  type AuditResource,
  BEFORE_ALL,
  containing,
  holdsText,
  type Order,
  type Query,
  queriesOf,
  type Session,
} from '../../platform/index.ts';
import { dropSubjectAssignments } from '../assignments.ts';
import { touchAccess } from '../rules.ts';
import { dropKeysOf } from './access-keys.ts';
import { dropRobotKeysOf } from './robot-keys.ts';
import type { MachineTables } from './schema.ts';
import { dropTrustRulesOf } from './trust-rules.ts';

const query = queriesOf<MachineTables>('machines');
const COLUMNS = [
  'id',
  'name',
  'project_id as projectId',
  'description',
  'disabled',
  'expires_at as expiresAt',
  'generation',
  'created_at as createdAt',
  'created_by as createdBy',
  'version',
] as const;

const robotById = query<{ id: number }>()('robotById', (db, p) => db.selectFrom('robot').select(COLUMNS).where('id', '=', p('id')));
const robotOf = query<{ id: number; projectId: number | null }>()('robotOf', (db, p) =>
  db.selectFrom('robot').select(COLUMNS).where('id', '=', p('id')).where('project_id', 'is not distinct from', p('projectId')),
);
const robotsOfProject = query<{ projectId: number }>()('robotsOfProject', (db, p) =>
  db.selectFrom('robot').select('id').where('project_id', '=', p('projectId')),
);
const insertRobot = query<{
  name: string;
  projectId: number | null;
  description: string;
  disabled: number;
  expiresAt: number | null;
  now: number;
  by: string;
}>()('insertRobot', (db, p) =>
  db
    .insertInto('robot')
    .values({
      name: p('name'),
      project_id: p('projectId'),
      description: p('description'),
      disabled: p('disabled'),
      expires_at: p('expiresAt'),
      generation: 1,
      created_at: p('now'),
      created_by: p('by'),
      version: 1,
    })
    .onConflict((conflict) => conflict.column('name').doNothing())
    .returning('id'),
);
const updateRobot = query<{ id: number; description: string; disabled: number; expiresAt: number | null; raise: number }>()(
  'updateRobot',
  (db, p) =>
    db
      .updateTable('robot')
      .set((eb) => ({
        description: p('description'),
        disabled: p('disabled'),
        expires_at: p('expiresAt'),
        generation: eb('generation', '+', p('raise')),
        version: eb('version', '+', 1),
      }))
      .where('id', '=', p('id')),
);
const deleteRobotRow = query<{ id: number }>()('deleteRobot', (db, p) => db.deleteFrom('robot').where('id', '=', p('id')));

interface Position {
  projectId: number | null;
  name: string;
  /** -1: both. */
  disabled: number;
  after: string;
  limit: number;
}

function listed(name: string, order: Order): Query<Position, RobotRow> {
  return query<Position>()(name, (db, p) =>
    db
      .selectFrom('robot')
      .select(COLUMNS)
      .where('project_id', 'is not distinct from', p('projectId'))
      .where('name', order === 'asc' ? '>' : '<', p('after'))
      .where(holdsText(sql.ref('name'), p('name')))
      .where((eb) => eb.or([eb(p('disabled'), '=', -1), eb('disabled', '=', p('disabled'))]))
      .orderBy('name', order)
      .limit(p('limit')),
  );
}
const LISTS = { asc: listed('robots', 'asc'), desc: listed('robotsDescending', 'desc') };

export interface Robot {
  readonly id: number;
  /** As docker's user name. */
  readonly name: string;
  /** null: of the system. */
  readonly projectId: number | null;
  readonly description: string;
  readonly disabled: boolean;
  /** Milliseconds since 1970; null: never. */
  readonly expiresAt: number | null;
  readonly generation: number;
  readonly createdAt: number;
  readonly createdBy: string;
  readonly version: number;
}

type RobotRow = Omit<Robot, 'disabled'> & { readonly disabled: number };

/** A row read again from memory is the same object: it becomes a robot once. */
const ROBOTS = new WeakMap<RobotRow, Robot>();

function toRobot(row: RobotRow): Robot {
  let robot = ROBOTS.get(row);
  if (robot === undefined) {
    robot = { ...row, disabled: row.disabled === 1 };
    ROBOTS.set(row, robot);
  }
  return robot;
}

/** A robot's own name; no dot, so that the project's name before it always ends at the last one. */
const ROBOT_NAME = /^[a-z0-9]+(?:[-_]+[a-z0-9]+)*$/;
const ROBOT_NAME_LENGTH = 63;

/** Docker's user name of a robot: no character that a shell, URL or log could read as something else, and no name of a user. */
export function robotName(project: string | undefined, name: string): string {
  if (name.length > ROBOT_NAME_LENGTH || !ROBOT_NAME.test(name)) {
    throw new AppError('name_invalid', `a robot's name has 1 to ${ROBOT_NAME_LENGTH} of a-z and 0-9, with dashes and underscores between`);
  }
  return project === undefined ? `robot-${name}` : `robot-${project}.${name}`;
}

/** A robot as records name it. */
export function robotResource(name: string): AuditResource {
  const dot = name.lastIndexOf('.');
  return { type: 'robot', name, ...(dot < 0 ? {} : { project: name.slice('robot-'.length, dot) }) };
}

/** What a robot is called within its project. */
export function shortName({ name, projectId }: Robot): string {
  return projectId === null ? name.slice('robot-'.length) : name.slice(name.lastIndexOf('.') + 1);
}

export async function findRobotById(session: Session, id: number): Promise<Robot | undefined> {
  const row = await session.first(robotById, { id });
  return row && toRobot(row);
}

/** A robot of a project, or of the system. Throws `not_found` where there is none of that id there. */
export async function requireRobot(session: Session, projectId: number | null, id: number): Promise<Robot> {
  const row = await session.first(robotOf, { id, projectId });
  if (!row) throw new AppError('not_found', `there is no robot ${id}`);
  return toRobot(row);
}

/** Whether a robot may act now. */
export function isLive({ disabled, expiresAt }: Robot, now: number): boolean {
  return !disabled && (expiresAt === null || expiresAt > now);
}

export interface RobotPage {
  readonly projectId: number | null;
  readonly name?: string | undefined;
  readonly disabled?: boolean | undefined;
  readonly order: Order;
  readonly after: string | undefined;
  readonly limit: number;
}

export async function pageOfRobots(session: Session, page: RobotPage): Promise<Robot[]> {
  const { projectId, name = '', disabled, order, after = BEFORE_ALL[order].text, limit } = page;
  const only = disabled === undefined ? -1 : disabled ? 1 : 0;
  return (await session.all(LISTS[order], { projectId, name: containing(name), disabled: only, after, limit })).map(toRobot);
}

export interface NewRobot {
  /** As `robotName` gives it. */
  readonly name: string;
  readonly projectId: number | null;
  readonly description: string;
  readonly disabled: boolean;
  readonly expiresAt: number | null;
  readonly by: string;
  readonly now: number;
}

/** Makes a robot without any right. Throws `conflict` where there is one of that name. */
export async function createRobot(tx: Session, robot: NewRobot): Promise<Robot> {
  const made = await tx.first(insertRobot, { ...robot, disabled: robot.disabled ? 1 : 0 });
  if (!made) throw new AppError('conflict', `there is a robot ${robot.name} already`);
  await touchAccess(tx);
  return await requireRobot(tx, robot.projectId, made.id);
}

/** Changes a robot and gives it as it is now; disabling or enabling it voids all that was issued before. */
export async function changeRobot(
  tx: Session,
  robot: Robot,
  change: Partial<Pick<Robot, 'description' | 'disabled' | 'expiresAt'>>,
): Promise<Robot> {
  const { id, description, disabled, expiresAt } = { ...robot, ...change };
  const raise = disabled === robot.disabled ? 0 : 1;
  await tx.run(updateRobot, { id, description, disabled: disabled ? 1 : 0, expiresAt, raise });
  await touchAccess(tx);
  return await requireRobot(tx, robot.projectId, id);
}

/** Deletes a robot with its rights and all that proves it. */
export async function deleteRobot(tx: Session, id: number): Promise<void> {
  await dropSubjectAssignments(tx, { kind: 'robot', id });
  await dropKeysOf(tx, { kind: 'robot', id });
  await dropTrustRulesOf(tx, id);
  await dropRobotKeysOf(tx, id);
  await tx.run(deleteRobotRow, { id });
  await touchAccess(tx);
}

/** Deletes all robots of a project: part of its deletion. */
export async function dropProjectRobots(tx: Session, projectId: number): Promise<void> {
  for (const { id } of await tx.all(robotsOfProject, { projectId })) await deleteRobot(tx, id);
}

/** Names a state of a robot, for `ETag`. */
export function robotEtag({ id, version }: Robot): string {
  return `${id}.${version}`;
}

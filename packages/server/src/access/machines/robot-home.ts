import Type, { type TInteger, type TObject, type TOptional, type TString } from 'typebox';
import { AppError, type Session } from '../../platform/index.ts';
import type { Access } from '../access.ts';
import type { Identity } from '../identity.ts';
import { requireHoldsPolicy } from '../policies/holding.ts';
import { policiesOfRobot } from '../policies/policies.ts';
import { requireProject } from '../project-routes.ts';
import { requireMayGive, rightsOf } from './robot-rights.ts';
import { type Robot, requireRobot } from './robots.ts';

const Project = { project: Type.String({ maxLength: 128 }) };
const One = { robot: Type.Integer({ minimum: 1 }) };
const Part = { id: Type.Integer({ minimum: 1 }) };

/** The same handlers serve robots of the system, where the project is absent, and those of projects. */
export interface RobotHome {
  /** Path of the list. */
  readonly path: string;
  /** For people. */
  readonly where: string;
  readonly ofHome: TObject<{ project: TOptional<TString> }>;
  readonly ofRobot: TObject<{ project: TOptional<TString>; robot: TInteger }>;
  /** Of something that is a robot's. */
  readonly ofPart: TObject<{ project: TOptional<TString>; robot: TInteger; id: TInteger }>;
}

function home(path: string, where: string, outer: Partial<typeof Project>): RobotHome {
  const schemas = {
    ofHome: Type.Object(outer),
    ofRobot: Type.Object({ ...outer, ...One }),
    ofPart: Type.Object({ ...outer, ...One, ...Part }),
  };
  return { path, where, ...(schemas as unknown as Pick<RobotHome, 'ofHome' | 'ofRobot' | 'ofPart'>) };
}

export const ROBOT_HOMES: readonly RobotHome[] = [
  home('/robots', 'of the system', {}),
  home('/projects/:project/robots', 'of a project', Project),
];

export interface RobotParts {
  readonly database: Session;
  readonly access: Access;
}

/** Id of the project of a path; null: the system. */
export async function projectIdOf(session: Session, { project }: { readonly project?: string }): Promise<number | null> {
  return project === undefined ? null : (await requireProject(session, project)).id;
}

interface RobotPath {
  readonly project?: string;
  readonly robot: number;
}

/** The robot of a path. Throws `not_found` where it is none of that home. */
export async function robotOfPath(session: Session, params: RobotPath): Promise<Robot> {
  return await requireRobot(session, await projectIdOf(session, params), params.robot);
}

async function allOf(session: Session, robotId: number) {
  return { rights: await rightsOf(session, robotId), policies: await policiesOfRobot(session, robotId) };
}

/** All that a robot may, for `requireSameRights`. */
export async function heldBy(session: Session, robotId: number): Promise<string> {
  return JSON.stringify(await allOf(session, robotId));
}

/**
 * Whoever gets hold of a robot, by a new secret or by bringing it back, gets its rights. Throws `denied` unless the caller
 * holds them all, and gives them for `requireSameRights`.
 */
export async function requireHoldsAll(parts: RobotParts, caller: Identity, params: RobotPath): Promise<string> {
  const robot = await robotOfPath(parts.database, params);
  const held = await allOf(parts.database, robot.id);
  await requireMayGive(parts, caller, held.rights);
  for (const { document } of held.policies) await requireHoldsPolicy(parts.access, caller, document, 'allow');
  return JSON.stringify(held);
}

/** Throws `conflict` where a robot's rights are others than those that were looked at before the transaction. */
export async function requireSameRights(tx: Session, robot: Robot, rights: string): Promise<void> {
  if ((await heldBy(tx, robot.id)) !== rights) throw new AppError('conflict', "the robot's rights changed meanwhile");
}

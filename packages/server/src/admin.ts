import { existsSync } from 'node:fs';
import { isRepositoryName, projectOf } from '@entrepot/oci';
import {
  createUser,
  hashPassword,
  isProjectRole,
  isUserName,
  ROLES,
  randomPassword,
  setDisabled,
  setMember,
  setPassword,
} from './access/index.ts';
import { openDatabase } from './app.ts';
import { createProject, setProjectVisibility } from './catalog/index.ts';
import { commandLine } from './command-line.ts';
import { type AuditEntry, audit, type Config, dataPaths, isOnPostgres, type Session } from './platform/index.ts';

export { addEncryptionKey, encryptionStatus, rewrapKeys } from './encryption.ts';

/** Makes a new random password for a user and gives it. Throws if there is no such user. */
export async function resetPassword(config: Config, name: string): Promise<string> {
  const password = randomPassword();
  const hash = await hashPassword(password);
  if (!(await change(config, user('user.password', name), (tx) => setPassword(tx, name, hash))))
    throw new Error(`there is no user ${name}`);
  return password;
}

/** Makes a user with a random password and gives it. Throws if the name is taken or outside the grammar. */
export async function addUser(config: Config, name: string): Promise<string> {
  if (!isUserName(name))
    throw new Error('a user name has 1 to 63 of a-z, 0-9, dot, dash and underscore, and begins with a letter or digit');
  const password = randomPassword();
  const hash = await hashPassword(password);
  const made = await change(config, user('user.create', name), (tx, now) => createUser(tx, { name, hash, admin: false, now }));
  if (!made) throw new Error(`there is a user ${name} already`);
  return password;
}

export async function disableUser(config: Config, name: string, disabled: boolean): Promise<void> {
  if (!(await change(config, user('user.update', name, { disabled }), (tx) => setDisabled(tx, name, disabled))))
    throw new Error(`there is no user ${name}`);
}

/** Makes a project. Throws if the name is taken or outside the grammar. */
export async function addProject(config: Config, name: string, isPublic: boolean): Promise<void> {
  if (!isRepositoryName(name) || projectOf(name) !== name) throw new Error('a project name is one component of a repository name');
  const made = await change(config, project('project.create', name, { public: isPublic }), (tx, now) =>
    createProject(tx, {
      ...{ name, public: isPublic, by: 'command line', now },
      quotaBytes: config.projectQuotaBytes,
    }),
  );
  if (!made) throw new Error(`there is a project ${name} already`);
}

export async function setVisibility(config: Config, name: string, visibility: string): Promise<void> {
  if (visibility !== 'public' && visibility !== 'private') throw new Error('visibility is public or private');
  if (
    !(await change(config, project('project.update', name, { visibility }), (tx) =>
      setProjectVisibility(tx, name, visibility === 'public'),
    ))
  )
    throw new Error(`there is no project ${name}`);
}

export async function setProjectMember(config: Config, name: string, member: string, role: string): Promise<void> {
  if (!isProjectRole(role)) throw new Error(`a role is one of ${Object.keys(ROLES).filter(isProjectRole).join(', ')}`);
  const given = { project: name, user: member, role, by: 'command line' };
  if (!(await change(config, project('member.update', name, { member, role }), (tx, now) => setMember(tx, { ...given, now }))))
    throw new Error('there is no such project or no such user');
}

type Told = Pick<AuditEntry, 'action' | 'resource' | 'after'>;

function user(action: string, name: string, after?: unknown): Told {
  return { action, resource: { type: 'user', name }, ...(after === undefined ? {} : { after }) };
}

function project(action: string, name: string, after: unknown): Told {
  return { action, resource: { type: 'project', project: name }, after };
}

/** Changes something in a transaction together with its audit record; nothing is recorded where there was nothing to change. */
async function change<T>(config: Config, told: Told, work: (tx: Session, now: number) => Promise<T>): Promise<T> {
  const { root, database: path } = dataPaths(config);
  // A directory named by mistake must not become a registry, least of all one with users and no admin.
  if (!isOnPostgres(config) && !existsSync(path)) throw new Error(`there is no registry in ${root}; entrepot serve makes one`);
  const database = await openDatabase(config, { checkpoint: false });
  try {
    return await database.write(async (tx) => {
      const done = await work(tx, database.clock.now());
      if (done) await audit(tx, { actor: commandLine(), origin: null, outcome: 'success', ...told }, database.clock);
      return done;
    });
  } finally {
    await database.close();
  }
}

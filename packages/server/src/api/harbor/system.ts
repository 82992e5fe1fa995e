import Type from 'typebox';
import { findAccount, type Identity } from '../../access/index.ts';
import { repositoryCount } from '../../catalog/index.ts';
import { AppError, type Route, routesFor } from '../../platform/index.ts';
import { type HarborParts, NEVER, time } from './parts.ts';
import { projectsSeen } from './projects.ts';

const Any = Type.Unknown();
/** The version of Harbor whose API this is; clients look at its first parts. */
const VERSION = 'v2.15.0-entrepot';

/** Ping, health, what the system is, and who one is. */
export function systemRoutes({ database, access }: HarborParts): Route[] {
  const { read } = routesFor<Identity>();
  const common = { tag: 'Harbor', permission: 'public' } as const;
  return [
    read({
      ...common,
      method: 'GET',
      path: '/ping',
      summary: 'Answer',
      produces: 'text/plain',
      handle: async () => ({ text: { type: 'text/plain', chunks: pong() } }),
    }),
    read({
      ...common,
      method: 'GET',
      path: '/health',
      summary: 'Health of the components',
      answer: Any,
      async handle({ caller }) {
        await access.holds(caller, 'system:read', {}); // reads the database, or throws
        const components = ['core', 'database', 'registry'].map((name) => ({ name, status: 'healthy' }));
        return { body: { status: 'healthy', components } };
      },
    }),
    read({
      ...common,
      method: 'GET',
      path: '/systeminfo',
      summary: 'What the system is',
      answer: Any,
      async handle({ baseUrl, caller, now }) {
        const known = {
          harbor_version: VERSION,
          registry_url: baseUrl.replace(/^https?:\/\//, ''),
          external_url: baseUrl,
          current_time: time(now),
          project_creation_restriction: 'adminonly',
          has_ca_root: false,
          read_only: false,
          notification_enable: true,
        };
        const open = { auth_mode: 'db_auth', primary_auth_mode: false, self_registration: false, banner_message: '' };
        return { body: caller.subject ? { ...open, ...known } : open };
      },
    }),
    read({
      ...common,
      method: 'GET',
      path: '/statistics',
      summary: 'Projects and repositories that the caller sees, counted',
      permission: 'login',
      answer: Any,
      async handle({ caller }) {
        const projects = await projectsSeen({ database, access }, caller, 10_000);
        const found = { public: { projects: 0, repositories: 0 }, private: { projects: 0, repositories: 0 } };
        for (const project of projects) {
          const kind = found[project.public ? 'public' : 'private'];
          kind.projects++;
          kind.repositories += await repositoryCount(database, project.id);
        }
        const { public: open, private: closed } = found;
        return {
          body: {
            public_project_count: open.projects,
            public_repo_count: open.repositories,
            private_project_count: closed.projects,
            private_repo_count: closed.repositories,
            total_project_count: open.projects + closed.projects,
            total_repo_count: open.repositories + closed.repositories,
          },
        };
      },
    }),
    read({
      ...common,
      method: 'GET',
      path: '/users/current',
      summary: 'Who the caller is',
      permission: 'login',
      answer: Any,
      async handle({ caller }) {
        const { subject } = caller;
        if (subject?.kind !== 'user') throw new AppError('not_found', 'the caller is no user');
        const account = await findAccount(database, subject.name);
        return {
          body: {
            user_id: subject.id,
            username: subject.name,
            email: account?.email ?? '',
            realname: account?.fullName ?? '',
            comment: '',
            sysadmin_flag: await access.holds(caller, 'system:update', {}),
            admin_role_in_auth: false,
            creation_time: account ? time(account.createdAt) : NEVER,
            update_time: account ? time(account.createdAt) : NEVER,
          },
        };
      },
    }),
  ];
}

async function* pong(): AsyncGenerator<string> {
  yield 'Pong';
}

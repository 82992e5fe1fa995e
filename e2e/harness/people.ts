import { addProject, addUser, setProjectMember } from '../../packages/server/src/admin.ts';
import { loadConfig } from '../../packages/server/src/platform/config.ts';
import { basic, Client } from './client.ts';
import type { TestServer } from './server.ts';

export interface Town {
  readonly users: readonly string[];
  /** Projects: whether anybody may pull, and the members' roles. */
  readonly projects: Readonly<Record<string, { readonly public?: boolean; readonly members?: Readonly<Record<string, string>> }>>;
}

/** Users of a running server and what they present to it. */
export interface People {
  password(user: string): string;
  /** `Authorization` header with the user's password. */
  basic(user: string): string;
  client(user: string): Client;
  /** `Authorization` header with a fresh token for these scopes; anonymous where no user is named. */
  bearer(user: string | undefined, ...scopes: readonly string[]): Promise<string>;
}

/** Makes users and projects beside the running server, as an operator's commands do. */
export async function populate(server: TestServer, { users, projects }: Town): Promise<People> {
  const config = loadConfig({ env: {}, flags: { dataDir: server.dataDir, databaseUrl: server.databaseUrl ?? '' } });
  const passwords = new Map<string, string>();
  for (const user of users) passwords.set(user, await addUser(config, user));
  for (const [name, { public: isPublic = false, members = {} }] of Object.entries(projects)) {
    await addProject(config, name, isPublic);
    for (const [user, role] of Object.entries(members)) await setProjectMember(config, name, user, role);
  }
  const password = (user: string) => passwords.get(user) ?? '';
  return {
    password,
    basic: (user) => basic(user, password(user)),
    client: (user) => new Client(server.url, basic(user, password(user))),
    bearer: async (user, ...scopes) => {
      const client = user === undefined ? Client.anonymous(server.url) : new Client(server.url, basic(user, password(user)));
      const query = new URLSearchParams(scopes.map((scope): [string, string] => ['scope', scope]));
      const answer = await client.request('GET', `/token?service=entrepot&${query}`);
      return `Bearer ${answer.json<{ token: string }>().token}`;
    },
  };
}

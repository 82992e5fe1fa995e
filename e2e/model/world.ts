import { Client } from '../harness/client.ts';
import { populate } from '../harness/people.ts';
import type { TestServer } from '../harness/server.ts';
import type { Real } from './commands.ts';
import { BLOBS, materialOf, SHAPES } from './material.ts';
import { describeState, PROJECTS, type State, type User } from './reference.ts';

/** Makes the users and projects of the reference model on a server; each call of what it gives begins a run of its own. */
export async function openWorld(server: TestServer): Promise<() => Real> {
  const people = await populate(server, {
    users: ['ann', 'bob', 'eve'],
    projects: {
      alpha: { members: { ann: 'maintainer', bob: 'guest' } },
      beta: { members: { bob: 'maintainer' } },
      gamma: { public: true, members: { ann: 'developer', bob: 'developer' } },
    },
  });
  const clients: Record<User, Client> = {
    root: new Client(server.url),
    ann: people.client('ann'),
    bob: people.client('bob'),
    eve: people.client('eve'),
    anonymous: Client.anonymous(server.url),
  };
  let runs = 0;
  return () => {
    const run = `run-${++runs}`;
    return { clients, run, material: materialOf(run) };
  };
}

/** What a server says is there, by asking for all that could be: in the form of `describeState`. */
export async function observe({ clients, run, material }: Real): Promise<string> {
  const status = async (path: string) => (await clients.root.request('HEAD', path)).status;
  const present = async (kind: string, name: string, digests: readonly string[]) => {
    const found = await Promise.all(digests.map((digest) => status(`/v2/${name}/${kind}/${digest}`)));
    return new Set(digests.filter((_, index) => found[index] === 200));
  };
  const state: Record<string, NonNullable<State[keyof State]>> = {};
  for (const project of PROJECTS) {
    const name = `${project}/${run}`;
    const listed = await clients.root.request('GET', `/v2/${name}/tags/list`);
    if (listed.status === 404) continue;
    const tags = await Promise.all(
      listed.json<{ tags: string[] }>().tags.map(async (tag): Promise<[string, string]> => {
        const { headers } = await clients.root.request('HEAD', `/v2/${name}/manifests/${tag}`);
        return [tag, headers.get('docker-content-digest') ?? 'nothing'];
      }),
    );
    const [blobs, manifests] = await Promise.all([
      present(
        'blobs',
        name,
        BLOBS.map((blob) => material.blobs[blob].digest),
      ),
      present(
        'manifests',
        name,
        SHAPES.flatMap((shape) => Object.values(material.manifests[shape].digests)),
      ),
    ]);
    state[project] = { blobs, manifests, tags: new Map(tags) };
  }
  return describeState(state);
}

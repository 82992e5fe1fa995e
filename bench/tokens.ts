import type { Job } from './load/jobs.ts';
import { originOf, type Server } from './peers.ts';
import type { Measures } from './rows.ts';

const TURNS = 5;

/** Requests a second that a job reaches. */
type Rate = (job: Job) => Promise<number>;

const basicOf = ({ url }: Server) => `Basic ${Buffer.from(`${url.username}:${url.password}`).toString('base64')}`;

/**
 * The same manifest of a public project, pulled with a bearer token and by nobody in particular in turns, and tokens issued to
 * a user whose password comes with each request. Nothing for a server that asks for no login.
 */
export async function measureTokens(server: Server, repository: string, tag: string, rate: Rate): Promise<Measures> {
  if (server.url.username === '') return {};
  const [project = ''] = repository.split('/');
  const opened = await fetch(`http://${server.url.host}/api/v1/projects/${project}`, {
    method: 'PATCH',
    headers: { authorization: basicOf(server), 'content-type': 'application/json' },
    body: JSON.stringify({ public: true }),
  });
  if (!opened.ok) throw new Error(`the project could not be made public: ${opened.status}`);
  const origin = await originOf(server, repository);
  const pull = { kind: 'requests', method: 'GET', path: `/v2/${repository}/manifests/${tag}`, connections: 16, seconds: 1 } as const;
  const byNobody = { ...origin, authorization: undefined };
  await rate({ ...pull, origin });
  await rate({ ...pull, origin: byNobody }); // both ways are compiled by now
  let withToken = 0;
  let anonymous = 0;
  for (let turn = 0; turn < TURNS; turn++) {
    withToken += await rate({ ...pull, origin });
    anonymous += await rate({ ...pull, origin: byNobody });
  }
  const path = `/token?service=entrepot&scope=repository:${repository}:pull`;
  const issued = await rate({ ...pull, path, origin: { ...origin, authorization: basicOf(server) } });
  return { 'with token, of anonymous': withToken / anonymous, 'requests/s': withToken / TURNS, 'tokens/s': issued };
}

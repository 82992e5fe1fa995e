import { beforeAll, expect, it } from 'vitest';
import { addProject } from '../../packages/server/src/admin.ts';
import { loadConfig } from '../../packages/server/src/platform/config.ts';
import { basic, Client } from '../harness/client.ts';
import { populate } from '../harness/people.ts';
import { done, everyItem, refused, rest } from '../harness/rest.ts';
import { ADMIN, startServer, type TestServer } from '../harness/server.ts';

interface Job {
  readonly id: number;
  readonly kind: string;
  readonly state: string;
  readonly result: unknown;
}

let server: TestServer;
let root: Client;

beforeAll(async () => {
  server = await startServer();
  root = new Client(server.url);
  await addProject(loadConfig({ env: {}, flags: { dataDir: server.dataDir } }), 'demo', false);
});

/** Has a job made, and gives it. */
async function someJob(name: string): Promise<Job> {
  await root.pushImage(`demo/${name}`, 'v1');
  await done(204, root, 'DELETE', `/projects/demo/repositories/${name}`);
  const [item] = await everyItem<{ id: number }>(root, '/projects/demo/trash?kind=repository&limit=1');
  await done(204, root, 'DELETE', `/projects/demo/trash/${item?.id}`);
  const [job] = await everyItem<Job>(root, '/jobs?kind=repository.purge&limit=1');
  if (!job) throw new Error('no job was made');
  return job;
}

async function follow(id: number, headers: Record<string, string> = {}): Promise<Response> {
  return await fetch(`${server.url}/api/v1/jobs/${id}/events`, {
    headers: { Authorization: basic(ADMIN.user, ADMIN.password), ...headers },
  });
}

function eventsOf(text: string): { event: string; id: string; job: Job }[] {
  return text
    .split('\n\n')
    .filter((block) => block.startsWith('event: '))
    .map((block) => {
      const [event = '', id = '', data = ''] = block.split('\n').map((line) => line.slice(line.indexOf(': ') + 2));
      return { event, id, job: JSON.parse(data) as Job };
    });
}

it('are listed by age, kind and state, and read', async () => {
  const job = await someJob('one');
  expect(await done<Job>(200, root, 'GET', `/jobs/${job.id}`)).toMatchObject({ id: job.id, kind: 'repository.purge' });
  const all = await everyItem<Job>(root, '/jobs?limit=2');
  expect(all.map(({ id }) => id)).toEqual(all.map(({ id }) => id).sort((a, b) => b - a));
  expect(all.map(({ kind }) => kind)).toContain('uploads.expire');
  expect((await everyItem<Job>(root, '/jobs?limit=2&sort=created')).map(({ id }) => id)).toEqual(all.map(({ id }) => id).reverse());
  expect(await everyItem(root, '/jobs?state=dead')).toEqual([]);
  expect(JSON.stringify(all)).not.toContain('payload');
});

it('are followed until they end', async () => {
  const { id } = await someJob('two');
  const answer = await follow(id);
  expect(answer.headers.get('content-type')).toMatch(/^text\/event-stream/);
  const events = eventsOf(await answer.text());
  expect(events.at(-1)).toMatchObject({ event: 'end', job: { id, state: 'done', result: { rows: expect.any(Number) } } });
  expect(events.slice(0, -1).every(({ event }) => event === 'progress')).toBe(true);
  expect(new Set(events.map((event) => event.id)).size).toBe(events.length);
  // Its end is told to who comes later too.
  expect(eventsOf(await (await follow(id)).text()).map(({ event }) => event)).toEqual(['end']);
});

it('are not told again to who knows them, and let the server end', async () => {
  const [recurring] = (await everyItem<Job>(root, '/jobs?kind=platform.prune')) as [Job];
  const first = await follow(recurring.id);
  const reader = first.body?.getReader();
  let text = '';
  while (!text.includes('event: ')) text += Buffer.from((await reader?.read())?.value ?? '').toString();
  const id = eventsOf(text)[0]?.id ?? '';
  await reader?.cancel();
  const again = await follow(recurring.id, { 'Last-Event-ID': id });
  expect(await server.stop()).toBe(0);
  expect(eventsOf(await again.text())).toEqual([]);
  server = await startServer({ dataDir: server.dataDir });
  root = new Client(server.url);
});

it('are cancelled while they wait, not when they ended or recur', async () => {
  const [recurring] = (await everyItem<Job>(root, '/jobs?kind=platform.prune')) as [Job];
  expect(await refused(root, 'POST', `/jobs/${recurring.id}/cancel`)).toBe('409 conflict');
  const { id } = await someJob('three');
  const cancelled = await rest(root, 'POST', `/jobs/${id}/cancel`);
  expect([200, 409]).toContain(cancelled.status); // it may have been quicker
  await expect.poll(async () => (await done<Job>(200, root, 'GET', `/jobs/${id}`)).state).toMatch(/^(?:done|cancelled)$/);
  expect(await refused(root, 'POST', `/jobs/${id}/cancel`)).toBe('409 conflict');
  expect(await refused(root, 'GET', '/jobs/999999')).toBe('404 not_found');
});

it('are for those who may read the system, and are cancelled by those who may change it', async () => {
  const people = await populate(server, { users: ['auditor', 'nobody'], projects: {} });
  await done(201, root, 'POST', '/assignments', { kind: 'user', name: 'auditor', role: 'auditor' });
  const [job] = (await everyItem<Job>(people.client('auditor'), '/jobs')) as [Job];
  expect(await refused(people.client('auditor'), 'POST', `/jobs/${job.id}/cancel`)).toBe('403 denied');
  for (const path of ['/jobs', `/jobs/${job.id}`, `/jobs/${job.id}/events`]) {
    expect(await refused(people.client('nobody'), 'GET', path)).toBe('403 denied');
    expect(await refused(Client.anonymous(server.url), 'GET', path)).toBe('401 unauthorized');
  }
});

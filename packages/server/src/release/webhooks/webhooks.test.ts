import { createHmac, randomBytes } from 'node:crypto';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { catalogMigrations, createProject, findProject } from '../../catalog/index.ts';
import { roomData, type TestData } from '../../platform/database/testing.ts';
import {
  append,
  auditMigrations,
  createJobRunner,
  createOutbound,
  createSeal,
  type Database,
  type JobRunner,
  jobMigrations,
  type Outbound,
  outboxDelivery,
  outboxMigrations,
  queriesOf,
} from '../../platform/index.ts';
import { webhookConsumer } from './consumer.ts';
import { addDelivery, findDelivery, pageOfDeliveries, settleAttempt } from './deliveries.ts';
import { GIVE_UP_MS, webhookJob } from './job.ts';
import { LOG_MOST, pruneJob } from './prune.ts';
import { webhookMigrations } from './schema.ts';
import { sealSecrets, type WebhookSecrets } from './secrets.ts';
import { addWebhook, changeWebhook, findWebhook, projectsHearingPulls, setSecrets, type WebhookSettings } from './store.ts';
import { usualEventsOf } from './words.ts';

const HOUR = 3_600_000;
const PATIENCE = { timeout: 20_000 };
const SECRET = 'whsec_of-this-test';
const DIGEST = `sha256:${'a'.repeat(64)}`;
const PUSH = { digest: DIGEST, mediaType: 'application/vnd.oci.image.index.v1+json', size: 7, tags: ['v1'], by: 'ann' };

const records = queriesOf<{ audit_record: { seq: number; body: string } }>('test')()('records', (db) =>
  db.selectFrom('audit_record').select('body').orderBy('seq'),
);

interface Received {
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** A receiver that answers what it is told to; `undefined`: nothing, ever. */
async function startReceiver(answer: (request: Received) => number | undefined) {
  const requests: Received[] = [];
  const server = createServer((request, response) => {
    void text(request).then(
      (body) => {
        const seen = { url: request.url ?? '', headers: request.headers, body };
        requests.push(seen);
        const status = answer(seen);
        if (status !== undefined) response.writeHead(status, { Location: '/elsewhere' }).end('what nobody may see');
      },
      () => undefined,
    );
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const close = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return { requests, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close };
}

describe('webhooks', () => {
  const seal = createSeal(randomBytes(32));
  let store: TestData;
  let database: Database;
  let now: number;
  let clock: { now(): number };
  let closing: (() => Promise<unknown>)[];

  beforeEach(async () => {
    now = Date.UTC(2026, 0, 31, 12);
    clock = { now: () => now };
    closing = [];
    store = roomData([...catalogMigrations, ...jobMigrations, ...outboxMigrations, ...auditMigrations, ...webhookMigrations]);
    database = await store.open();
    await database.write((tx) => createProject(tx, { name: 'demo', public: false, by: 'ann', now }));
  });
  afterEach(async () => {
    for (const close of closing.reverse()) await close();
    await store.remove();
  });

  async function receiver(answer: (request: Received) => number | undefined) {
    const started = await startReceiver(answer);
    closing.push(started.close);
    return started;
  }

  async function add(url: string, settings: Partial<WebhookSettings> = {}, projectName: string | null = 'demo', more: object = {}) {
    const projectId = projectName === null ? null : ((await findProject(database, projectName))?.id ?? 0);
    const format = settings.format ?? 'cloudevents';
    const all = { name: 'ci', url, format, events: usualEventsOf(format), repositories: '', tags: '', enabled: true, ...settings };
    return await database.write(async (tx) => {
      const id = await addWebhook(tx, projectId, all, { by: 'ann', now });
      const secrets: WebhookSecrets = { signing: [{ secret: SECRET, endsAt: null }], ...more };
      await setSecrets(tx, id, sealSecrets(seal, id, secrets), false);
      return id;
    });
  }

  interface Running {
    readonly failureHours?: number;
    readonly answerMs?: number;
    readonly outbound?: Outbound;
    readonly holder?: string;
  }

  function runner({ failureHours = 72, answerMs = 5000, outbound, holder = 'one' }: Running = {}): JobRunner {
    const out = outbound ?? createOutbound({ outboundAllow: '127.0.0.1', outboundProxy: '', outboundCaFile: '' });
    const log = pino({ level: 'silent' });
    const consumer = webhookConsumer({ database, clock, registry: 'https://registry.example.com' });
    const sending = webhookJob({ database, outbound: out, seal, clock, log, failureHours, answerMs, random: () => 1 });
    const definitions = [outboxDelivery(database, clock, consumer), sending, pruneJob({ database, clock, logDays: 14 })];
    const jobs = createJobRunner({ database, clock, log, definitions, holder, pollMs: 5 });
    closing.push(async () => {
      await jobs.stop();
      await out.close();
    });
    return jobs;
  }

  const happen = (topic = 'manifest.pushed', repository = 'demo/app', payload: unknown = PUSH) =>
    database.write((tx) => append(tx, { topic, repository, payload }, now));
  const logOf = (id: number) => pageOfDeliveries(database, id, { order: 'asc', limit: 5000 });
  /** Runs all that is due, and what that made due. */
  async function settle(jobs: JobRunner): Promise<void> {
    while ((await jobs.runDue()) > 0);
  }

  it('tell of an event in the form of CloudEvents, signed', async () => {
    const { requests, url } = await receiver(() => 204);
    const id = await add(`${url}/in`, {}, 'demo', { authorization: 'Bearer of-ours', query: 'token=t' });
    await happen();
    await settle(runner());
    expect(requests).toHaveLength(1);
    const [{ headers, body, url: path } = { headers: {}, body: '', url: '' }] = requests;
    expect(path).toBe('/in?token=t');
    expect(headers).toMatchObject({
      'content-type': 'application/cloudevents+json; charset=utf-8',
      authorization: 'Bearer of-ours',
      'x-entrepot-event': 'artifact.pushed',
      'x-entrepot-event-id': `${now}-1`,
      'x-entrepot-attempt': '1',
    });
    const time = now / 1000;
    const signature = createHmac('sha256', SECRET).update(`${time}.${body}`).digest('hex');
    expect(headers['x-entrepot-signature']).toBe(`t=${time},v1=${signature}`);
    expect(JSON.parse(body)).toEqual({
      specversion: '1.0',
      id: `${now}-1`,
      source: 'https://registry.example.com',
      type: 'io.entrepot.artifact.pushed.v1',
      subject: `demo/app@${DIGEST}`,
      time: '2026-01-31T12:00:00.000Z',
      datacontenttype: 'application/json',
      data: {
        registry: 'https://registry.example.com',
        actor: 'ann',
        project: 'demo',
        repository: 'demo/app',
        digest: DIGEST,
        mediaType: PUSH.mediaType,
        size: 7,
        tags: ['v1'],
      },
    });
    expect(await logOf(id)).toMatchObject([{ state: 'delivered', attempts: 1, status: 204, error: null, nextAt: null }]);
    expect(await findWebhook(database, id)).toMatchObject({ failingSince: null, lastSuccessAt: now, version: 1 });
  });

  it("tell of it in Harbor's form, with the digest where there is no tag", async () => {
    const { requests, url } = await receiver(() => 200);
    await add(url, { format: 'harbor' });
    await happen('manifest.pushed', 'demo/team/app', { ...PUSH, tags: ['v1', 'latest'] });
    await happen('manifest.deleted', 'demo/team/app', { ...PUSH, tags: [] });
    await happen('tag.moved', 'demo/team/app', { tag: 'v1', digest: DIGEST, previous: null, by: 'ann' });
    await settle(runner());
    expect(requests.map(({ headers }) => headers['content-type'])).toEqual(['application/json', 'application/json']);
    const repository = { name: 'team/app', namespace: 'demo', repo_full_name: 'demo/team/app', repo_type: 'private' };
    const told = requests.map(({ body }) => JSON.parse(body) as { type: string }).sort((a, b) => (a.type > b.type ? -1 : 1));
    const common = { occur_at: now / 1000, operator: 'ann' };
    const resource = (tag: string, mark: string) => ({
      digest: DIGEST,
      tag,
      resource_url: `registry.example.com/demo/team/app${mark}${tag}`,
    });
    expect(told).toEqual([
      { type: 'PUSH_ARTIFACT', ...common, event_data: { resources: [resource('v1', ':'), resource('latest', ':')], repository } },
      { type: 'DELETE_ARTIFACT', ...common, event_data: { resources: [resource(DIGEST, '@')], repository } },
    ]);
  });

  it('hear of what they asked for only, of their own project, and those of the system of all', async () => {
    const { requests, url } = await receiver(() => 200);
    await database.write((tx) => createProject(tx, { name: 'other', public: false, by: 'ann', now }));
    await add(`${url}/own`);
    await add(`${url}/pattern`, { repositories: 'demo/a*', tags: 'v?', events: ['artifact.pushed', 'tag.moved', 'project.created'] });
    await add(`${url}/system`, {}, null);
    await add(`${url}/off`, { enabled: false });
    await happen('manifest.pushed', 'demo/app');
    await happen('manifest.pushed', 'demo/app', { ...PUSH, tags: [] });
    await happen('manifest.pushed', 'demo/web');
    await happen('tag.moved', 'demo/app', { tag: 'v2', digest: DIGEST, previous: DIGEST, by: 'bob' });
    await happen('tag.moved', 'demo/app', { tag: 'v10', digest: DIGEST, previous: null, by: 'bob' });
    await happen('tag.deleted', 'demo/app', { tag: 'v2', previous: DIGEST, by: 'bob' });
    await happen('manifest.pushed', 'other/app');
    await happen('member.batch', 'demo', { by: 'ann', before: [], after: [{ name: 'bob' }] });
    await happen('project.delete', 'gone', { by: 'ann' });
    await happen('something.else', 'demo', {});
    await settle(runner());
    const seen = (path: string) =>
      requests
        .filter(({ url: to }) => to === path)
        .map(({ body }) => JSON.parse(body) as { type: string; subject: string })
        .map(({ type, subject }) => `${type.slice('io.entrepot.'.length, -'.v1'.length)} ${subject.replace(DIGEST, 'digest')}`)
        .sort();
    const own = [
      ...['artifact.pushed demo/app@digest', 'artifact.pushed demo/app@digest', 'artifact.pushed demo/web@digest'],
      ...['member.changed demo', 'tag.deleted demo/app:v2', 'tag.moved demo/app:v10', 'tag.moved demo/app:v2'],
    ];
    expect(seen('/own')).toEqual(own);
    expect(seen('/pattern')).toEqual(['artifact.pushed demo/app@digest', 'tag.moved demo/app:v2']);
    expect(seen('/system')).toEqual([...own, 'artifact.pushed other/app@digest', 'project.deleted gone'].sort());
    expect(seen('/off')).toEqual([]);
  });

  it('hear of damage, of retention and, where they name them, of pulls', async () => {
    const { requests, url } = await receiver(() => 200);
    await add(`${url}/usual`);
    await add(`${url}/pulls`, { events: ['artifact.pulled'], tags: 'v1' });
    await add(`${url}/harbor`, { format: 'harbor', events: ['artifact.pulled', 'retention.finished'] });
    await add(`${url}/system`, { repositories: '' }, null);
    const retention = { policyId: 3, policy: 'old ones', run: 9, state: 'done', lookedAt: 5, kept: 4, deleted: 1, failed: 0 };
    const artifacts = [{ repository: 'demo/app', tag: 'v0', digest: DIGEST }];
    await happen('blob.damaged', 'demo/app', { digest: DIGEST, problem: 'hash', by: 'scrub' });
    await happen('blob.repaired', 'demo/app', { digest: DIGEST, source: 'push', by: 'scrub' });
    await happen('manifest.pulled', 'demo/app', { digest: DIGEST, tags: ['v1'], pulls: 7, by: 'bob' });
    await happen('manifest.pulled', 'demo/app', { digest: DIGEST, tags: [], pulls: 1, by: 'bob' });
    await happen('retention.finished', 'demo', { by: 'schedule', retention: { ...retention, artifacts } });
    await happen('retention.finished', '', { by: 'schedule', retention: { ...retention, artifacts } });
    await settle(runner());
    const seen = (path: string) =>
      requests.filter(({ url: to }) => to === path).map(({ body }) => JSON.parse(body) as { type: string; subject: string; data: object });
    const names = (path: string) =>
      seen(path)
        .map(({ type, subject }) => `${type.slice('io.entrepot.'.length, -'.v1'.length)} ${subject.replace(DIGEST, 'digest')}`)
        .sort();
    const usual = ['blob.damaged demo/app@digest', 'blob.repaired demo/app@digest', 'retention.finished demo'];
    expect(names('/usual')).toEqual(usual);
    expect(names('/system')).toEqual([...usual, 'retention.finished system']);
    expect(names('/pulls')).toEqual(['artifact.pulled demo/app@digest']);
    expect(seen('/pulls')[0]?.data).toMatchObject({ actor: 'bob', project: 'demo', repository: 'demo/app', tags: ['v1'], pulls: 7 });
    expect(seen('/usual').find(({ type }) => type.includes('damaged'))?.data).toMatchObject({ digest: DIGEST, problem: 'hash' });
    const repository = { name: 'app', namespace: 'demo', repo_full_name: 'demo/app', repo_type: 'private' };
    const pulled = (tag: string, mark: string, pulls: string) => ({
      ...{ type: 'PULL_ARTIFACT', occur_at: now / 1000, operator: 'bob' },
      event_data: {
        resources: [{ digest: DIGEST, tag, resource_url: `registry.example.com/demo/app${mark}${tag}` }],
        repository,
        custom_attributes: { Pulls: pulls },
      },
    });
    expect(seen('/harbor').sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1))).toEqual(
      [
        pulled('v1', ':', '7'),
        pulled(DIGEST, '@', '1'),
        {
          ...{ type: 'TAG_RETENTION', occur_at: now / 1000, operator: 'schedule' },
          event_data: {
            retention: {
              ...{ total: 5, retained: 4, harbor_hostname: 'registry.example.com', project_name: 'demo', retention_policy_id: 3 },
              ...{ result: 'SUCCESS', deleted_artifact: [{ type: 'image', status: 'SUCCESS', name_tag: 'demo/app:v0' }] },
            },
          },
        },
      ].sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)),
    );
  });

  it('that want to hear of pulls are known by their projects, as long as they are enabled', async () => {
    const demo = (await findProject(database, 'demo'))?.id;
    await add('https://a.example.com');
    expect(await projectsHearingPulls(database)).toEqual(new Set());
    const id = await add('https://b.example.com', { events: ['artifact.pulled', 'artifact.pushed'] });
    expect(await projectsHearingPulls(database)).toEqual(new Set([demo]));
    const hook = await findWebhook(database, id);
    if (!hook) throw new Error('no webhook');
    expect(hook.events).toEqual(['artifact.pulled', 'artifact.pushed']);
    await database.write((tx) => changeWebhook(tx, hook, { ...hook, enabled: false }, now));
    expect(await projectsHearingPulls(database)).toEqual(new Set());
    await database.write((tx) => changeWebhook(tx, hook, { ...hook, events: usualEventsOf('cloudevents') }, now));
    expect(await projectsHearingPulls(database)).toEqual(new Set());
    await add('https://c.example.com', { events: ['artifact.pulled'] }, null);
    expect(await projectsHearingPulls(database)).toBe('all');
  });

  it('do not hear of what happened before they were made, be it under the name of their project', async () => {
    const { requests, url } = await receiver(() => 200);
    await happen();
    now += 1000;
    await database.write((tx) => createProject(tx, { name: 'later', public: false, by: 'ann', now }));
    await add(url, {}, null);
    await add(url, {}, 'later');
    now -= 500;
    await happen('manifest.pushed', 'later/app');
    now += 1000;
    await happen('tag.moved', 'later/app', { tag: 'v1', digest: DIGEST, previous: null, by: 'ann' });
    await settle(runner());
    expect(requests.map(({ headers }) => headers['x-entrepot-event'])).toEqual(['tag.moved', 'tag.moved']);
  });

  it('are delivered once where the consumer hears of an event twice', async () => {
    const { requests, url } = await receiver(() => 200);
    await add(url);
    const consumer = webhookConsumer({ database, clock, registry: 'https://registry.example.com' });
    const event = { id: 5, topic: 'manifest.pushed', repository: 'demo/app', payload: PUSH, at: now };
    await consumer.handle(event, new AbortController().signal);
    await consumer.handle(event, new AbortController().signal);
    await settle(runner());
    expect(requests).toHaveLength(1);
  });

  it('are tried again with growing pauses for a day, with the same id', async () => {
    const { requests, url } = await receiver(() => 500);
    const id = await add(url);
    await happen();
    const jobs = runner({ failureHours: 1000 });
    await settle(jobs);
    const pauses: number[] = [];
    for (let [delivery] = await logOf(id); delivery?.nextAt != null; [delivery] = await logOf(id)) {
      pauses.push(delivery.nextAt - now);
      now = delivery.nextAt;
      await settle(jobs);
    }
    expect(pauses.slice(0, 4)).toEqual([1000, 2000, 4000, 8000]);
    expect(Math.max(...pauses)).toBe(HOUR);
    const lasted = pauses.reduce((sum, pause) => sum + pause, 0);
    expect(lasted).toBeGreaterThan(GIVE_UP_MS - HOUR);
    expect(lasted).toBeLessThanOrEqual(GIVE_UP_MS);
    expect(requests).toHaveLength(pauses.length + 1);
    expect(new Set(requests.map(({ body }) => body)).size).toBe(1);
    expect(requests.map(({ headers }) => Number(headers['x-entrepot-attempt']))).toEqual(requests.map((_, at) => at + 1));
    // Each attempt is signed anew, with its own time.
    expect(new Set(requests.map(({ headers }) => headers['x-entrepot-signature'])).size).toBe(requests.length);
    expect(await logOf(id)).toMatchObject([
      { state: 'failed', attempts: requests.length, status: 500, error: 'the receiver answered 500', nextAt: null },
    ]);
  });

  it('are disabled after long failure, with an audit record; a success in between begins anew', async () => {
    let status = 503;
    const { url } = await receiver(() => status);
    const id = await add(url);
    const jobs = runner({ failureHours: 48 });
    await happen();
    await settle(jobs);
    expect(await findWebhook(database, id)).toMatchObject({ enabled: true, failingSince: now });
    now += 47 * HOUR;
    status = 200;
    await happen();
    await settle(jobs);
    expect(await findWebhook(database, id)).toMatchObject({ enabled: true, failingSince: null });
    status = 404;
    const since = now;
    await happen();
    await settle(jobs);
    now += 48 * HOUR - 1;
    await happen();
    await settle(jobs);
    expect(await findWebhook(database, id)).toMatchObject({ enabled: true, failingSince: since });
    now += 2000;
    await settle(jobs);
    const reason = `no delivery succeeded since ${new Date(since).toISOString()}; the last error: the receiver answered 404`;
    expect(await findWebhook(database, id)).toMatchObject({ enabled: false, disabledReason: reason, version: 2 });
    expect((await logOf(id)).filter(({ state }) => state === 'waiting')).toEqual([]);
    const told = (await database.all(records, {})).map(({ body }) => JSON.parse(body) as unknown);
    expect(told).toEqual([
      expect.objectContaining({
        action: 'webhook.disable',
        actor: expect.objectContaining({ kind: 'system' }),
        resource: { type: 'webhook', name: 'ci', project: 'demo' },
        reason,
      }),
    ]);
    await happen();
    await settle(jobs);
    expect(await logOf(id)).toHaveLength(4); // nothing is made for it any more
  });

  it('that are slow hold up no other', async () => {
    const stuck = await receiver(() => undefined);
    const swift = await receiver(() => 200);
    await add(stuck.url, { name: 'stuck' });
    await add(swift.url, { name: 'swift' });
    for (let i = 0; i < 10; i++) await happen();
    const jobs = runner({ answerMs: 60_000 });
    void jobs.runDue();
    await expect.poll(() => stuck.requests.length, PATIENCE).toBe(4);
    await expect.poll(() => swift.requests.length, PATIENCE).toBe(10);
    await happen();
    await jobs.start();
    await expect.poll(() => swift.requests.length, PATIENCE).toBe(11);
    expect(stuck.requests).toHaveLength(4);
  });

  it('D1 are called through the checked way out only, and of what the other side says only the status is kept', async () => {
    const inside = await receiver(() => 200);
    const id = await add(inside.url);
    await happen();
    await settle(runner({ outbound: createOutbound({ outboundAllow: '', outboundProxy: '', outboundCaFile: '' }) }));
    expect(inside.requests).toEqual([]);
    expect(await logOf(id)).toMatchObject([{ status: null, error: 'the address is not one that webhooks may lead to' }]);

    const leading = await receiver(() => 307);
    const other = await add(leading.url, { name: 'leading' });
    await happen();
    await settle(runner({ holder: 'two' }));
    expect(leading.requests.map(({ url }) => url)).toEqual(['/']);
    const [delivery] = await logOf(other);
    expect(delivery).toMatchObject({ error: 'the receiver leads on to another address; redirects are not followed' });
    const whole = await findDelivery(database, other, delivery?.id ?? 0);
    expect(JSON.stringify([whole, await findWebhook(database, other)])).not.toContain('nobody may see');
  });

  it('keep a log that is shortened by age and by number, never what still waits', async () => {
    const id = await add('http://127.0.0.1:9/');
    const ended = { state: 'delivered', nextAt: null, status: 200, durationMs: 1, error: null } as const;
    await database.write(async (tx) => {
      for (let i = 0; i < LOG_MOST + 700; i++) {
        await addDelivery(tx, { webhookId: id, eventId: `e${i}`, event: 'tag.moved', format: 'cloudevents', body: '{}' }, now);
      }
    });
    const [waiting, ...others] = await logOf(id);
    await database.write(async (tx) => {
      for (const delivery of others) await tx.run(settleAttempt, { ...ended, id: delivery.id, attempts: 0, now });
    });
    const prune = pruneJob({ database, clock, logDays: 14 });
    const context = { signal: new AbortController().signal, attempt: 1, hold: async () => undefined, progress: async () => undefined };
    await prune.run(null, context);
    expect(await logOf(id)).toEqual([waiting, ...(await logOf(id)).slice(-LOG_MOST)]);
    expect((await logOf(id)).at(-1)?.eventId).toBe(`e${LOG_MOST + 699}`);
    now += 13 * 24 * HOUR;
    await prune.run(null, context);
    expect(await logOf(id)).toHaveLength(LOG_MOST + 1);
    now += 25 * HOUR;
    await prune.run(null, context);
    expect(await logOf(id)).toEqual([waiting]);
  });
});

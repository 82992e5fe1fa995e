import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Client, imageManifest, must, sha256 } from '../harness/client.ts';
import { startServer, type TestServer } from '../harness/server.ts';
import { attach, type Call, describeTraced } from './strace.ts';

const TRACE = ['-y', '-s', '120', '-e', 'trace=/^(pwrite64|fdatasync|fsync|mkdir(at)?|rename(at2?)?|write|writev)$'];
const name = 'demo/app';

describeTraced('before a 2xx: data synced, directory synced, transaction committed', () => {
  let server: TestServer;
  let client: Client;
  beforeAll(async () => {
    server = await startServer();
    client = new Client(server.url);
    await client.pushImage(name, 'first'); // so that what is made once, at the first push, is there
  });
  afterAll(() => server.stop());

  const traced = async (work: () => Promise<unknown>): Promise<Call[]> => {
    const tracer = await attach({ process: server.process.pid ?? 0 }, TRACE);
    await work();
    await tracer.detach();
    return tracer.calls();
  };

  test.each([
    ['a blob in one request', 10_000, false],
    ['a large blob in one request', 3_000_000, false],
    ['a blob in chunks', 1_500_000, true],
  ])('%s', async (_, size, chunked) => {
    const bytes = randomBytes(size);
    const digest = sha256(bytes);
    const location = (await must(client, [202], 'POST', `/v2/${name}/blobs/uploads/`)).headers.get('location') ?? '';
    if (chunked) await must(client, [202], 'PATCH', location, { body: bytes.subarray(0, size / 2) });
    const rest = chunked ? bytes.subarray(size / 2) : bytes;
    const calls = await traced(() => must(client, [201], 'PUT', `${location}?digest=${digest}`, { body: rest }));

    const folder = `/${digest.slice(7, 9)}/${digest.slice(7)}`;
    const renamed = one(calls, /^rename/, `${folder}/data"`);
    const source = /"([^"]*\/uploads\/[^"]*)"/.exec(renamed.args)?.[1] ?? 'no upload';
    const data = all(calls, /^pwrite64/, `<${source}>`);
    const sync = last(calls, /^f(data)?sync/, `<${source}>`);
    const made = one(calls, /^mkdir/, `${folder}"`);
    const folderSync = last(calls, /^fsync/, `${folder}>`);
    const parentSync = last(calls, /^fsync/, `/${digest.slice(7, 9)}>`);
    expect(data.length).toBeGreaterThan(0);
    // What was written to the log before the rename is the lease of the upload.
    const { written, synced, answered } = transaction(calls, 201, renamed.end);
    inOrder(data, [sync], [renamed], [folderSync, parentSync], written, [synced], [answered]);
    inOrder([made], [parentSync]);
  });

  test.each([
    ['a manifest', 201, () => putManifest(client, 'second')],
    ['a tag moved', 201, () => putManifest(client, 'second')],
    ['a tag deleted', 202, () => must(client, [202], 'DELETE', `/v2/${name}/manifests/first`)],
    ['a blob mounted', 201, () => mount(client)],
    ['a blob deleted', 202, () => must(client, [202], 'DELETE', `/v2/${name}-copy/blobs/${sha256(mounted)}`)],
  ])('%s', async (_, status, work) => {
    const { written, synced, answered } = transaction(await traced(work), status);
    inOrder(written, [synced], [answered]);
  });
});

const mounted = randomBytes(100);

async function putManifest(client: Client, tag: string): Promise<void> {
  const config = randomBytes(100);
  await client.pushBlob(name, config);
  await client.pushManifest(name, tag, imageManifest(config, []));
}

async function mount(client: Client): Promise<void> {
  await client.pushBlob(name, mounted);
  await must(client, [201], 'POST', `/v2/${name}-copy/blobs/uploads/?mount=${sha256(mounted)}&from=${name}`);
}

/** A transaction begun after a place in the trace: its writes to the log, the sync of the log, and the answer of that status. */
function transaction(calls: readonly Call[], status: number, after = -1): { written: Call[]; synced: Call; answered: Call } {
  const answered = last(calls, /^writev?$/, `"HTTP/1.1 ${status} `);
  const synced = last(calls, /^fdatasync/, 'entrepot.db-wal>');
  const former = calls.findLast((call) => call.name === 'fdatasync' && call.args.includes('entrepot.db-wal>') && call !== synced);
  const begin = Math.max(after, former?.start ?? -1);
  return { written: all(calls, /^pwrite64/, 'entrepot.db-wal>').filter((call) => call.start > begin), synced, answered };
}

/** Every call of a group is over before any of the next begins. */
function inOrder(...groups: readonly (readonly Call[])[]): void {
  for (const [index, group] of groups.entries()) {
    expect(group.length).toBeGreaterThan(0);
    for (const call of group) {
      const early = groups[index + 1]?.find((following) => following.start <= call.end);
      if (early) expect.fail(`${show(early)}\nbegan before the end of\n${show(call)}`);
    }
  }
}

const show = ({ name: call, args, start, end }: Call) => `${call}(${args.slice(0, 200)} at ${start} to ${end}`;

function all(calls: readonly Call[], call: RegExp, part: string): Call[] {
  return calls.filter((found) => call.test(found.name) && found.args.includes(part));
}

function last(calls: readonly Call[], call: RegExp, part: string): Call {
  const found = all(calls, call, part).at(-1);
  if (!found) expect.fail(`no ${call} with ${part} among\n${calls.map(show).join('\n')}`);
  return found;
}

function one(calls: readonly Call[], call: RegExp, part: string): Call {
  expect(all(calls, call, part)).toHaveLength(1);
  return last(calls, call, part);
}

import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Client, imageManifest, must, sha256 } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { exchange, head, openRaw, type RawConnection, until } from '../harness/raw.ts';
import { startServer, type TestServer } from '../harness/server.ts';
import { Ledger } from './ledger.ts';
import { newMaterial, pushImage } from './scenario.ts';

const name = 'demo/app';

describe('two workers', () => {
  const ledger = new Ledger();
  let server: TestServer;
  let client: Client;

  beforeAll(async () => {
    server = await startServer({ env: { ENTREPOT_WORKERS: '2' } });
    client = new Client(server.url);
    await pushImage(client, ledger, newMaterial());
  });
  afterAll(async () => {
    await ledger.verify(new Client(server.url));
    expect(await server.stop()).toBe(0);
    await checkInvariants(server.dataDir, ledger.acknowledged());
  });

  test('take the same and different images at once', async () => {
    const repositories = Array.from({ length: 6 }, (_, index) => newMaterial(`demo/own-${index}`));
    const config = randomBytes(200);
    const layers = [randomBytes(900_000), randomBytes(10_000)];
    const manifest = Buffer.from(JSON.stringify(imageManifest(config, layers)));
    const same = async () => {
      const own = new Client(server.url);
      for (const blob of [config, ...layers]) await own.pushBlob(name, blob);
      const headers = { 'Content-Type': 'application/vnd.oci.image.manifest.v1+json' };
      await must(own, [201], 'PUT', `/v2/${name}/manifests/same`, { headers, body: manifest });
    };
    await Promise.all([
      ...repositories.map((material) => pushImage(new Client(server.url), ledger, material)),
      ...Array.from({ length: 6 }, () => ledger.change('tag', name, 'same', manifest, same)),
    ]);
    expect(await ledger.verify(client)).toBeGreaterThan(30);
    await checkInvariants(server.dataDir, ledger.acknowledged());
  });

  test('an upload goes from one to the other and back', async () => {
    const [one, other] = await connectionToEach(server);
    const bytes = randomBytes(2_000_000);
    const begun = await exchange(one, head('POST', `/v2/${name}/blobs/uploads/`, { 'Content-Length': 0 }));
    const location = /^Location: (\S+)/im.exec(begun)?.[1] ?? '';
    const part = (index: number) => bytes.subarray(index * 500_000, (index + 1) * 500_000);
    for (const [index, connection] of [one, other, one].entries()) {
      const range = `${index * 500_000}-${(index + 1) * 500_000 - 1}`;
      const answer = await exchange(
        connection,
        head('PATCH', location, { 'Content-Length': 500_000, 'Content-Range': range }),
        part(index),
      );
      expect(answer).toMatch(/^HTTP\/1\.1 202 /);
      // The other sees at once how far it came.
      const status = await exchange(connection === one ? other : one, head('GET', location));
      expect(status).toContain(`Range: 0-${(index + 1) * 500_000 - 1}\r\n`);
    }
    const finished = () => exchange(other, head('PUT', `${location}?digest=${sha256(bytes)}`, { 'Content-Length': 500_000 }), part(3));
    await ledger.change('blob', name, sha256(bytes), bytes, async () => expect(await finished()).toMatch(/^HTTP\/1\.1 201 /));
    await ledger.verify(client);
    one.socket.destroy();
    other.socket.destroy();
  });

  test.each([0, 1])('kill -9 of worker %i: it is replaced, the other goes on, nothing acknowledged is lost', async (which) => {
    const before = workersOf(server);
    const victim = before[which] ?? 0;
    // Its upload breaks off in the middle of a chunk.
    const [a, b] = await connectionToEach(server);
    const held = ownerOf(server, a) === victim ? a : b;
    const bytes = randomBytes(1_000_000);
    const location = (await must(client, [202], 'POST', `/v2/${name}/blobs/uploads/`)).headers.get('location') ?? '';
    await must(client, [202], 'PATCH', location, { body: bytes.subarray(0, 300_000) });
    held.send(head('PATCH', location, { 'Content-Length': 700_000 }));
    held.send(bytes.subarray(300_000, 500_000));
    const have = async () => Number((await must(client, [204], 'GET', location)).headers.get('range')?.split('-')[1]) + 1;

    let pushes = 0;
    const stop = { now: false };
    const load = Promise.all(
      Array.from({ length: 3 }, async (_, index) => {
        while (!stop.now) {
          const material = newMaterial(`demo/load-${which}-${index}`);
          // A connection to the killed one breaks; what the client was told before that is a promise all the same.
          const done = await pushImage(new Client(server.url), ledger, material).then(
            () => true,
            (error: unknown) => error instanceof TypeError || Promise.reject(error),
          );
          if (done) pushes++;
        }
      }),
    );
    await until('pushes run', () => pushes >= 3);
    process.kill(victim, 'SIGKILL');
    await until('the worker is replaced', () => workersOf(server).filter((pid) => pid !== victim).length === 2);
    const then = pushes;
    await until('pushes go on', () => pushes > then + 6);
    stop.now = true;
    await load;
    await ledger.verify(client);
    await checkInvariants(server.dataDir, ledger.acknowledged());

    // The dead one's hold on the upload ends by itself, after half a minute: looking once is enough.
    const rest = async () => {
      const from = await have();
      expect(from).toBeGreaterThanOrEqual(300_000);
      return await must(client, [201, 409], 'PUT', `${location}?digest=${sha256(bytes)}`, { body: bytes.subarray(from) });
    };
    if (which === 0)
      await ledger.change('blob', name, sha256(bytes), bytes, () => until('the upload goes on', async () => (await rest()).status === 201));
    for (const { socket } of [a, b]) socket.destroy();
  });

  test('kill -9 of the process that watches over them: they end too, and a new start finds everything', async () => {
    const workers = workersOf(server);
    expect(workers).toHaveLength(2);
    await server.stop('SIGKILL');
    await until('they end', () => workers.every((pid) => !isRunning(pid)));
    server = await startServer({ dataDir: server.dataDir, env: { ENTREPOT_WORKERS: '2' } });
    client = new Client(server.url);
    await ledger.verify(client);
    await pushImage(client, ledger, newMaterial());
  });
});

function workersOf({ process: { pid = 0 } }: TestServer): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number);
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Connects until there is a connection to each worker: the kernel spreads them. */
async function connectionToEach(server: TestServer): Promise<[RawConnection, RawConnection]> {
  const found = new Map<number, RawConnection>();
  await until('a connection to each worker', async () => {
    const connection = await openRaw(server);
    await exchange(connection, head('GET', '/v2/'));
    const owner = ownerOf(server, connection);
    if (owner === undefined || found.has(owner)) connection.socket.destroy();
    else found.set(owner, connection);
    return found.size === 2;
  });
  const [one, other] = [...found.values()];
  if (!one || !other) throw new Error('unreachable');
  return [one, other];
}

/** The worker that has the other end of a connection: the one with that socket among its files. */
function ownerOf(server: TestServer, { socket }: RawConnection): number | undefined {
  const hex = (port: number | undefined) => (port ?? 0).toString(16).toUpperCase().padStart(4, '0');
  const end = new RegExp(`^\\s*\\d+: \\w+:${hex(socket.remotePort)} \\w+:${hex(socket.localPort)} `);
  const line = readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .find((text) => end.test(text));
  const inode = line?.trim().split(/\s+/)[9];
  return workersOf(server).find((pid) =>
    readdirSync(`/proc/${pid}/fd`).some((fd) => {
      try {
        return readlinkSync(`/proc/${pid}/fd/${fd}`) === `socket:[${inode}]`;
      } catch {
        return false; // closed meanwhile
      }
    }),
  );
}

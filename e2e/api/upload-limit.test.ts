import { randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { begin, Client, errorOf, must, sha256 } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { startServer, type TestServer } from '../harness/server.ts';
import { unmeasured, WAYS } from './ways.ts';

const name = 'demo/app';

// Below the limit on what is gathered in memory, and above it: the two take different ways to the disk.
describe.each([20_000, 3_000_000])('no blob of more than %i bytes', (limit) => {
  let server: TestServer;
  let client: Client;
  beforeAll(async () => {
    server = await startServer({ options: { 'blob-max-bytes': String(limit) } });
    client = new Client(server.url);
  });
  afterAll(async () => {
    expect(await server.stop()).toBe(0);
    await checkInvariants(server.dataDir);
  });

  const uploadFiles = () => readdirSync(join(server.dataDir, 'storage/docker/registry/v2/uploads'));

  test.each(Object.entries(WAYS))('%s', async (way, upload) => {
    const fits = randomBytes(limit);
    const { answer } = await upload(client, name, fits, sha256(fits));
    expect(answer.status).toBe(201);

    const over = randomBytes(limit + 1);
    // Where the first request of several is refused already, the way ends there.
    let left: string | undefined;
    const refused = await upload(client, name, over, sha256(over)).then(
      ({ answer, location }) => {
        expect(answer.status).toBe(413);
        expect(errorOf(answer).code).toBe('SIZE_INVALID');
        return location;
      },
      (error: Error) => {
        left = /^PATCH (\S+) answered 413: .*"SIZE_INVALID"/.exec(error.message)?.[1];
        expect(left).toBeDefined();
        return undefined;
      },
    );
    await must(client, [404], 'HEAD', `/v2/${name}/blobs/${sha256(over)}`);
    if (refused !== undefined) await must(client, [404], 'GET', refused);
    if (!way.startsWith('PATCH')) expect(left).toBeUndefined();
    if (left !== undefined) await must(client, [204], 'DELETE', left);
    expect(uploadFiles()).toEqual([]);
  });

  test('a chunk too many is refused, what came before it stays, and the upload can end within the limit', async () => {
    const bytes = randomBytes(limit);
    const half = limit / 2;
    const location = await begin(client, name);
    await must(client, [202], 'PATCH', location, { body: bytes.subarray(0, half) });
    await must(client, [413], 'PATCH', location, { body: randomBytes(half + 1) });
    expect((await must(client, [204], 'GET', location)).headers.get('range')).toBe(`0-${half - 1}`);
    await must(client, [201], 'PUT', `${location}?digest=${sha256(bytes)}`, { body: bytes.subarray(half) });
    expect((await must(client, [200], 'GET', `/v2/${name}/blobs/${sha256(bytes)}`)).bytes.equals(bytes)).toBe(true);
  });

  test('a chunk of unknown length is cut at the limit at the latest', async () => {
    const location = await begin(client, name);
    await must(client, [413], 'PATCH', location, { body: unmeasured(randomBytes(3 * limit)) });
    const range = (await must(client, [204], 'GET', location)).headers.get('range') ?? '';
    expect(Number(range.slice(2))).toBeLessThan(limit);
    await must(client, [204], 'DELETE', location);
  });
});

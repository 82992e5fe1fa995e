import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Client, must } from '../harness/client.ts';
import { newSigner } from '../harness/jwt.ts';
import { startServer, type TestServer } from '../harness/server.ts';
import { describeWith } from '../harness/tools.ts';
import { randomImage, writeLayout } from './images.ts';
import { type Workbench, workbench } from './workbench.ts';

const DENIED = /requested access to the resource is denied|authentication required|unauthorized/;

describeWith(['skopeo'], 'skopeo as a robot', () => {
  let server: TestServer;
  let admin: Client;
  let bench: Workbench;
  let image: string;
  beforeAll(async () => {
    server = await startServer();
    admin = new Client(server.url);
    bench = workbench();
    await make('/projects', { name: 'demo' });
    writeLayout(join(bench.folder, 'image'), randomImage(2, 10_000), 'v1');
    image = `oci:${join(bench.folder, 'image')}:v1`;
  });
  afterAll(async () => expect(await server.stop()).toBe(0));

  const make = async <T>(path: string, body: object): Promise<T> =>
    (
      await must(admin, [201], 'POST', `/api/v1${path}`, { headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) })
    ).json<T>();
  const push = (to: string) => bench.skopeo('copy', '--dest-tls-verify=false', image, `docker://${server.address}/${to}`);
  const pull = (from: string) =>
    bench.skopeo(
      'copy',
      '--src-tls-verify=false',
      `docker://${server.address}/${from}`,
      `dir:${join(bench.folder, randomBytes(4).toString('hex'))}`,
    );

  test('pushes and pulls where it may with its secret, and nowhere else', async () => {
    const rights = [{ role: 'developer', pattern: 'demo/app-*' }];
    const { id, login, secret } = await make<{ id: number; login: string; secret: string }>('/projects/demo/robots', {
      name: 'ci-1',
      rights,
    });
    await bench.login(server, login, secret);
    await push('demo/app-one:v1');
    await pull('demo/app-one:v1');
    await expect(push('demo/other:v1')).rejects.toThrow(DENIED);
    await must(admin, [204], 'DELETE', `/api/v1/projects/demo/robots/${id}`);
    await expect(pull('demo/app-one:v1')).rejects.toThrow(DENIED);
  });

  test("pushes with the token of its workload's issuer as password", async () => {
    const signer = newSigner('RS256', 'k');
    const rights = [{ role: 'developer' }];
    const { id, login } = await make<{ id: number; login: string }>('/projects/demo/robots', { name: 'ci-2', rights, withSecret: false });
    await make(`/projects/demo/robots/${id}/trust-rules`, {
      name: 'main',
      issuer: 'https://ci.example.com',
      audience: server.url,
      jwks: JSON.stringify({ keys: [signer.jwk] }),
      condition: 'claims.branch == "main"',
    });
    const now = Math.floor(Date.now() / 1000);
    const token = (branch: string) =>
      signer.sign({ branch, iss: 'https://ci.example.com', sub: 'job', aud: server.url, iat: now, exp: now + 300 });
    await bench.login(server, login, token('main'));
    await push('demo/workload:v1');
    await pull('demo/workload:v1');
    await expect(bench.login(server, login, token('other'))).rejects.toThrow('invalid username/password');
  });
});

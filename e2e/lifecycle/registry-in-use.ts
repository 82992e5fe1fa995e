import { randomBytes } from 'node:crypto';
import { expect } from 'vitest';
import { basic, Client, must, type PushedImage, sha256 } from '../harness/client.ts';
import { done } from '../harness/rest.ts';

const PASSWORD = 'plum-tractor-seventeen-owl';

/** What was put into a registry, and must be had from it wherever it was moved or restored. */
export interface InUse {
  /** Pulls everything, logs everybody in, and looks at what else was said. */
  check(url: string): Promise<void>;
  /** Pushes one more image, that is checked too from now on. */
  push(client: Client, tag: string): Promise<void>;
}

/** Fills a registry as people do: images, a user, a robot, a deleted tag. */
export async function useRegistry(url: string): Promise<InUse> {
  const admin = new Client(url);
  const images = new Map<string, { readonly image: PushedImage; readonly layers: readonly Buffer[] }>();
  const push = async (client: Client, tag: string) => {
    const layers = [randomBytes(300_000), Buffer.from(`layer of ${tag}`)];
    images.set(tag, { layers, image: await client.pushImage('demo/app', tag, layers) });
  };
  for (const tag of ['v1', 'v2', 'gone']) await push(admin, tag);
  await done(201, admin, 'POST', '/users', { name: 'carol', password: PASSWORD });
  await done(201, admin, 'POST', '/projects/demo/members', { kind: 'user', name: 'carol', role: 'guest' });
  const rights = [{ role: 'guest', pattern: 'demo/**' }];
  const robot = await done<{ login: string; secret: string }>(201, admin, 'POST', '/projects/demo/robots', { name: 'ci', rights });
  await must(admin, [202], 'DELETE', '/v2/demo/app/manifests/gone');
  images.delete('gone');
  return {
    push,
    async check(at) {
      const everybody = [new Client(at), new Client(at, basic('carol', PASSWORD)), new Client(at, basic(robot.login, robot.secret))];
      for (const client of everybody) {
        for (const [tag, { image, layers }] of images) {
          const answer = await must(client, [200], 'GET', `/v2/demo/app/manifests/${tag}`);
          expect([answer.headers.get('docker-content-digest'), answer.bytes.equals(image.bytes)]).toEqual([image.digest, true]);
          for (const layer of layers) {
            expect((await must(client, [200], 'GET', `/v2/demo/app/blobs/${sha256(layer)}`)).bytes.equals(layer)).toBe(true);
          }
        }
        await must(client, [404], 'GET', '/v2/demo/app/manifests/gone');
      }
      const trash = await done<{ items: { name: string }[] }>(200, new Client(at), 'GET', '/projects/demo/trash');
      expect(trash.items.map(({ name }) => name)).toContain('gone');
    },
  };
}

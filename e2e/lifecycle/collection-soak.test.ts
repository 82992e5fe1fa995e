import { randomBytes, randomInt } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { type Answer, Client, imageManifest, sha256 } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { rest } from '../harness/rest.ts';
import { startServer } from '../harness/server.ts';
import { storedIn } from './stored.ts';

/** Short with every run of the tests; `ENTREPOT_SOAK=ci` for five minutes, `long` for three hours. */
const FORMS = {
  short: { seconds: 10, cycles: 1 },
  ci: { seconds: 300, cycles: 60 },
  long: { seconds: 3 * 3600, cycles: 481 },
} as const;
const { seconds, cycles } = FORMS[(process.env.ENTREPOT_SOAK ?? 'short') as keyof typeof FORMS] ?? FORMS.short;

const GRACE_MS = 3000;
const PUSHERS = 4;
const REPOSITORIES = ['soak/a', 'soak/b', 'soak/c', 'soak/d'];
const LAYERS = 80;
/** So few that most contents are garbage at any time. */
const IMAGES = 6;

const pick = <T>(from: readonly T[]): T => from[randomInt(from.length)] as T;

test(
  `pushes, mounts, deletions and pulls beside collection, ${seconds} s: nothing needed is missing, nothing else stays`,
  async () => {
    const server = await startServer({ options: { 'collection-grace-seconds': String(GRACE_MS / 1000), 'trash-days': '0' } });
    const client = new Client(server.url);
    // Few contents for many images: what goes with one image is pushed again for the next.
    const layers = Array.from({ length: LAYERS }, (_, at) => randomBytes(at % 20 === 0 ? 2_200_000 : 500 + at));
    const counts = { pushes: 0, mounts: 0, heads: 0, uploads: 0, deletions: 0, pulls: 0, repeated: 0, slow: 0 };
    const broken: string[] = [];
    const images = new Map<string, { readonly name: string; readonly digest: string }>();
    const end = performance.now() + seconds * 1000;
    const goesOn = () => performance.now() < end && broken.length === 0;
    const say = (what: string) => void broken.push(`${new Date().toISOString()} ${what}`);

    /** What a load balancer's client does with 503: it comes again. */
    async function steady(request: () => Promise<Answer>): Promise<Answer> {
      for (let tries = 1; ; tries++) {
        const answer = await request();
        if (answer.status !== 503 || tries === 5) return answer;
        counts.repeated++;
        await delay(200 * tries);
      }
    }

    async function upload(name: string, bytes: Buffer): Promise<void> {
      const digest = sha256(bytes);
      counts.uploads++;
      const done = await steady(async () => {
        const begun = await client.request('POST', `/v2/${name}/blobs/uploads/`);
        let location = begun.headers.get('location') ?? '';
        if (begun.status !== 202) return begun;
        const isChunked = randomInt(2) === 0;
        if (isChunked) location = (await client.request('PATCH', location, { body: bytes })).headers.get('location') ?? location;
        return await client.request('PUT', `${location}?digest=${digest}`, isChunked ? {} : { body: bytes });
      });
      if (done.status !== 201) say(`upload ${name}@${digest} answered ${done.status}: ${done.bytes}`);
    }

    async function bring(name: string, bytes: Buffer): Promise<void> {
      const digest = sha256(bytes);
      if ((await client.request('HEAD', `/v2/${name}/blobs/${digest}`)).status === 200) return void counts.heads++;
      if (randomInt(2) === 0) {
        const from = randomInt(2) === 0 ? `&from=${pick(REPOSITORIES)}` : '';
        const mounted = await client.request('POST', `/v2/${name}/blobs/uploads/?mount=${digest}${from}`);
        if (mounted.status === 201) return void counts.mounts++;
      }
      await upload(name, bytes);
    }

    async function push(): Promise<void> {
      if (images.size >= IMAGES) await remove();
      const name = pick(REPOSITORIES);
      const chosen = Array.from({ length: 1 + randomInt(4) }, () => pick(layers));
      const config = Buffer.from(
        JSON.stringify({ architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [] }, n: randomInt(8) }),
      );
      const begun = performance.now();
      for (const bytes of [config, ...chosen]) await bring(name, bytes);
      const manifest = Buffer.from(JSON.stringify(imageManifest(config, chosen, { annotations: { n: randomBytes(6).toString('hex') } })));
      const tag = `t${randomInt(40)}`;
      const headers = { 'Content-Type': 'application/vnd.oci.image.manifest.v1+json' };
      const done = await steady(() => client.request('PUT', `/v2/${name}/manifests/${tag}`, { headers, body: manifest }));
      const took = performance.now() - begun;
      // Longer than what was promised: the machine is at fault.
      if (done.status === 404 && took >= GRACE_MS / 2) return void counts.slow++;
      if (done.status !== 201) return say(`push ${name}:${tag} answered ${done.status} after ${Math.round(took)} ms: ${done.bytes}`);
      counts.pushes++;
      images.set(`${name}@${sha256(manifest)}`, { name, digest: sha256(manifest) });
    }

    async function remove(): Promise<void> {
      const some = [...images.values()].at(randomInt(Math.max(1, images.size)));
      if (!some) return;
      images.delete(`${some.name}@${some.digest}`);
      const gone = await steady(() => client.request('DELETE', `/v2/${some.name}/manifests/${some.digest}`));
      if (gone.status !== 202) say(`deletion of ${some.name}@${some.digest} answered ${gone.status}: ${gone.bytes}`);
      counts.deletions++;
      // A member that nothing needs, of a repository without images: its last link goes with no grace at all.
      const bytes = pick(layers);
      await upload('soak/loose', bytes);
      await client.request('DELETE', `/v2/soak/loose/blobs/${sha256(bytes)}`);
      await rest(client, 'DELETE', '/projects/soak/trash');
    }

    async function pull(): Promise<void> {
      const some = [...images.values()].at(randomInt(Math.max(1, images.size)));
      if (!some) return;
      const begun = performance.now();
      const manifest = await client.request('GET', `/v2/${some.name}/manifests/${some.digest}`);
      if (manifest.status === 404) return; // deleted since it was chosen
      const { config, layers: parts } = manifest.json<{ config: { digest: string }; layers: { digest: string }[] }>();
      for (const { digest } of [config, ...parts]) {
        const blob = await client.request('GET', `/v2/${some.name}/blobs/${digest}`);
        if (blob.status === 200 && sha256(blob.bytes) === digest) continue;
        const isDeleted = (await client.request('HEAD', `/v2/${some.name}/manifests/${some.digest}`)).status === 404;
        if (isDeleted && performance.now() - begun >= GRACE_MS) return void counts.slow++;
        return say(`pull of ${digest} of ${some.name}@${some.digest} answered ${blob.status}: ${blob.bytes.subarray(0, 200)}`);
      }
      counts.pulls++;
    }

    const loop = async (act: () => Promise<void>, ms: number) => {
      for (; goesOn(); await delay(ms)) await act();
    };
    await Promise.all([
      ...Array.from({ length: PUSHERS }, () => loop(push, 0)),
      loop(remove, 30),
      loop(remove, 30),
      loop(pull, 10),
      loop(pull, 10),
    ]);
    expect(broken).toEqual([]);

    const metrics = (await client.request('GET', '/metrics')).bytes.toString();
    const value = (name: string) => Number(new RegExp(`^${name} (.*)$`, 'm').exec(metrics)?.[1] ?? 0);
    const runs = Number(/entrepot_job_duration_seconds_count\{kind="blobs.collect",outcome="done"\} (\d+)/.exec(metrics)?.[1] ?? 0);
    console.log(
      JSON.stringify({
        seconds,
        ...counts,
        images: images.size,
        runs,
        links: value('entrepot_collection_links_total'),
        blobs: value('entrepot_collection_blobs_total'),
        bytes: value('entrepot_collection_bytes_total'),
        failures: value('entrepot_collection_failures_total'),
      }),
    );
    expect(runs).toBeGreaterThanOrEqual(cycles);
    expect(counts.pushes).toBeGreaterThan(5);

    // What is left is what images need, each blob of it whole.
    const needed = new Set<string>();
    for (const { name, digest } of images.values()) {
      const { config, layers: parts } = (await client.request('GET', `/v2/${name}/manifests/${digest}`)).json<{
        config: { digest: string };
        layers: { digest: string }[];
      }>();
      for (const part of [config, ...parts]) needed.add(part.digest);
    }
    await rest(client, 'DELETE', '/projects/soak/trash');
    await expect.poll(() => storedIn(server.dataDir).sort(), { timeout: 60_000, interval: 500 }).toEqual([...needed].sort());
    for (const { name, digest } of images.values()) {
      expect((await client.request('DELETE', `/v2/${name}/manifests/${digest}`)).status).toBe(202);
    }
    await rest(client, 'DELETE', '/projects/soak/trash');
    await expect.poll(() => storedIn(server.dataDir), { timeout: 60_000, interval: 500 }).toEqual([]);
    expect(await server.stop()).toBe(0);
    await checkInvariants(server.dataDir);
  },
  (seconds + 240) * 1000,
);

import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Client } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { startServer, type TestServer } from '../harness/server.ts';
import { describeIfPresent } from '../harness/tools.ts';
import { type Descriptor, manifestOf } from './images.ts';
import { workbench } from './workbench.ts';

/** A folder of OCI image layouts, one image in each, such as a distribution's own. */
const FOLDER = process.env.ENTREPOT_IMAGES;
const layouts = FOLDER === undefined ? [] : readdirSync(FOLDER).filter((name) => existsSync(join(FOLDER, name, 'index.json')));

describeIfPresent(['ENTREPOT_IMAGES', 'root', 'skopeo', 'buildah', 'podman'], 'real images', () => {
  let server: TestServer;
  let client: Client;

  beforeAll(async () => {
    server = await startServer();
    client = new Client(server.url);
  });
  afterAll(async () => {
    expect(await server.stop()).toBe(0);
    const { blobs, manifests } = await checkInvariants(server.dataDir);
    console.log(`real images: ${layouts.length} images, ${manifests} manifests and ${blobs} blobs went through`);
  });

  test.each(layouts)(
    '%s goes through skopeo, buildah and podman',
    async (name) => {
      const source = join(FOLDER ?? '', name);
      const bench = workbench();
      await bench.login(server);
      const { tag, descriptor } = entryOf(source);
      const reference = `${server.address}/images/${name}:${tag}`;
      await bench.skopeo('copy', '--all', '--dest-tls-verify=false', `oci:${source}:${tag}`, `docker://${reference}`);
      expect(await manifestOf(client, `images/${name}`, tag)).toEqual(readBlob(source, descriptor.digest));

      const target = join(bench.folder, 'pulled');
      await bench.skopeo('copy', '--all', '--src-tls-verify=false', `docker://${reference}`, `oci:${target}:${tag}`);
      expect(entryOf(target).descriptor.digest).toBe(descriptor.digest);
      for (const digest of reachable(source, descriptor)) expect(readBlob(target, digest).equals(readBlob(source, digest))).toBe(true);

      // Both check every layer against the config as they unpack.
      const config = configOf(source, descriptor);
      expect(`sha256:${(await bench.buildah('pull', '-q', '--tls-verify=false', reference)).trim()}`).toBe(config);
      await bench.buildah('rmi', '-f', '-a');
      expect(`sha256:${(await bench.podman('pull', '-q', '--tls-verify=false', reference)).trim()}`).toBe(config);
      rmSync(bench.folder, { recursive: true });
    },
    600_000,
  );
});

interface Manifest {
  readonly config?: Descriptor;
  readonly layers?: readonly Descriptor[];
  readonly manifests?: readonly (Descriptor & { readonly annotations?: Readonly<Record<string, string>> })[];
}

function entryOf(layout: string): { tag: string; descriptor: Descriptor } {
  const [entry] = (JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')) as Manifest).manifests ?? [];
  const tag = entry?.annotations?.['org.opencontainers.image.ref.name'];
  if (entry === undefined || tag === undefined) throw new Error(`${layout} holds no tagged image`);
  return { tag, descriptor: entry };
}

function readBlob(layout: string, digest: string): Buffer {
  return readFileSync(join(layout, 'blobs', digest.replace(':', '/')));
}

function manifestIn(layout: string, digest: string): Manifest {
  return JSON.parse(readBlob(layout, digest).toString()) as Manifest;
}

/** Digests of a manifest and of all below it. */
function reachable(layout: string, { digest }: Descriptor): string[] {
  const { config, layers = [], manifests = [] } = manifestIn(layout, digest);
  const blobs = [...(config ? [config] : []), ...layers].map((blob) => blob.digest);
  return [digest, ...blobs, ...manifests.flatMap((child) => reachable(layout, child))];
}

/** The config of an image, or of an index's image for this machine. */
function configOf(layout: string, { digest }: Descriptor): string | undefined {
  const { config, manifests = [] } = manifestIn(layout, digest);
  const architecture = process.arch === 'x64' ? 'amd64' : process.arch;
  const own = manifests.find(({ platform }) => platform?.architecture === architecture);
  return config?.digest ?? (own && configOf(layout, own));
}

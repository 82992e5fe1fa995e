import { randomBytes } from 'node:crypto';
import { type Client, imageManifest, must, sha256 } from '../harness/client.ts';
import type { Ledger } from './ledger.ts';

/** What one client pushes: fresh random bytes, so that nothing of it is there before. */
export interface Material {
  readonly name: string;
  readonly config: Buffer;
  readonly small: Buffer;
  readonly large: Buffer;
}

export function newMaterial(name = 'demo/app'): Material {
  return { name, config: randomBytes(300), small: randomBytes(20_000), large: randomBytes(700_000) };
}

/**
 * The main job: blobs in each way (chunks, one PUT, one POST), a manifest by tag, the tag moved to another, a tag and a
 * manifest deleted. Throws where the server goes away; can be repeated with the same material.
 */
export async function pushImage(client: Client, ledger: Ledger, material: Material): Promise<void> {
  const { name, config, small, large } = material;
  const blobs = `/v2/${name}/blobs/uploads/`;
  const begin = async () => (await must(client, [202], 'POST', blobs)).headers.get('location') ?? '';

  const chunked = await begin();
  ledger.upload(chunked, 0);
  const half = large.subarray(0, 300_000);
  await must(client, [202], 'PATCH', chunked, { headers: { 'Content-Range': `0-${half.length - 1}` }, body: half });
  ledger.upload(chunked, half.length);
  await must(client, [202], 'PATCH', chunked, { body: large.subarray(300_000, 600_000) });
  ledger.upload(chunked, 600_000);
  ledger.endUpload(chunked);
  await ledger.change('blob', name, sha256(large), large, () =>
    must(client, [201], 'PUT', `${chunked}?digest=${sha256(large)}`, { body: large.subarray(600_000) }),
  );
  const whole = await begin();
  ledger.upload(whole, 0);
  ledger.endUpload(whole);
  await ledger.change('blob', name, sha256(small), small, () =>
    must(client, [201], 'PUT', `${whole}?digest=${sha256(small)}`, { body: small }),
  );
  await ledger.change('blob', name, sha256(config), config, () =>
    must(client, [201], 'POST', `${blobs}?digest=${sha256(config)}`, { body: config }),
  );

  const manifest = (layers: Buffer[]) => Buffer.from(JSON.stringify(imageManifest(config, layers)));
  const [first, second] = [manifest([small, large]), manifest([large])];
  await putManifest(client, ledger, name, 'latest', first);
  await putManifest(client, ledger, name, 'old', first);
  await putManifest(client, ledger, name, 'latest', second);
  const remove = (reference: string) => must(client, [202, 404], 'DELETE', `/v2/${name}/manifests/${reference}`);
  await ledger.change('tag', name, 'old', null, () => remove('old'));
  await ledger.change('manifest', name, sha256(first), null, () => remove(sha256(first)));
}

export async function putManifest(client: Client, ledger: Ledger, name: string, tag: string, bytes: Buffer): Promise<void> {
  const headers = { 'Content-Type': 'application/vnd.oci.image.manifest.v1+json' };
  await ledger.change('manifest', name, sha256(bytes), bytes, () =>
    ledger.change('tag', name, tag, bytes, () => must(client, [201], 'PUT', `/v2/${name}/manifests/${tag}`, { headers, body: bytes })),
  );
}

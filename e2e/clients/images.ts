import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { type Client, must, sha256 } from '../harness/client.ts';

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly platform?: Platform;
}

export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
}

/** A manifest or an index with all that belongs to it, in memory. */
export interface Image {
  readonly bytes: Buffer;
  readonly descriptor: Descriptor;
  /** Config first, then the layers. */
  readonly blobs: readonly Buffer[];
  readonly children: readonly Image[];
  /** What containers tools, containerd and docker call the image id. */
  readonly configDigest: string;
}

export type Files = Readonly<Record<string, Uint8Array>>;

const AMD64: Platform = { os: 'linux', architecture: 'amd64' };

export const FOUR_PLATFORMS: readonly Platform[] = [
  AMD64,
  { os: 'linux', architecture: 'arm64' },
  { os: 'linux', architecture: 'arm', variant: 'v7' },
  { os: 'linux', architecture: 'ppc64le' },
];

/** An image that every runtime can unpack: one gzip layer for each set of files. */
export function makeImage(layers: readonly Files[], platform: Platform = AMD64): Image {
  const tars = layers.map(tar);
  const config = Buffer.from(
    JSON.stringify({
      ...platform,
      created: '2024-01-01T00:00:00Z',
      config: { Cmd: ['/hello'] },
      rootfs: { type: 'layers', diff_ids: tars.map(sha256) },
      history: tars.map((_, index) => ({ created: '2024-01-01T00:00:00Z', created_by: `layer ${index}` })),
    }),
  );
  const blobs = [config, ...tars.map((bytes) => gzipSync(bytes, { level: 1 }))];
  const descriptors = blobs.map((bytes, index) =>
    describe(index === 0 ? 'application/vnd.oci.image.config.v1+json' : 'application/vnd.oci.image.layer.v1.tar+gzip', bytes),
  );
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, config: descriptors[0], layers: descriptors.slice(1) }));
  return { bytes, descriptor: { ...describe(mediaType, bytes), platform }, blobs, children: [], configDigest: sha256(config) };
}

/** Images of several platforms under one index. */
function makeIndex(children: readonly Image[]): Image {
  const mediaType = 'application/vnd.oci.image.index.v1+json';
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, manifests: children.map(({ descriptor }) => descriptor) }));
  return { bytes, descriptor: describe(mediaType, bytes), blobs: [], children, configDigest: children[0]?.configDigest ?? '' };
}

/** A small image of random content, or one for each platform. */
export function randomImage(layers = 2, bytes = 10_000): Image {
  return makeImage(Array.from({ length: layers }, (_, index) => ({ [`file-${index}`]: randomBytes(bytes) })));
}

export function randomIndex(platforms: readonly Platform[] = FOUR_PLATFORMS): Image {
  return makeIndex(platforms.map((platform) => makeImage([{ hello: randomBytes(5000) }, { more: randomBytes(100) }], platform)));
}

/** Writes an OCI image layout (image-spec image-layout.md) that skopeo and its kin read. */
export function writeLayout(folder: string, image: Image, tag: string): void {
  const blobs = join(folder, 'blobs/sha256');
  mkdirSync(blobs, { recursive: true });
  const write = (bytes: Buffer) => writeFileSync(join(blobs, sha256(bytes).slice(7)), bytes);
  const writeAll = ({ bytes, blobs, children }: Image) => {
    for (const blob of blobs) write(blob);
    for (const child of children) writeAll(child);
    write(bytes);
  };
  writeAll(image);
  writeFileSync(join(folder, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  writeFileSync(join(folder, 'index.json'), layoutIndex(image.descriptor, tag));
}

/** The `index.json` of a layout that holds one image. */
export function layoutIndex(descriptor: Descriptor, tag: string): string {
  const named = { ...descriptor, annotations: { 'org.opencontainers.image.ref.name': tag } };
  return JSON.stringify({ schemaVersion: 2, manifests: [named] });
}

/** Pushes an image by plain requests: what it consists of first. */
export async function pushImage(client: Client, name: string, reference: string, image: Image): Promise<void> {
  for (const blob of image.blobs) await client.pushBlob(name, blob);
  for (const child of image.children) await pushImage(client, name, child.descriptor.digest, child);
  const headers = { 'Content-Type': image.descriptor.mediaType };
  await must(client, [201], 'PUT', `/v2/${name}/manifests/${reference}`, { headers, body: image.bytes });
}

/** Bytes of the manifest that a repository has under a tag or digest. */
export async function manifestOf(client: Client, name: string, reference: string): Promise<Buffer> {
  return (await must(client, [200], 'GET', `/v2/${name}/manifests/${reference}`)).bytes;
}

/** Digests of all that a repository must hold for an image, and whether it holds it. */
export async function missingOf(client: Client, name: string, image: Image): Promise<string[]> {
  const missing: string[] = [];
  for (const blob of image.blobs) {
    const { status, bytes } = await client.request('GET', `/v2/${name}/blobs/${sha256(blob)}`);
    if (status !== 200 || !bytes.equals(blob)) missing.push(sha256(blob));
  }
  const { status, bytes } = await client.request('GET', `/v2/${name}/manifests/${image.descriptor.digest}`);
  if (status !== 200 || !bytes.equals(image.bytes)) missing.push(image.descriptor.digest);
  for (const child of image.children) missing.push(...(await missingOf(client, name, child)));
  return missing;
}

function describe(mediaType: string, bytes: Buffer): Descriptor {
  return { mediaType, digest: sha256(bytes), size: bytes.length };
}

/** A tar archive of regular files (POSIX ustar). */
export function tar(files: Files): Buffer {
  const parts = Object.entries(files).flatMap(([name, content]) => [
    tarHeader(name, content.length),
    content,
    Buffer.alloc(-content.length & 511),
  ]);
  return Buffer.concat([...parts, Buffer.alloc(1024)]);
}

/** The 512 bytes in front of a file's content; what follows is filled up to a multiple of 512. */
export function tarHeader(name: string, size: number): Buffer {
  const header = Buffer.alloc(512);
  const octal = (value: number, length: number) => value.toString(8).padStart(length, '0');
  header.write(name, 0);
  header.write(`${octal(0o755, 7)}\0${octal(0, 7)}\0${octal(0, 7)}\0${octal(size, 11)}\0${octal(1_704_067_200, 11)}\0`, 100);
  header.write('        0', 148);
  header.write('ustar\x0000', 257);
  header.write(
    `${octal(
      header.reduce((sum, byte) => sum + byte, 0),
      6,
    )}\0 `,
    148,
  );
  return header;
}

import { mkdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { digestOf, MEDIA_TYPE } from '@entrepot/oci';
import { blobPath, currentPath, historyPath, layersPath, linkPath, REPOSITORIES, revisionsPath } from './layout.ts';

/** Writes the storage of a registry:2 file by file, with whatever is wrong in it. */
export class TestStorage {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
    mkdirSync(join(root, REPOSITORIES), { recursive: true });
  }

  file(path: string, content: Uint8Array | string, at?: number): void {
    mkdirSync(dirname(join(this.root, path)), { recursive: true });
    writeFileSync(join(this.root, path), content);
    if (at !== undefined) utimesSync(join(this.root, path), at / 1000, at / 1000);
  }

  remove(path: string): void {
    rmSync(join(this.root, path), { recursive: true });
  }

  /** A blob that a repository has. */
  layer(name: string, content: string): { mediaType: string; digest: string; size: number } {
    const digest = digestOf(content);
    this.file(blobPath(digest), content);
    this.file(`${layersPath(name)}/${linkPath(digest)}`, digest);
    return { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest, size: Buffer.byteLength(content) };
  }

  /** A manifest as it is given, pushed at a time. */
  manifest(name: string, manifest: object, at = 1_000_000): string {
    const bytes = JSON.stringify(manifest);
    const digest = digestOf(bytes);
    this.file(blobPath(digest), bytes);
    this.file(`${revisionsPath(name)}/${linkPath(digest)}`, digest, at);
    return digest;
  }

  /** An image of one layer. */
  image(name: string, content: string, { at = 1_000_000, ...more }: { at?: number; [field: string]: unknown } = {}): string {
    const config = { ...this.layer(name, '{}'), mediaType: 'application/vnd.oci.image.config.v1+json' };
    const layers = [this.layer(name, content)];
    return this.manifest(name, { schemaVersion: 2, mediaType: MEDIA_TYPE.ociManifest, config, layers, ...more }, at);
  }

  index(name: string, children: readonly string[], at = 1_000_000): string {
    const manifests = children.map((digest) => ({ mediaType: MEDIA_TYPE.ociManifest, digest, size: 100 }));
    return this.manifest(name, { schemaVersion: 2, mediaType: MEDIA_TYPE.ociIndex, manifests }, at);
  }

  /** A tag with all positions that it had, in order; one a second. */
  tag(name: string, tag: string, ...digests: readonly string[]): void {
    digests.forEach((digest, index) => void this.file(historyPath(name, tag, digest), digest, 2_000_000 + index * 1000));
    this.file(currentPath(name, tag), digests.at(-1) ?? '', 2_000_000 + (digests.length - 1) * 1000);
  }
}

/** Some of everything, sound and damaged. */
export function fill(storage: TestStorage): TestStorage {
  const images = ['a', 'b', 'c', 'd'].map((content, index) => storage.image('demo/app', content, { at: 4_000_000 - index * 1000 }));
  const index = storage.index('demo/app', images.slice(0, 2), 1_000_000); // older than what it needs
  storage.tag('demo/app', 'multi', index);
  storage.tag('demo/app', 'moved', images[0] ?? '', images[2] ?? '', images[3] ?? '');
  storage.image('demo/app/below', 'e');
  storage.tag('other', 'latest', storage.image('other', 'f'));
  storage.index('other', [digestOf('nowhere')]);
  storage.tag('other', 'nowhere', digestOf('nowhere'));
  return storage;
}

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Client } from '../harness/client.ts';

/** File of a blob in a data directory. */
export function blobFile(dataDir: string, digest: string): string {
  return join(dataDir, 'storage/docker/registry/v2/blobs/sha256', digest.slice(7, 9), digest.slice(7), 'data');
}

/** Flips one bit, as a disk does. */
export function flip(path: string, at: number): void {
  const bytes = readFileSync(path);
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  writeFileSync(path, bytes);
}

export async function blobStatus(client: Client, method: string, name: string, digest: string): Promise<number> {
  return (await client.request(method, `/v2/${name}/blobs/${digest}`)).status;
}

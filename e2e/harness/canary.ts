import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';

const CANARY = 'no disk may ever hold this canary so that it can be read; ';

/** So many bytes that are recognized wherever they lie in the clear. */
export const canary = (bytes: number) => Buffer.from(CANARY.repeat(Math.ceil(bytes / CANARY.length)).slice(0, bytes));

/** Whether bytes show a part of it. */
export const holdsCanary = (bytes: Buffer) => bytes.includes(CANARY.slice(0, 20));

/** No file of a data directory holds a readable part of it. */
export function expectNoCanary(dataDir: string): void {
  const files = readdirSync(dataDir, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  expect(files.length).toBeGreaterThan(3);
  for (const { parentPath, name: file } of files) {
    expect([file, holdsCanary(readFileSync(join(parentPath, file)))]).toEqual([file, false]);
  }
}

/** File of a blob in a data directory. */
export const blobFile = (dataDir: string, digest: string) =>
  join(dataDir, 'storage/docker/registry/v2/blobs/sha256', digest.slice(7, 9), digest.slice(7), 'data');

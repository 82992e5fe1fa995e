import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, type SuiteFactory } from 'vitest';
import type { BucketSettings } from './bucket.ts';

export const BUCKET = 'registry';
export const KEYS = { id: 'test-key', secret: 'secret-of-the-test-key' };

/** A real S3 server of this test alone: versitygw on a temporary folder. */
export interface TestS3 {
  readonly endpoint: string;
  /** Where the bucket's objects lie as files. */
  readonly folder: string;
  readonly process: ChildProcess;
  close(): Promise<void>;
}

const PROGRAM = process.env.ENTREPOT_VERSITYGW ?? 'versitygw';

function has(program: string): boolean {
  try {
    execFileSync('which', [program], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** A suite on versitygw: skipped with one line where it is absent, and a failure where continuous integration could have built it. */
export function describeOnS3(name: string, suite: SuiteFactory): void {
  if (has(PROGRAM)) return void describe(name, suite);
  if (process.env.ENTREPOT_REQUIRE_CLIENTS === '1' && has('go')) {
    describe(name, () => {
      throw new Error('needs versitygw, which Go can build');
    });
    return;
  }
  console.log(`skipped: ${name} (needs versitygw)`);
  describe.skip(name, suite);
}

export async function startS3(): Promise<TestS3> {
  const root = mkdtempSync(join(tmpdir(), 'entrepot-s3-'));
  const folder = join(root, 'data', BUCKET);
  mkdirSync(folder, { recursive: true }); // a folder is a bucket
  const port = await freePort();
  const args = [
    '--port',
    `127.0.0.1:${port}`,
    '--access',
    KEYS.id,
    '--secret',
    KEYS.secret,
    '--quiet',
    '--keep-alive',
    'posix',
    join(root, 'data'),
  ];
  const child = spawn(PROGRAM, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let printed = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (printed += chunk.toString()));
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const close = async () => {
    child.kill('SIGKILL');
    await ended;
    rmSync(root, { recursive: true, force: true, maxRetries: 5 });
  };
  const endpoint = `http://127.0.0.1:${port}`;
  for (let tries = 0; ; tries++) {
    if (child.exitCode !== null || tries === 200) {
      await close();
      throw new Error(`versitygw does not start:\n${printed}`);
    }
    if (await fetch(endpoint).catch(() => undefined)) return { endpoint, folder, process: child, close };
    await delay(50);
  }
}

export function settingsOf(endpoint: string, more: Partial<BucketSettings> = {}): BucketSettings {
  return { bucket: BUCKET, region: 'us-east-1', endpoint, pathStyle: true, keys: KEYS, checksums: true, caFile: '', ...more };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

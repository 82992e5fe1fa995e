import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { isShareable, takeForHost } from './one-host.ts';

let folder: string;
let file: string;
const releases: (() => void)[] = [];
let taken: string[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'entrepot-host-'));
  file = join(folder, 'server.host');
  taken = [];
});
afterEach(() => {
  for (const release of releases.splice(0)) release();
  rmSync(folder, { recursive: true });
});

async function take(): Promise<() => void> {
  const release = await takeForHost(file, { beatMs: 50, silentMs: 500, onTaken: (host) => taken.push(host) });
  releases.push(release);
  return release;
}

test('a second host is refused while the first one writes, and told who that is', async () => {
  const release = await take();
  await expect(take()).rejects.toThrow(`the server on ${hostname()} uses this folder; SQLite is for one host`);
  release();
  expect(existsSync(file)).toBe(false);
  await take();
});

test('what a host left that died is taken over', async () => {
  writeFileSync(file, 'elsewhere 1234 7\n');
  await take();
  expect(readFileSync(file, 'utf8')).toContain(hostname());
  expect(taken).toEqual([]);
});

test('two that come at the same instant: who was overwritten hears of it', async () => {
  const release = await take();
  writeFileSync(file, 'elsewhere 1234 0\n');
  await expect.poll(() => taken).toEqual(['elsewhere']);
  release();
  expect(readFileSync(file, 'utf8')).toContain('elsewhere');
});

test("a local disk is nobody else's", () => {
  expect(isShareable(tmpdir())).toBe(false);
});

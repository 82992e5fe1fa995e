import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, statSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { createFileOnce } from '../../../platform/index.ts';
import { type KeyProvider, KeyRefused, type Wrapped } from './provider.ts';

const ALGORITHM = 'aes-256-gcm';
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const LINE = /^([1-9][0-9]{0,8}) ([A-Za-z0-9_-]{43})$/;
const HEAD = '# Keys that wrap the data keys of encrypted blobs: version and key. Without them no blob can be read. The last one wraps.\n';

/**
 * Keys in a file that only its owner may read, a version a line; the last one wraps. A version may go once no data key is
 * wrapped under it. The file is read again when it changes, so that a new version takes effect without a restart.
 */
export function openKeyFile(path: string): KeyProvider {
  let known: { keys: ReadonlyMap<string, Buffer>; last: string; state: string } | undefined;

  function keys() {
    const { mode, mtimeMs, size, ino } = statSync(path);
    const state = `${mode} ${mtimeMs} ${size} ${ino}`;
    if (known?.state === state) return known;
    if ((mode & 0o077) !== 0) throw new Error(`${path} may be read by others; run: chmod 600 ${path}`);
    known = { ...readKeys(path), state };
    return known;
  }

  function keyOf(version: string): Buffer {
    const key = keys().keys.get(version);
    if (!key) throw new KeyRefused(`${path} has no key of version ${version}`);
    return key;
  }

  function wrap(key: Uint8Array, id: string): Wrapped {
    const { last: version } = keys();
    const nonce = randomBytes(NONCE_BYTES); // random ones are safe for 2^32 keys of one version (SP 800-38D, section 8.3)
    const cipher = createCipheriv(ALGORITHM, keyOf(version), nonce).setAAD(Buffer.from(id));
    const body = Buffer.concat([cipher.update(key), cipher.final()]);
    return { version, wrapped: Buffer.concat([nonce, body, cipher.getAuthTag()]).toString('base64url') };
  }

  function unwrap({ version, wrapped }: Wrapped, id: string): Uint8Array {
    const bytes = Buffer.from(wrapped, 'base64url');
    if (bytes.length !== NONCE_BYTES + KEY_BYTES + TAG_BYTES) throw new KeyRefused(`data key ${id} is damaged`);
    const decipher = createDecipheriv(ALGORITHM, keyOf(version), bytes.subarray(0, NONCE_BYTES))
      .setAAD(Buffer.from(id))
      .setAuthTag(bytes.subarray(-TAG_BYTES));
    try {
      return Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]);
    } catch {
      throw new KeyRefused(`data key ${id} was not wrapped by version ${version} of ${path}, or is damaged`);
    }
  }

  return {
    name: 'file',
    current: async () => keys().last,
    wrap: async (key, id) => wrap(key, id),
    unwrap: async (wrapped, id) => unwrap(wrapped, id),
    rewrap: async (wrapped, id) => wrap(unwrap(wrapped, id), id),
    health: async () => void keys(),
  };
}

/** Makes the file with a first key unless it is there. */
export function createKeyFile(path: string): void {
  if (existsSync(path)) return;
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  createFileOnce(path, Buffer.from(`${HEAD}${lineOf('1')}`));
}

/** Adds a version, under which data keys are wrapped from now on, and gives it. The file is replaced as a whole. */
export function addKeyVersion(path: string): string {
  const version = String(Number(readKeys(path).last) + 1);
  const temporary = `${path}.new`;
  const text = readFileSync(path, 'utf8');
  const fd = openSync(temporary, 'wx', 0o600);
  try {
    writeSync(fd, `${text}${text.endsWith('\n') ? '' : '\n'}${lineOf(version)}`);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(temporary, path);
  const folder = openSync(dirname(path), 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
  return version;
}

function lineOf(version: string): string {
  return `${version} ${randomBytes(KEY_BYTES).toString('base64url')}\n`;
}

function readKeys(path: string): { keys: ReadonlyMap<string, Buffer>; last: string } {
  const keys = new Map<string, Buffer>();
  let last: string | undefined;
  for (const [index, line] of readFileSync(path, 'utf8').split('\n').entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue;
    const [, version, key] = LINE.exec(line) ?? [];
    // What a line holds is not shown: it may be a key.
    if (version === undefined || key === undefined) throw new Error(`line ${index + 1} of ${path} is not a version and a key`);
    if (last !== undefined && Number(version) <= Number(last)) throw new Error(`line ${index + 1} of ${path}: versions must rise`);
    keys.set(version, Buffer.from(key, 'base64url'));
    last = version;
  }
  if (last === undefined) throw new Error(`${path} holds no key`);
  return { keys, last };
}

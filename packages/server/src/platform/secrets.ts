import { hkdfSync, randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, linkSync, mkdirSync, openSync, readFileSync, statSync, unlinkSync, writeSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

const MASTER_BYTES = 32;

/** Keys of this installation, all derived from one master key in a file that only its owner may read. */
export interface Secrets {
  /** A key of 32 bytes for one purpose. */
  derive(purpose: string): Uint8Array;
  /** Tells this master key from others and says nothing about it. */
  readonly fingerprint: string;
}

/** Opens the master key, making it at the first start. Never overwrites; refuses a file that others may read. */
export function openSecrets(folder: string): Secrets {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, 'master.key');
  const master = readMaster(path) ?? createMaster(path);
  const derive = (purpose: string) => new Uint8Array(hkdfSync('sha256', master, '', `entrepot:${purpose}`, MASTER_BYTES));
  return { derive, fingerprint: Buffer.from(derive('fingerprint')).toString('hex', 0, 8) };
}

function readMaster(path: string): Buffer | undefined {
  try {
    if ((statSync(path).mode & 0o077) !== 0) throw new Error(`${path} may be read by others; run: chmod 600 ${path}`);
    const key = readFileSync(path);
    if (key.length !== MASTER_BYTES) throw new Error(`${path} must hold ${MASTER_BYTES} bytes, it holds ${key.length}`);
    return key;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function createMaster(path: string): Buffer {
  createFileOnce(path, randomBytes(MASTER_BYTES));
  const key = readMaster(path);
  if (key === undefined) throw new Error(`${path} vanished while it was made`);
  return key;
}

/** Writes a file that only its owner may read, durably, unless there is one: who was first wins. */
export function createFileOnce(path: string, content: Uint8Array): void {
  const folder = dirname(path);
  const temporary = join(folder, `.${basename(path)}.${process.pid}.${randomBytes(4).toString('hex')}`);
  const fd = openSync(temporary, 'wx', 0o600);
  try {
    writeSync(fd, content);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  try {
    linkSync(temporary, path); // fails if another process was first
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    unlinkSync(temporary);
  }
  const directory = openSync(folder, 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}

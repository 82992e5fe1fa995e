import { existsSync, readdirSync, type Stats, statfsSync, statSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import type { Check, Finding } from './finding.ts';

interface Paths {
  readonly root: string;
  readonly database: string;
  readonly keys: string;
  readonly blobs: string;
  readonly restoring: string;
}

const GIB = 2 ** 30;
/** Below this a push of some size fails, and the database may not be able to clean up after itself. */
const SPACE_ERROR = { bytes: GIB, share: 0.02 };
const SPACE_WARNING = { bytes: 5 * GIB, share: 0.1 };
const INODES_SHARE = 0.05;
/** Keys without which something that is stored cannot be used again. */
const KEYS: Readonly<Record<string, string>> = {
  'master.key': 'sealed secrets (of webhooks, directories, audit sinks) can never be read again, and all logins and tokens end',
  'audit.key': 'checkpoints of the audit trail can never be verified again',
};

/** Files, their modes, and room for more. Changes nothing but modes. */
export function hostChecks(paths: Paths): Check[] {
  return [
    { name: 'files', title: 'data directory and keys', run: () => files(paths) },
    { name: 'space', title: 'room on the disks', run: () => space(paths) },
  ];
}

async function* files({ root, database, keys, restoring }: Paths): AsyncGenerator<Finding> {
  if (existsSync(restoring)) {
    const remedy = 'run the same entrepot restore again, or empty the folder';
    yield { severity: 'error', where: root, what: 'is the half of a restore', remedy };
  }
  for (const path of [root, keys, database, `${database}-wal`, `${database}-shm`]) {
    const info = statSync(path, { throwIfNoEntry: false });
    if (info) yield* modes(path, info, path === keys ? 'error' : 'warning');
  }
  for (const [name, loss] of Object.entries(KEYS)) {
    const path = join(keys, name);
    if (existsSync(path)) continue;
    const remedy = 'put it back from where keys are kept; a new one is made at the next start and replaces nothing';
    yield { severity: 'error', where: path, what: `is missing: without it ${loss}`, remedy };
  }
  if (!existsSync(keys)) return;
  for (const name of readdirSync(keys)) {
    const path = join(keys, name);
    const info = statSync(path, { throwIfNoEntry: false });
    if (info?.isFile()) yield* modes(path, info, 'error');
  }
}

/** Others may neither read nor write what the registry keeps. */
function* modes(path: string, info: Stats, severity: 'error' | 'warning'): Generator<Finding> {
  const { uid, mode } = info;
  const own = process.getuid?.();
  if (own !== undefined && own !== 0 && uid !== own) {
    yield { severity: 'error', where: path, what: `belongs to another user (${uid})`, remedy: `chown it to the user that runs the server` };
  }
  if ((mode & 0o077) === 0) return;
  const shown = (mode & 0o777).toString(8);
  const wanted = info.isDirectory() ? 0o700 : 0o600;
  yield {
    severity,
    where: path,
    what: `may be used by others (mode ${shown})`,
    remedy: `chmod ${wanted.toString(8)} ${path}`,
    mend: { audit: 'file.protect', does: `sets the mode to ${wanted.toString(8)}`, run: () => chmod(path, wanted) },
  };
}

async function* space({ root, blobs }: Paths): AsyncGenerator<Finding> {
  const seen = new Set<string>();
  for (const path of [root, blobs]) {
    if (!existsSync(path)) continue;
    const device = String(statSync(path).dev);
    if (seen.has(device)) continue;
    seen.add(device);
    const { bsize, blocks, bavail, files: inodes, ffree } = statfsSync(path);
    const free = bavail * bsize;
    const isBelow = ({ bytes, share }: typeof SPACE_ERROR) => free < bytes && free < share * blocks * bsize;
    const what = `has ${(free / GIB).toFixed(1)} GiB left of ${((blocks * bsize) / GIB).toFixed(1)}`;
    const remedy = 'make room, or delete images: collection frees their bytes after the grace time';
    if (isBelow(SPACE_ERROR)) yield { severity: 'error', where: path, what, remedy };
    else if (isBelow(SPACE_WARNING)) yield { severity: 'warning', where: path, what, remedy };
    if (inodes > 0 && ffree < INODES_SHARE * inodes)
      yield { severity: 'warning', where: path, what: `has ${ffree} inodes left of ${inodes}; each blob takes two`, remedy };
  }
}

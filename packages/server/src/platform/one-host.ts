import { randomUUID } from 'node:crypto';
import { readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';

const BEAT_MS = 5000;
/** A host that wrote nothing for so long is no more: the file would have changed several times. */
const SILENT_MS = 4 * BEAT_MS;

/** Kinds of file systems that several hosts may have open (statfs(2) and the kernel's magic.h); FUSE may be one. */
const SHARED = new Set([
  0x6969, // NFS
  0xff534d42, // CIFS
  0xfe534d42, // SMB2
  0x517b, // SMB
  0x00c36400, // Ceph
  0x0bd00bd0, // Lustre
  0x7461636f, // OCFS2
  0x01161970, // GFS2
  0x47504653, // GPFS
  0x65735546, // FUSE, as GlusterFS
  0x5346414f, // AFS
  0x01021997, // 9p
]);

/** Whether another host could have the same folder. */
export function isShareable(folder: string): boolean {
  return SHARED.has(Number(statfsSync(folder, { bigint: true }).type & 0xffffffffn));
}

interface Options {
  readonly beatMs?: number;
  readonly silentMs?: number;
  /** Another host has taken the folder all the same. */
  readonly onTaken: (host: string) => void;
}

/**
 * Takes a folder that several hosts may see for this one alone, by a file that says who has it and changes while it does.
 * No clock of another host is trusted: who comes watches whether the file changes. Gives what releases it; throws where
 * another host is at work. Locks of the file system cover one host for sure, and others only where it is set up so.
 */
export async function takeForHost(file: string, { beatMs = BEAT_MS, silentMs = SILENT_MS, onTaken }: Options): Promise<() => void> {
  const own = `${hostname()} ${randomUUID()}`;
  const found = read(file);
  if (found !== undefined) {
    for (let waited = 0; waited < silentMs; waited += beatMs / 5) {
      await delay(beatMs / 5);
      const now = read(file);
      if (now === undefined) break;
      if (now !== found) throw new Error(refusal(file, now));
    }
  }
  let count = 0;
  const write = () => writeFileSync(file, `${own} ${count++}\n`, { mode: 0o600 });
  write();
  const timer = setInterval(() => {
    try {
      const now = read(file);
      if (now?.startsWith(own) === false) {
        clearInterval(timer);
        onTaken(now.split(' ', 1)[0] ?? '');
      } else write();
    } catch {
      // The next one may come through; whoever watches waits for several.
    }
  }, beatMs).unref();
  return () => {
    clearInterval(timer);
    if (read(file)?.startsWith(own)) rmSync(file, { force: true });
  };
}

function refusal(file: string, text: string): string {
  return `${file}: the server on ${text.split(' ', 1)[0]} uses this folder; SQLite is for one host, several need PostgreSQL (databaseUrl)`;
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

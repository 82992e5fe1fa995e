import { type AuditEntry, type AuditNote, type AuditNotes, audit, type Clock, type Database, type Log } from '../../platform/index.ts';

const WINDOW_MS = 5000;
/** Records in one transaction, so that no request waits for many. */
const BATCH = 50;
/** Different denials of one source within a window that are told apart. */
const SOURCE_MOST = 20;
/** Denials that are told apart at once, and by the second in the long run: what bounds the disk, whoever attacks. */
const BURST = 1000;
const PER_SECOND = 3;
/** Pulls within a window that are told apart. */
const PULLS_MOST = 10_000;
const REASON_LENGTH = 200;

export interface NotesParts {
  readonly database: Database;
  readonly clock: Clock;
  readonly log: Log;
  /** What of an address tells a source from others. */
  sourceOf(client: string): string;
  /** Whether there is somebody of that name: what is no name may be a password in the wrong place. */
  isKnown(name: string): Promise<boolean>;
}

export interface NoteWriter extends AuditNotes {
  /** Writes what is waiting. */
  flush(): Promise<void>;
}

interface Waiting {
  readonly entry: AuditEntry;
  readonly claimed: string | undefined;
  count: number;
}

/**
 * Writes records of denials and pulls soon after, in batches. Equal ones of one source within a window become one record with
 * their count; where a source, or all together, bring too many different ones, the rest is counted in one that says so. What
 * waits is lost where the process is killed.
 */
export function createNotes({ database, clock, log, sourceOf, isKnown }: NotesParts): NoteWriter {
  let waiting = new Map<string, Waiting>();
  let bySource = new Map<string, number>();
  let timer: NodeJS.Timeout | undefined;
  let writing: Promise<void> = Promise.resolve();
  let budget = BURST;
  let refilled = clock.now();

  function add(key: string, make: () => { entry: AuditEntry; claimed?: string | undefined }): void {
    const known = waiting.get(key);
    if (known) known.count++;
    else {
      const { entry, claimed } = make();
      waiting.set(key, { entry, claimed, count: 1 });
    }
    timer ??= setTimeout(() => void flush(), WINDOW_MS).unref();
  }

  /** Whether one more denial of a source is told apart. */
  function admits(source: string): 'apart' | 'of the source' | 'of all' {
    const now = clock.now();
    budget = Math.min(BURST, budget + (Math.max(0, now - refilled) / 1000) * PER_SECOND);
    refilled = now;
    const told = bySource.get(source) ?? 0;
    if (budget < 1) return 'of all';
    if (told > SOURCE_MOST) return 'of the source';
    budget--;
    bySource.set(source, told + 1);
    return told === SOURCE_MOST ? 'of the source' : 'apart';
  }

  function denied(note: AuditNote & { readonly reason: string }, claimed?: string): void {
    const source = note.origin === null ? '' : sourceOf(note.origin.client);
    const { type, project, repository } = note.resource;
    const key = JSON.stringify([source, note.actor.kind, note.actor.id, note.action, type, project, repository, note.reason, claimed]);
    const place = waiting.has(key) ? 'apart' : admits(source);
    const outcome = 'denied';
    if (place === 'apart') {
      add(key, () => ({ entry: { ...note, outcome, reason: note.reason.slice(0, REASON_LENGTH) }, claimed }));
    } else if (place === 'of the source') {
      const rest = { resource: { type: 'audit' }, action: 'audit.denials', outcome, reason: 'different denials of one source' } as const;
      add(`source ${source}`, () => ({ entry: { ...rest, actor: ANYBODY, origin: note.origin } }));
    } else {
      const rest = { resource: { type: 'audit' }, action: 'audit.denials', outcome, reason: 'different denials of many sources' } as const;
      add('all', () => ({ entry: { ...rest, actor: ANYBODY, origin: null } }));
    }
  }

  function pulled(note: AuditNote): void {
    const { actor, origin, action, resource } = note;
    const key = JSON.stringify(['pull', actor.kind, actor.id, actor.credential?.id, origin?.client, action, resource]);
    if (waiting.has(key) || waiting.size < PULLS_MOST) {
      add(key, () => ({ entry: { ...note, outcome: 'success' } }));
    } else {
      const rest = { action: 'audit.pulls', resource: { type: 'audit' }, reason: 'more pulls than are told apart' } as const;
      add('pulls', () => ({ entry: { ...rest, actor: ANYBODY, origin: null, outcome: 'success' } }));
    }
  }

  async function write(found: readonly Waiting[]): Promise<void> {
    for (let at = 0; at < found.length; at += BATCH) {
      const entries: AuditEntry[] = [];
      for (const { entry, claimed, count } of found.slice(at, at + BATCH)) {
        const named = claimed !== undefined && (await isKnown(claimed)) ? { resource: { ...entry.resource, name: claimed } } : {};
        entries.push({ ...entry, ...named, ...(count > 1 ? { count } : {}) });
      }
      await database.write(
        async (tx) => {
          for (const entry of entries) await audit(tx, entry, clock);
        },
        { durable: false, scope: [] },
      );
    }
  }

  async function flush(): Promise<void> {
    clearTimeout(timer);
    timer = undefined;
    const found = [...waiting.values()];
    waiting = new Map();
    bySource = new Map();
    writing = writing
      .then(() => write(found))
      .catch((error: unknown) => log.error({ err: error, lost: found.length }, 'audit records of denials are lost'));
    await writing;
  }

  return { denied, pulled, flush };
}

const ANYBODY = { kind: 'system', id: null, name: 'audit', credential: null } as const;

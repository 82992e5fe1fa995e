import { digestOf, ManifestError, parseDigest, parseManifest } from '@entrepot/oci';
import {
  findDamage,
  findStored,
  findUpload,
  type ManifestRow,
  manifestBytes,
  needsOfManifest,
  pageOfDamaged,
  pageOfDamagedManifests,
  pageOfLinkedBlobs,
  pageOfManifests,
} from '../../catalog/index.ts';
import { ArchivedBlob, type BlobStore } from '../../content/index.ts';
import { AppError, type Clock, type Config, type Database } from '../../platform/index.ts';
import { examine, findPass, quarantine, type RepairParts, UNPACED, wordsOf } from '../scrub/index.ts';
import type { Check, Finding } from './finding.ts';

const PAGE = 200;
const DAY_MS = 24 * 3_600_000;

interface Parts extends RepairParts {
  readonly database: Database;
  readonly blobs: BlobStore;
  readonly clock: Clock;
  readonly config: Pick<Config, 'uploadExpiryHours' | 'scrubDays'>;
  /** Reads all bytes, and does not only look whether they are there. */
  readonly deep: boolean;
}

/** What the store has, beside what the tables say that it has. */
export function storeChecks(parts: Parts): Check[] {
  const { deep } = parts;
  return [
    { name: 'blobs', title: deep ? 'bytes of all blobs' : 'blobs in the store, by size', run: (signal) => blobs(parts, signal) },
    ...(deep ? [{ name: 'content', title: 'bytes of all manifests', run: (signal: AbortSignal) => content(parts, signal) }] : []),
    { name: 'objects', title: 'objects of the store that nothing knows of', run: (signal) => objects(parts, signal) },
    { name: 'uploads', title: 'leftovers of uploads', run: (signal) => uploads(parts, signal) },
    { name: 'scrub', title: 'scrub, and what it found', run: () => scrubbed(parts) },
  ];
}

async function* blobs(parts: Parts, signal: AbortSignal): AsyncGenerator<Finding> {
  const { database, blobs: store, deep } = parts;
  for (let last = ''; ; ) {
    const page = await pageOfLinkedBlobs(database, last, PAGE);
    for (const blob of page) {
      signal.throwIfAborted();
      if (await findDamage(database, blob.digest)) continue; // told of by scrub
      const fault = deep ? await examine(store, blob, { pace: UNPACED, signal }).catch(unlessArchived) : await sizeFault(store, blob);
      if (fault === undefined) continue;
      const told = { severity: 'error', where: blob.digest, what: fault.detail } as const;
      if (fault.problem === 'unsure') {
        yield { ...told, remedy: 'is the provider of the keys out of reach? If its key is lost, push an image that has it again' };
        continue;
      }
      yield {
        ...told,
        remedy:
          'push an image that has it again, or entrepot scrub --repair-from a backup; GET /storage/damaged-blobs/DIGEST/images says which',
        mend: {
          audit: 'blob.examine',
          does: 'puts it into quarantine, so that clients push it again',
          async run() {
            const verdict = await quarantine(parts, blob, fault, signal);
            if (verdict === 'damaged') throw new Error('it stays damaged');
          },
        },
      };
    }
    last = page.at(-1)?.digest ?? last;
    if (page.length < PAGE) return;
  }
}

/** What is in an archive is not restored to be looked at. */
function unlessArchived(error: unknown) {
  return error instanceof ArchivedBlob ? undefined : unsure(error);
}

/** Of an encrypted blob whose key nobody gives: nothing is done about that without a person. */
function unsure(error: unknown) {
  if (!(error instanceof AppError)) throw error;
  const { cause, message } = error;
  return { problem: 'unsure', detail: `cannot be read: ${cause instanceof Error ? cause.message : message}` } as const;
}

async function sizeFault(store: BlobStore, { digest, size }: { digest: string; size: number }) {
  const reader = await store.open(digest).catch((error: unknown) => error as Error);
  if (reader instanceof AppError) return unlessArchived(reader);
  if (reader instanceof Error) return { problem: 'unreadable', detail: `cannot be read: ${wordsOf(reader)}` } as const;
  if (!reader) return { problem: 'missing', detail: 'is not in the store' } as const;
  await reader.close();
  return reader.size === size ? undefined : ({ problem: 'size', detail: `has ${reader.size} bytes, not ${size}` } as const);
}

/** Every manifest's bytes are what its digest says, and its edges what its bytes say. */
async function* content({ database }: Parts, signal: AbortSignal): AsyncGenerator<Finding> {
  for (let last = 0; ; ) {
    const page = await pageOfManifests(database, last, PAGE);
    for (const manifest of page) {
      signal.throwIfAborted();
      const what = await contentFault(database, manifest).catch((error: unknown) => {
        if (!(error instanceof ManifestError)) throw error;
        return `is none that this version would take: ${error.message}`;
      });
      if (what !== undefined)
        yield { severity: 'error', where: manifest.digest, what, remedy: 'push the manifest again, or entrepot scrub' };
    }
    last = page.at(-1)?.id ?? last;
    if (page.length < PAGE) return;
  }
}

async function contentFault(database: Database, { id, digest, mediaType, subject }: ManifestRow): Promise<string | undefined> {
  const bytes = await manifestBytes(database, id);
  if (bytes === undefined) return undefined; // told by the tables
  if (digestOf(bytes, parseDigest(digest)?.algorithm) !== digest) return 'has other bytes than its digest says';
  const parsed = parseManifest(bytes, mediaType);
  if ((parsed.subject?.digest ?? null) !== subject) return `has the subject ${subject}, its bytes say ${parsed.subject?.digest}`;
  const wanted = [...parsed.blobs.map((blob) => `blob ${blob.digest}`), ...parsed.children.map((child) => `manifest ${child.digest}`)];
  const edges = (await needsOfManifest(database, id)).map(({ kind, digest: needed }) => `${kind} ${needed}`);
  const differs = new Set(wanted).symmetricDifference(new Set(edges));
  return differs.size === 0 ? undefined : `has edges that are not what its bytes say: ${[...differs].slice(0, 5).join(', ')}`;
}

/** Objects without a row are of pushes under way, or of a crash: scrub hands those to collection. */
async function* objects({ database, blobs: store }: Parts, signal: AbortSignal): AsyncGenerator<Finding> {
  let count = 0;
  let bytes = 0;
  let first = '';
  for await (const { digest, size } of store.blobs()) {
    signal.throwIfAborted();
    const row = await findStored(database, digest);
    if (row !== undefined && row.state !== 'gone') continue;
    first ||= digest;
    count++;
    bytes += size;
  }
  if (count === 0) return;
  const what = `${count} objects (${bytes} bytes) have no row, such as ${first}`;
  const remedy = 'nothing: pushes under way have such for moments, and scrub hands the others to collection (option scrubOrphans)';
  yield { severity: 'notice', where: 'the store', what, remedy };
}

async function* uploads({ database, blobs: store, clock, config }: Parts, signal: AbortSignal): AsyncGenerator<Finding> {
  const before = clock.now() - (config.uploadExpiryHours + 1) * 3_600_000;
  for await (const id of store.staleUploads(before)) {
    signal.throwIfAborted();
    if (await findUpload(database, id)) continue;
    yield {
      severity: 'warning',
      where: `upload ${id}`,
      what: 'was left by a crash, and nobody can go on with it',
      remedy: 'a running server removes it within ten minutes; or entrepot doctor --mend',
      mend: { audit: 'upload.remove', does: 'removes it', run: () => store.removeUpload(id) },
    };
  }
}

async function* scrubbed({ database, clock, config }: Parts): AsyncGenerator<Finding> {
  for (const { digest, problem, detail } of await pageOfDamaged(database, '', 1000)) {
    const remedy = 'push an image that has it again, or entrepot scrub --repair-from a backup';
    yield { severity: 'error', where: digest, what: `is in quarantine (${problem}): it ${detail}`, remedy };
  }
  for (const { id, digest, repository, problem } of await pageOfDamagedManifests(database, 0, 1000)) {
    const remedy = 'push the manifest again';
    yield {
      severity: 'error',
      where: `${repository}@${digest}`,
      what: `has damaged bytes in the database (${problem}, number ${id})`,
      remedy,
    };
  }
  const pass = await findPass(database);
  if (config.scrubDays === 0) {
    yield {
      severity: 'notice',
      where: 'scrubDays',
      what: 'is 0: nothing reads what is stored',
      remedy: 'set it, or run entrepot scrub now and then',
    };
  } else if (pass && pass.finishedAt === null && clock.now() - pass.startedAt > 2 * config.scrubDays * DAY_MS) {
    const what = `began ${new Date(pass.startedAt).toISOString()} and is not through: it does not keep up`;
    yield { severity: 'warning', where: `scrub pass ${pass.number}`, what, remedy: 'raise scrubMibPerSecond or scrubDays' };
  }
}

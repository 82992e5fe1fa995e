import { createHash } from 'node:crypto';
import { parseDigest } from '@entrepot/oci';
import { audit } from '../../platform/index.ts';
import { ahead } from './ahead.ts';
import { Batch } from './batch.ts';
import { type Counts, FINDINGS, type Finding, type FindingKind, plus } from './findings.ts';
import { blobPath, REPOSITORIES } from './layout.ts';
import { asOnlyAdoption, type Held, type LeaseOptions } from './lease.ts';
import { inOrder, isAfter, repositoriesIn } from './names.ts';
import { type AdoptionContext, adoptRepository } from './repository.ts';
import { addFinding, beginRun, findingCounts, type Run, saveProgress } from './runs.ts';
import { type TreeFile, type TreeReader, Unreadable } from './tree.ts';

/** What is known while a run goes on. */
export interface AdoptionProgress {
  /** The folder of blobs, or the repository, that is being looked at. */
  readonly at: string;
  readonly counts: Counts;
}

export interface AdoptionParts extends Omit<AdoptionContext, 'runId' | 'progress' | 'hold'> {
  readonly lease: LeaseOptions;
  onProgress(progress: AdoptionProgress): void;
}

/** Blobs of a bucket that are hashed at once. */
const HASHED_AT_ONCE = 4;

export interface AdoptionReport {
  readonly run: number;
  readonly source: string;
  /** Milliseconds since 1970. */
  readonly startedAt: number;
  readonly finishedAt: number;
  /** Whether a run that was cut off before was continued. */
  readonly continued: boolean;
  readonly counts: Counts;
  readonly findings: Partial<Record<FindingKind, number>>;
  /** Findings that somebody will miss. */
  readonly damage: number;
}

/** Throws where a tree has no storage of a registry. */
export async function requireStorage(tree: TreeReader): Promise<void> {
  for await (const { name, isFolder } of tree.entries('')) if (isFolder && name === REPOSITORIES) return;
  throw new Error(`there is no storage of a registry in ${tree.name}: it has no folder ${REPOSITORIES}`);
}

/**
 * Indexes the storage of another registry where it lies. Nothing of it is copied or changed. May be cut off at any instant: the
 * next run over the same storage goes on after the last repository that is whole, and what it does twice is done once. Throws
 * where there is no storage of that layout, and where another adoption is at work on the database.
 */
export async function adoptStorage(parts: AdoptionParts): Promise<AdoptionReport> {
  await requireStorage(parts.tree);
  return await asOnlyAdoption(parts.database, parts.lease, (held) => run(parts, held));
}

async function run(parts: AdoptionParts, { hold, isFor, signal }: Held): Promise<AdoptionReport> {
  const { database, clock, tree, actor } = parts;
  const wishes = JSON.stringify({ verify: parts.verify, update: parts.update });
  const run = await database.write(async (tx) => {
    await hold(tx);
    const begun = await beginRun(tx, tree.name, wishes, clock.now());
    await isFor(tx, begun.id);
    return begun;
  });
  const continued = run.cursor !== '';
  let { cursor, counts } = run;

  async function reach(next: string, more: Partial<Counts>): Promise<void> {
    counts = plus(counts, more);
    cursor = next;
    await database.write(
      async (tx) => {
        await hold(tx);
        await saveProgress(tx, { id: run.id, cursor, counts, finishedAt: null });
      },
      { durable: false },
    );
    parts.onProgress({ at: cursor, counts });
    signal.throwIfAborted();
  }

  const say = (finding: Finding) => database.write((tx) => addFinding(tx, run.id, finding), { durable: false });

  if (parts.verify) {
    for await (const folder of blobFolders(parts)) {
      if (!isAfter(folder, cursor)) continue;
      await reach(folder, await verifyFolder(parts, { hold, isFor, signal }, run, folder));
    }
  }
  for await (const found of repositoriesIn(tree)) {
    if ('finding' in found) {
      await say(found.finding);
      continue;
    }
    const place = `${REPOSITORIES}/${found.name}`;
    if (!isAfter(place, cursor)) continue;
    const before = counts;
    const own = await adoptRepository(
      { ...parts, hold, runId: run.id, progress: (_, current) => parts.onProgress({ at: place, counts: plus(before, current) }) },
      found.name,
    );
    await reach(place, own);
  }

  const finishedAt = clock.now();
  const findings = await findingCounts(database, run.id);
  const damage = Object.entries(findings).reduce((sum, [kind, count]) => sum + (FINDINGS[kind as FindingKind].damage ? count : 0), 0);
  await database.write(async (tx) => {
    await hold(tx);
    await saveProgress(tx, { id: run.id, cursor, counts, finishedAt });
    const resource = { type: 'storage', name: tree.name };
    await audit(tx, { actor, origin: null, action: 'storage.adopt', resource, outcome: 'success', after: { ...counts, damage } }, clock);
  });
  return { run: run.id, source: tree.name, startedAt: run.startedAt, finishedAt, continued, counts, findings, damage };
}

/** The folders of blobs by the first two digits of their digests. */
async function* blobFolders({ tree }: AdoptionParts): AsyncIterable<string> {
  for (const algorithm of ['sha256', 'sha512']) {
    for (const prefix of (await inOrder(tree, `blobs/${algorithm}`)).folders) yield `blobs/${algorithm}/${prefix}`;
  }
}

/** Hashes every blob of a folder; those whose bytes are others are told, and will not be adopted. */
async function verifyFolder(
  { database, tree, onProgress }: AdoptionParts,
  { hold, signal }: Held,
  run: Run,
  folder: string,
): Promise<Partial<Counts>> {
  let [hashed, hashedBytes] = [0, 0];
  const batch = new Batch(database, { begin: hold, say: (tx, finding) => addFinding(tx, run.id, finding) });
  const algorithm = folder.split('/')[1] ?? '';

  async function problemOf(file: TreeFile): Promise<Pick<Finding, 'kind' | 'subject' | 'detail'> | undefined> {
    signal.throwIfAborted();
    const path = `${folder}/${file.path}`;
    const digest = `${algorithm}:${file.path.split('/')[0]}`;
    if (!file.isFile || !parseDigest(digest) || blobPath(digest) !== path)
      return { kind: 'foreign-file', subject: path, detail: 'no file of a blob' };
    const hash = createHash(algorithm);
    try {
      for await (const chunk of tree.stream(path, file.size)) hash.update(chunk);
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      return { kind: 'digest-mismatch', subject: digest, detail: `the storage does not give its bytes back: ${error.message}` };
    }
    const actual = `${algorithm}:${hash.digest('hex')}`;
    hashed++;
    hashedBytes += file.size;
    onProgress({ at: folder, counts: plus(run.counts, { hashed, hashedBytes }) });
    return actual === digest ? undefined : { kind: 'digest-mismatch', subject: digest, detail: `its bytes have ${actual}` };
  }

  for await (const problem of ahead(tree.files(folder), tree.isFlat ? HASHED_AT_ONCE : 1, problemOf)) {
    if (problem) await batch.say({ ...problem, repository: '' });
  }
  await batch.flush();
  return { hashed, hashedBytes };
}

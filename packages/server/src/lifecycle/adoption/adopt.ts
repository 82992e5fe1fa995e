import { createHash } from 'node:crypto';
import { parseDigest } from '@entrepot/oci';
import { audit } from '../../platform/index.ts';
import { Batch } from './batch.ts';
import { type Counts, FINDINGS, type Finding, type FindingKind, plus } from './findings.ts';
import { blobPath, REPOSITORIES } from './layout.ts';
import { isAfter, repositoriesIn } from './names.ts';
import { type AdoptionContext, adoptRepository } from './repository.ts';
import { addFinding, beginRun, findingCounts, type Run, saveProgress } from './runs.ts';

/** What is known while a run goes on. */
export interface AdoptionProgress {
  /** The folder of blobs, or the repository, that is being looked at. */
  readonly at: string;
  readonly counts: Counts;
}

export interface AdoptionParts extends Omit<AdoptionContext, 'runId' | 'progress'> {
  onProgress(progress: AdoptionProgress): void;
  readonly signal?: AbortSignal;
}

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

/**
 * Indexes the storage of another registry where it lies. Nothing of it is copied or changed. May be cut off at any instant: the
 * next run over the same storage goes on after the last repository that is whole, and what it does twice is done once. Throws
 * where there is no storage of that layout.
 */
export async function adoptStorage(parts: AdoptionParts): Promise<AdoptionReport> {
  const { database, clock, tree, actor, signal } = parts;
  const { folders } = await tree.folders('');
  if (!folders.includes(REPOSITORIES))
    throw new Error(`there is no storage of a registry in ${tree.name}: it has no folder ${REPOSITORIES}`);
  const wishes = JSON.stringify({ verify: parts.verify, update: parts.update });
  const run = await database.write((tx) => beginRun(tx, tree.name, wishes, clock.now()));
  const continued = run.cursor !== '';
  let { cursor, counts } = run;

  async function reach(next: string, more: Partial<Counts>): Promise<void> {
    counts = plus(counts, more);
    cursor = next;
    await database.write((tx) => saveProgress(tx, { id: run.id, cursor, counts, finishedAt: null }), { durable: false });
    parts.onProgress({ at: cursor, counts });
    signal?.throwIfAborted();
  }

  const say = (finding: Finding) => database.write((tx) => addFinding(tx, run.id, finding), { durable: false });

  if (parts.verify) {
    for await (const folder of blobFolders(parts)) {
      if (!isAfter(folder, cursor)) continue;
      await reach(folder, await verifyFolder(parts, run, folder));
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
      { ...parts, runId: run.id, progress: (_, current) => parts.onProgress({ at: place, counts: plus(before, current) }) },
      found.name,
    );
    await reach(place, own);
  }

  const finishedAt = clock.now();
  const findings = await findingCounts(database, run.id);
  const damage = Object.entries(findings).reduce((sum, [kind, count]) => sum + (FINDINGS[kind as FindingKind].damage ? count : 0), 0);
  await database.write(async (tx) => {
    await saveProgress(tx, { id: run.id, cursor, counts, finishedAt });
    const resource = { type: 'storage', name: tree.name };
    await audit(tx, { actor, origin: null, action: 'storage.adopt', resource, outcome: 'success', after: { ...counts, damage } }, clock);
  });
  return { run: run.id, source: tree.name, startedAt: run.startedAt, finishedAt, continued, counts, findings, damage };
}

/** The folders of blobs by the first two digits of their digests. */
async function* blobFolders({ tree }: AdoptionParts): AsyncIterable<string> {
  for (const algorithm of ['sha256', 'sha512']) {
    for (const prefix of (await tree.folders(`blobs/${algorithm}`)).folders) yield `blobs/${algorithm}/${prefix}`;
  }
}

/** Hashes every blob of a folder; those whose bytes are others are told, and will not be adopted. */
async function verifyFolder({ database, tree, onProgress, signal }: AdoptionParts, run: Run, folder: string): Promise<Partial<Counts>> {
  let [hashed, hashedBytes] = [0, 0];
  const batch = new Batch(
    database,
    (tx, finding) => addFinding(tx, run.id, finding),
    () => undefined,
  );
  const algorithm = folder.split('/')[1] ?? '';
  for await (const file of tree.files(folder)) {
    signal?.throwIfAborted();
    const digest = `${algorithm}:${file.path.split('/')[0]}`;
    if (!file.isFile || !parseDigest(digest) || blobPath(digest) !== `${folder}/${file.path}`) {
      await batch.say({ kind: 'foreign-file', repository: '', subject: `${folder}/${file.path}`, detail: 'no file of a blob' });
      continue;
    }
    const hash = createHash(algorithm);
    try {
      for await (const chunk of tree.stream(`${folder}/${file.path}`)) hash.update(chunk);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EIO') throw error;
      await batch.say({ kind: 'digest-mismatch', repository: '', subject: digest, detail: 'the disk does not give its bytes back' });
      continue;
    }
    const actual = `${algorithm}:${hash.digest('hex')}`;
    if (actual !== digest)
      await batch.say({ kind: 'digest-mismatch', repository: '', subject: digest, detail: `its bytes have ${actual}` });
    hashed++;
    hashedBytes += file.size;
    onProgress({ at: folder, counts: plus(run.counts, { hashed, hashedBytes }) });
  }
  await batch.flush();
  return { hashed, hashedBytes };
}

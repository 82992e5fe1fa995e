import { digestOf, isTag, type Manifest, ManifestError, parseDigest, parseManifest, projectOf } from '@entrepot/oci';
import {
  adoptBlob,
  adoptTag,
  createProject,
  ENDLESS,
  ensureRepository,
  findBlob,
  findManifest,
  findRepository,
  noteChange,
  putManifest,
  setTag,
  type TagMove,
} from '../../catalog/index.ts';
import { AppError, type AuditEntry, audit, type Clock, type Config, type Database, type Session } from '../../platform/index.ts';
import { Batch, type Outcome } from './batch.ts';
import { type Counts, type Finding, type FindingKind, NOTHING, plus } from './findings.ts';
import { blobPath, digestIn, digestOfLink, LINK_MOST, layersPath, linkPath, revisionsPath, tagFileOf, tagsPath } from './layout.ts';
import { Revisions } from './revisions.ts';
import { addFinding, hasFinding } from './runs.ts';
import type { TreeFile, TreeReader } from './tree.ts';

export interface AdoptionContext {
  readonly database: Database;
  readonly clock: Clock;
  readonly tree: TreeReader;
  readonly config: Pick<Config, 'sparseIndexes' | 'sparseImages' | 'manifestMaxBytes'>;
  readonly runId: number;
  /** Who is on record for what is adopted. */
  readonly actor: AuditEntry['actor'];
  /** New projects may be read without login. */
  readonly public: boolean;
  /** Every link is read and blobs that were found damaged are not adopted. */
  readonly verify: boolean;
  /** Tags that lead elsewhere follow the storage. */
  readonly update: boolean;
  /** Hears of progress: what was found in the repository so far. */
  progress(repository: string, counts: Counts): void;
}

/** Former positions of one tag that are kept, the newest. */
const MOVES_MOST = 10_000;
/** Digests that one finding names. */
const SHOWN = 3;

/**
 * Adopts one repository: its blobs, its manifests with what they need before them, its tags. All of it can be done again:
 * what is there already counts and stays. Gives what was found.
 */
export async function adoptRepository(context: AdoptionContext, name: string): Promise<Counts> {
  const { database, clock, tree, config, runId } = context;
  let counts = NOTHING;
  let repositoryId = (await findRepository(database, name))?.id;
  let newest = 0;
  const batch = new Batch(
    database,
    (tx, finding) => addFinding(tx, runId, finding),
    (outcomes) => {
      for (const outcome of outcomes) if ('counts' in outcome) counts = plus(counts, outcome.counts);
      pending.clear();
      linked.clear();
      context.progress(name, counts);
    },
  );
  const finding = (kind: FindingKind, subject: string, detail: string): Finding => ({ kind, repository: name, subject, detail });
  const say = (kind: FindingKind, subject: string, detail: string) => batch.say(finding(kind, subject, detail));

  /** The repository, made with the first thing that belongs into it. */
  async function ensure(): Promise<number> {
    repositoryId ??= await database.write((tx) => makeRepository(tx, context, name), { durable: false });
    return repositoryId;
  }

  /** Bytes of a small file; undefined where it is not there, is too large, or cannot be read, which is told. */
  async function read(path: string, most: number): Promise<Uint8Array | undefined> {
    try {
      return await tree.read(path, most);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EIO') throw error;
      await say('unreadable', path, (error as Error).message);
      return undefined;
    }
  }

  /** Whether a link is what its place says. What has the length of its digest is believed, unless everything is verified. */
  async function isSound(folder: string, file: TreeFile, digest: string): Promise<boolean> {
    if (file.size === digest.length && !context.verify) return true;
    const held = digestIn(await read(`${folder}/${file.path}`, LINK_MOST));
    if (held === digest) return true;
    const detail = held === undefined ? `${file.size} bytes that are no digest` : `it says ${held}`;
    await say('bad-link', `${folder}/${file.path}`, detail);
    return false;
  }

  async function* linksIn(folder: string): AsyncIterable<{ digest: string; at: number }> {
    for await (const file of tree.files(folder)) {
      const digest = file.isFile ? digestOfLink(file.path) : undefined;
      if (digest === undefined) await say('foreign-file', `${folder}/${file.path}`, 'no link of a digest');
      else if (await isSound(folder, file, digest)) yield { digest, at: file.modifiedAt };
    }
  }

  /** A blob that the repository has by its link, if its bytes are there and sound. */
  async function layerOf(digest: string): Promise<{ digest: string; size: number } | undefined> {
    const folder = layersPath(name);
    const link = await tree.stat(`${folder}/${linkPath(digest)}`);
    if (!link?.isFile || !(await isSound(folder, { ...link, path: linkPath(digest) }, digest))) return undefined;
    if (context.verify && (await hasFinding(database, runId, 'digest-mismatch', '', digest))) return undefined;
    const blob = await tree.stat(blobPath(digest));
    return blob?.isFile ? { digest, size: blob.size } : undefined;
  }

  /** What a manifest needs of the repository's blobs and what is not in the catalogue yet; or the digests that are missing. */
  async function layersFor({ blobs }: Manifest): Promise<{ found: { digest: string; size: number }[]; missing: string[] }> {
    const [found, missing]: [{ digest: string; size: number }[], string[]] = [[], []];
    for (const { digest } of blobs) {
      if (linked.has(digest)) continue;
      if (repositoryId !== undefined && (await findBlob(database, repositoryId, digest))) continue;
      const layer = await layerOf(digest);
      if (layer) found.push(layer);
      else missing.push(digest);
    }
    return { found, missing };
  }

  /** A manifest as it lies in storage, or why it cannot be adopted. */
  async function readManifest(digest: string): Promise<{ bytes: Uint8Array; manifest: Manifest } | Finding> {
    const path = blobPath(digest);
    const file = await tree.stat(path);
    if (!file?.isFile) return finding('missing-manifest', digest, 'its bytes are not there');
    if (file.size > config.manifestMaxBytes)
      return finding('invalid-manifest', digest, `${file.size} bytes are more than manifestMaxBytes`);
    const bytes = await read(path, config.manifestMaxBytes);
    if (bytes === undefined) return finding('missing-manifest', digest, 'its bytes cannot be read');
    const actual = digestOf(bytes, parseDigest(digest)?.algorithm);
    if (actual !== digest) return finding('digest-mismatch', digest, `the bytes of the manifest have ${actual}`);
    try {
      return { bytes, manifest: parseManifest(bytes, undefined) };
    } catch (error) {
      if (error instanceof ManifestError) return finding('invalid-manifest', digest, error.message);
      throw error;
    }
  }

  /** Manifests in the batch, not yet written. */
  const pending = new Set<string>();
  /** Blobs that they bring with them. */
  const linked = new Set<string>();
  /** Those that came before their turn, as an index needs them. */
  const early = new Set<string>();
  const isKnown = async (digest: string) =>
    pending.has(digest) || (repositoryId !== undefined && (await findManifest(database, repositoryId, digest)) !== undefined);

  /** Adopts a manifest, and before it those that it needs, however deep. */
  async function adoptManifest(first: string, firstAt: number): Promise<void> {
    const stack = [{ digest: first, at: firstAt }];
    const seen = new Set<string>();
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const { digest, at } = top;
      if (await isKnown(digest)) {
        stack.pop();
        continue;
      }
      const found = await readManifest(digest);
      if ('kind' in found) {
        await batch.say(found);
        stack.pop();
        continue;
      }
      if (!seen.has(digest)) {
        seen.add(digest);
        const before = stack.length;
        for (const child of found.manifest.children) {
          if (seen.has(child.digest) || (await isKnown(child.digest))) continue;
          const link = await tree.stat(`${revisionsPath(name)}/${linkPath(child.digest)}`);
          if (link?.isFile) stack.push({ digest: child.digest, at: link.modifiedAt });
        }
        if (stack.length > before) continue; // again, when they are there
      }
      stack.pop();
      const { found: layers, missing } = await layersFor(found.manifest);
      if (missing.length > 0 && !config.sparseImages) {
        await say('incomplete-manifest', digest, `${missing.length} of its blobs are not there: ${missing.slice(0, SHOWN).join(', ')}`);
        continue;
      }
      const id = await ensure();
      pending.add(digest);
      if (digest !== first) early.add(digest);
      for (const layer of layers) linked.add(layer.digest);
      await batch.add((tx) => put(tx, id, { digest, at, layers, ...found }), found.bytes.length);
    }
  }

  /** Makes a manifest and its blobs part of the repository, or nothing of it. */
  async function put(
    tx: Session,
    id: number,
    {
      digest,
      at,
      bytes,
      manifest,
      layers,
    }: { digest: string; at: number; layers: { digest: string; size: number }[]; bytes: Uint8Array; manifest: Manifest },
  ): Promise<Outcome> {
    const sizes = new Map(layers.map((layer) => [layer.digest, layer.size]));
    for (const blob of manifest.blobs) {
      const size = sizes.get(blob.digest) ?? (await findBlob(tx, id, blob.digest))?.size;
      if (size !== undefined && size !== blob.size)
        return { finding: finding('incomplete-manifest', digest, `${blob.digest} has ${size} bytes, not ${blob.size}`) };
      if (size === undefined && !config.sparseImages)
        return { finding: finding('incomplete-manifest', digest, `${blob.digest} is not there`) };
    }
    const missing: string[] = [];
    for (const child of config.sparseIndexes ? [] : manifest.children)
      if (!(await findManifest(tx, id, child.digest))) missing.push(child.digest);
    if (missing.length > 0) {
      const detail = `${missing.length} of its manifests were not adopted: ${missing.slice(0, SHOWN).join(', ')}`;
      return { finding: finding('incomplete-manifest', digest, detail) };
    }
    for (const layer of layers) await adoptBlob(tx, id, layer, clock.now());
    const by = context.actor.name;
    const sparse = { children: config.sparseIndexes, blobs: config.sparseImages };
    await putManifest(tx, { repositoryId: id, digest, bytes, manifest, tags: [], sparse, by, now: at, silent: true, room: ENDLESS });
    return { counts: { manifests: 1 } };
  }

  async function adoptManifests(): Promise<void> {
    const revisions = new Revisions();
    for await (const { digest, at } of linksIn(revisionsPath(name))) revisions.add(digest, at);
    for (const { digest, at } of revisions.inOrder()) {
      newest = Math.max(newest, at);
      if (early.has(digest)) continue;
      if (await isKnown(digest)) counts = plus(counts, { manifests: 1 });
      else await adoptManifest(digest, at);
    }
    await batch.flush();
  }

  async function adoptTags(): Promise<void> {
    let open: { tag: string; current: TreeFile | undefined; moves: TagMove[] } | undefined;
    for await (const file of tree.files(tagsPath(name))) {
      const found = file.isFile ? tagFileOf(file.path) : undefined;
      if (found === undefined) {
        const [folder = '', ...rest] = file.path.split('/');
        if (rest.length === 0 || isTag(folder)) await say('foreign-file', `${tagsPath(name)}/${file.path}`, 'no file of a tag');
        else await say('invalid-name', `${tagsPath(name)}/${folder}`, 'no name of a tag');
        continue;
      }
      if (open?.tag !== found.tag) {
        if (open) await adoptOne(open);
        open = { tag: found.tag, current: undefined, moves: [] };
      }
      if (found.digest === undefined) open.current = file;
      else open.moves.push({ digest: found.digest, at: file.modifiedAt });
      if (open.moves.length >= 2 * MOVES_MOST) open.moves = newestOf(open.moves);
    }
    if (open) await adoptOne(open);
    await batch.flush();
  }

  async function adoptOne({ tag, current, moves }: { tag: string; current: TreeFile | undefined; moves: TagMove[] }): Promise<void> {
    if (current === undefined) return await say('dangling-tag', tag, 'it leads nowhere');
    const digest = digestIn(await read(`${tagsPath(name)}/${current.path}`, LINK_MOST));
    if (digest === undefined) return await say('bad-link', `${tagsPath(name)}/${current.path}`, `${current.size} bytes that are no digest`);
    const all = historyOf(moves, { digest, at: current.modifiedAt });
    newest = Math.max(newest, all.at(-1)?.at ?? 0);
    await batch.add(async (tx): Promise<Outcome> => {
      if (repositoryId === undefined || !(await findManifest(tx, repositoryId, digest)))
        return { finding: finding('dangling-tag', tag, `${digest} was not adopted`) };
      const by = context.actor.name;
      const outcome = await adoptTag(tx, { repositoryId, name: tag, moves: all, by });
      if (outcome === 'other') {
        if (!context.update) return { finding: finding('other-tag', tag, `the storage has it at ${digest}`) };
        try {
          await setTag(tx, { repositoryId, name: tag, digest, now: clock.now(), by, room: ENDLESS });
        } catch (error) {
          if (!(error instanceof AppError) || error.code !== 'tag_immutable') throw error;
          return { finding: finding('other-tag', tag, `the storage has it at ${digest}, but ${error.message}`) };
        }
      }
      return { counts: { tags: 1, moves: all.length - 1 } };
    });
  }

  await adoptManifests();
  await adoptTags();
  if (repositoryId === undefined) return counts;
  const id = repositoryId;
  await database.write((tx) => noteChange(tx, id, newest), { durable: false });
  return plus(counts, { repositories: 1 });
}

/** Positions of a tag in order of time; the one it has is the last, whatever the times of files say. */
function historyOf(moves: readonly TagMove[], current: TagMove): TagMove[] {
  const past = newestOf(moves.filter(({ digest }) => digest !== current.digest));
  return [...past, { ...current, at: Math.max(current.at, past.at(-1)?.at ?? 0) }];
}

function newestOf(moves: readonly TagMove[]): TagMove[] {
  return [...moves].sort((a, b) => a.at - b.at).slice(-MOVES_MOST);
}

async function makeRepository(tx: Session, { clock, actor, public: isPublic }: AdoptionContext, name: string): Promise<number> {
  const now = clock.now();
  const project = projectOf(name);
  if (await createProject(tx, { name: project, public: isPublic, by: actor.name, now })) {
    const told = {
      action: 'project.create',
      resource: { type: 'project', project },
      outcome: 'success',
      after: { public: isPublic },
    } as const;
    await audit(tx, { actor, origin: null, ...told }, clock);
  }
  return (await ensureRepository(tx, name, actor.name, now, { silent: true, room: ENDLESS })).id;
}

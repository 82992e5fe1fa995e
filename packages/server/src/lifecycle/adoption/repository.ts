import { setImmediate as turn } from 'node:timers/promises';
import { digestOf, isTag, type Manifest, ManifestError, parseDigest, parseManifest, projectOf } from '@entrepot/oci';
import {
  adoptBlob,
  adoptTag,
  countAdoptedTags,
  createProject,
  ENDLESS,
  ensureRepository,
  findBlob,
  findManifest,
  findRepository,
  noteChange,
  putManifest,
  setTag,
} from '../../catalog/index.ts';
import { AppError, type AuditEntry, audit, type Clock, type Config, type Database, type Session } from '../../platform/index.ts';
import { ahead } from './ahead.ts';
import { Batch, type Outcome } from './batch.ts';
import { type Counts, type Finding, type FindingKind, NOTHING, plus } from './findings.ts';
import { type Layer, Layers } from './layers.ts';
import { blobPath, digestIn, LINK_MOST, layersPath, linkPath, revisionsPath, tagsPath } from './layout.ts';
import { linksIn } from './links.ts';
import { Revisions } from './revisions.ts';
import { addFinding, hasFinding } from './runs.ts';
import { historyOf, type TagFolder, tagFolders } from './tag-folders.ts';
import { type TreeContent, type TreeReader, Unreadable } from './tree.ts';

export interface AdoptionContext {
  readonly database: Database;
  readonly clock: Clock;
  readonly tree: TreeReader;
  readonly config: Pick<Config, 'sparseIndexes' | 'sparseImages' | 'manifestMaxBytes'>;
  readonly runId: number;
  /** Throws where the run is not this process's any more; in each transaction of it. */
  hold(tx: Session): Promise<void>;
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

/** Digests that one finding names. */
const SHOWN = 3;
/** Manifests of a bucket that are asked for at once. */
const AT_ONCE = 32;
/** So many files are looked at, until others get their turn: progress, and what keeps the run this process's. */
const TURN = 1000;

/**
 * Adopts one repository: its blobs, its manifests with what they need before them, its tags. All of it can be done again:
 * what is there already counts and stays. Gives what was found.
 */
export async function adoptRepository(context: AdoptionContext, name: string): Promise<Counts> {
  const { database, clock, tree, config, runId } = context;
  let counts = NOTHING;
  let repositoryId = (await findRepository(database, name))?.id;
  let newest = 0;
  const batch = new Batch(database, {
    begin: context.hold,
    say: (tx, finding) => addFinding(tx, runId, finding),
    end: async (tx, outcomes) => {
      const made = outcomes.filter((outcome) => 'counts' in outcome && outcome.isNewTag).length;
      if (made > 0 && repositoryId !== undefined) await countAdoptedTags(tx, repositoryId, made);
    },
    done: (outcomes) => {
      for (const outcome of outcomes) {
        if ('finding' in outcome) continue;
        counts = plus(counts, outcome.counts);
        layers.adopted(outcome.layers ?? []);
      }
      pending.clear();
      context.progress(name, counts);
    },
  });
  const finding = (kind: FindingKind, subject: string, detail: string): Finding => ({ kind, repository: name, subject, detail });
  const say = (kind: FindingKind, subject: string, detail: string) => batch.say(finding(kind, subject, detail));
  let looked = 0;
  const look = async () => {
    if (++looked % TURN !== 0) return;
    context.progress(name, counts);
    await turn();
  };

  /** The repository, made with the first thing that belongs into it. */
  async function ensure(): Promise<number> {
    repositoryId ??= await database.write(
      async (tx) => {
        await context.hold(tx);
        return await makeRepository(tx, context, name);
      },
      { durable: false },
    );
    return repositoryId;
  }

  /** A small file; undefined where it is not there, or cannot be read, which is told. */
  async function read(path: string, most: number): Promise<TreeContent | undefined> {
    try {
      return await tree.read(path, most);
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      await say('unreadable', path, error.message);
      return undefined;
    }
  }

  /** Whether a link is what its place says. What has the length of its digest is believed, unless everything is verified. */
  async function isSound(path: string, size: number, digest: string): Promise<boolean> {
    if (size === digest.length && !context.verify) return true;
    const held = digestIn((await read(path, LINK_MOST))?.bytes);
    if (held === digest) return true;
    await say('bad-link', path, held === undefined ? `${size} bytes that are no digest` : `it says ${held}`);
    return false;
  }

  const layers = new Layers({
    database,
    repositoryId: () => repositoryId,
    async look(digest) {
      const link = `${layersPath(name)}/${linkPath(digest)}`;
      const found = await tree.stat(link);
      if (!found?.isFile || !(await isSound(link, found.size, digest))) return undefined;
      if (context.verify && (await hasFinding(database, runId, 'digest-mismatch', '', digest))) return undefined;
      const blob = await tree.stat(blobPath(digest));
      return blob?.isFile ? { digest, size: blob.size } : undefined;
    },
  });

  /** A manifest as it lies in storage, or why it cannot be adopted. */
  async function readManifest(digest: string): Promise<Read | Finding> {
    const { manifestMaxBytes: most } = config;
    const algorithm = parseDigest(digest)?.algorithm;
    let file: TreeContent | undefined;
    let actual: string | undefined;
    for (let tries = 0; tries < 2 && actual !== digest; tries++) {
      try {
        file = await tree.read(blobPath(digest), most);
      } catch (error) {
        if (!(error instanceof Unreadable)) throw error;
        return finding('unreadable', blobPath(digest), error.message);
      }
      if (!file?.isFile) return finding('missing-manifest', digest, 'its bytes are not there');
      if (file.bytes === undefined) return finding('invalid-manifest', digest, `${file.size} bytes are more than manifestMaxBytes`);
      actual = digestOf(file.bytes, algorithm);
    }
    const bytes = file?.bytes ?? new Uint8Array();
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
  /** Those that came before their turn, as an index needs them. */
  const early = new Set<string>();
  const isKnown = async (digest: string) =>
    pending.has(digest) || (repositoryId !== undefined && (await findManifest(database, repositoryId, digest)) !== undefined);

  /** Adopts a manifest that is not known, and before it those that it needs, however deep. */
  async function adoptManifest(first: { readonly digest: string; readonly at: number }, itself: Read | Finding): Promise<void> {
    const stack = [first];
    const seen = new Set<string>();
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const { digest, at } = top;
      if (top !== first && (await isKnown(digest))) {
        stack.pop();
        continue;
      }
      const found = top === first ? itself : await readManifest(digest);
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
      const { found: parts, missing } = await layers.of(found.manifest);
      if (missing.length > 0 && !config.sparseImages) {
        await say('incomplete-manifest', digest, `${missing.length} of its blobs are not there: ${missing.slice(0, SHOWN).join(', ')}`);
        continue;
      }
      const id = await ensure();
      pending.add(digest);
      if (top !== first) early.add(digest);
      await batch.add((tx) => put(tx, id, { digest, at, layers: parts, ...found }), found.bytes.length);
    }
  }

  /** Makes a manifest and its blobs part of the repository, or nothing of it. */
  async function put(tx: Session, id: number, { digest, at, bytes, manifest, layers: parts }: Found): Promise<Outcome> {
    const incomplete = (detail: string) => ({ finding: finding('incomplete-manifest', digest, detail) });
    const sizes = new Map(parts.map((layer) => [layer.digest, layer.size]));
    for (const blob of manifest.blobs) {
      const size = sizes.get(blob.digest);
      if (size !== undefined && size !== blob.size) return incomplete(`${blob.digest} has ${size} bytes, not ${blob.size}`);
    }
    const missing: string[] = [];
    for (const child of config.sparseIndexes ? [] : manifest.children)
      if (!(await findManifest(tx, id, child.digest))) missing.push(child.digest);
    if (missing.length > 0) return incomplete(`${missing.length} of its manifests were not adopted: ${missing.slice(0, SHOWN).join(', ')}`);
    const added = parts.filter((layer) => !layer.isKnown);
    for (const layer of added) await adoptBlob(tx, id, layer, clock.now());
    for (const layer of config.sparseImages ? [] : added)
      if (!(await findBlob(tx, id, layer.digest))) return incomplete(`${layer.digest} is in quarantine`);
    const by = context.actor.name;
    const sparse = { children: config.sparseIndexes, blobs: config.sparseImages };
    await putManifest(tx, { repositoryId: id, digest, bytes, manifest, tags: [], sparse, by, now: at, silent: true, room: ENDLESS });
    return { counts: { manifests: 1 }, layers: added };
  }

  async function adoptManifests(): Promise<void> {
    const folder = revisionsPath(name);
    const revisions = new Revisions();
    for await (const { digest, file } of linksIn(tree, folder, context.verify)) {
      await look();
      if (digest === undefined) await say('foreign-file', `${folder}/${file.path}`, 'no link of a digest');
      else if (await isSound(`${folder}/${file.path}`, file.size, digest)) revisions.add(digest, file.modifiedAt);
    }
    const most = tree.isFlat ? AT_ONCE : 1;
    const readNext = async (revision: { readonly digest: string; readonly at: number }) => {
      if (early.has(revision.digest)) return { revision };
      if (await isKnown(revision.digest)) return { revision, isThere: true };
      const found = await readManifest(revision.digest);
      if (tree.isFlat && 'manifest' in found) layers.begin(found.manifest);
      return { revision, found };
    };
    for await (const { revision, isThere, found } of ahead(revisions.inOrder(), most, readNext)) {
      await look();
      newest = Math.max(newest, revision.at);
      if (early.has(revision.digest)) continue; // it is counted, or its finding said, where it came
      if (isThere) counts = plus(counts, { manifests: 1 });
      else if (found) await adoptManifest(revision, found);
    }
    await batch.flush();
  }

  async function adoptTags(): Promise<void> {
    const folder = tagsPath(name);
    for await (const found of tagFolders(tree, folder, context.verify)) {
      await look();
      if ('tag' in found) {
        await adoptOne(found);
        continue;
      }
      const [first = '', ...rest] = found.stray.split('/');
      if (rest.length === 0 || isTag(first)) await say('foreign-file', `${folder}/${found.stray}`, 'no file of a tag');
      else await say('invalid-name', `${folder}/${first}`, 'no name of a tag');
    }
    await batch.flush();
  }

  async function adoptOne({ tag, current, moves }: TagFolder): Promise<void> {
    const path = `${tagsPath(name)}/${tag}/current/link`;
    if (current === undefined) return await say('dangling-tag', tag, 'it leads nowhere');
    if (current instanceof Unreadable) return await say('unreadable', path, current.message);
    const { digest, at } = current;
    if (digest === undefined) return await say('bad-link', path, `${current.size} bytes that are no digest`);
    const all = historyOf(moves, { digest, at });
    newest = Math.max(newest, all.at(-1)?.at ?? 0);
    await batch.add(async (tx): Promise<Outcome> => {
      const by = context.actor.name;
      const outcome = repositoryId === undefined ? 'dangling' : await adoptTag(tx, { repositoryId, name: tag, moves: all, by });
      if (repositoryId === undefined || outcome === 'dangling')
        return { finding: finding('dangling-tag', tag, `${digest} was not adopted`) };
      if (outcome === 'other') {
        if (!context.update) return { finding: finding('other-tag', tag, `the storage has it at ${digest}`) };
        try {
          await setTag(tx, { repositoryId, name: tag, digest, now: clock.now(), by, room: ENDLESS });
        } catch (error) {
          if (!(error instanceof AppError) || error.code !== 'tag_immutable') throw error;
          return { finding: finding('other-tag', tag, `the storage has it at ${digest}, but ${error.message}`) };
        }
      }
      return { counts: { tags: 1, moves: all.length - 1 }, isNewTag: outcome === 'made' };
    });
  }

  await adoptManifests();
  await adoptTags();
  if (repositoryId === undefined) return counts;
  const id = repositoryId;
  await database.write(
    async (tx) => {
      await context.hold(tx);
      await noteChange(tx, id, newest);
    },
    { durable: false },
  );
  return plus(counts, { repositories: 1 });
}

/** A manifest of the storage. */
interface Read {
  readonly bytes: Uint8Array;
  readonly manifest: Manifest;
}

/** One that can be adopted, with its blobs. */
interface Found extends Read {
  readonly digest: string;
  readonly at: number;
  readonly layers: readonly Layer[];
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

import { digestOf, isTag, ManifestError, MEDIA_TYPE, parseDigest, parseManifest, projectOf } from '@entrepot/oci';
import { LRUCache } from 'lru-cache';
import {
  deleteManifest,
  deleteTag,
  findManifest,
  findManifestByTag,
  findRepository,
  findTag,
  manifestBytes,
  putManifest,
  repositoryScope,
  type StoredManifest,
  shedTags,
} from '../catalog/index.ts';
import { AppError, endTogether, readBody, type Session } from '../platform/index.ts';
import { API_VERSION, answer, type Call, NOSNIFF, namesEtag, warning } from './http.ts';
import type { RegistryParts } from './parts.ts';
import { createQuotas } from './quotas.ts';
import { fallbackIndex } from './referrers.ts';
import { createRepositoryMaker } from './repositories.ts';

const CACHE_BYTES = 24 << 20;
const TEXT_BYTES = 16 * 1024;
/** Tags that one PUT may set; the specification asks for at least 10. */
const MAX_TAGS = 100;

interface Rendered {
  readonly bytes: Uint8Array;
  /** The same bytes as a string of one character each where they are few: node sends it in one piece with the head. */
  readonly text: string | undefined;
  readonly headers: string[];
}

export interface ManifestHandlers {
  get(call: Call): Promise<void>;
  put(call: Call): Promise<void>;
  remove(call: Call): Promise<void>;
}

/** end-3, end-7 and end-9 of distribution-spec. */
export function createManifestHandlers(parts: RegistryParts): ManifestHandlers {
  const { database, clock, options } = parts;
  const repositories = createRepositoryMaker(parts);
  const quotas = createQuotas(parts);
  // Bytes and headers of stored manifests never change under an id, and ids are never used again.
  const rendered = new LRUCache<number, Rendered>({ maxSize: CACHE_BYTES, sizeCalculation: ({ bytes }) => 2 * bytes.length + 600 });

  async function find({ name, reference }: Call): Promise<StoredManifest | undefined> {
    const isDigest = reference.includes(':');
    if (isDigest ? parseDigest(reference) === undefined : !isTag(reference)) {
      throw isDigest
        ? new AppError('digest_invalid', 'the digest is not a sha256 or sha512 digest')
        : new AppError('tag_invalid', 'the tag is outside the grammar');
    }
    const repository = await findRepository(database, name);
    if (!repository) throw new AppError('name_unknown', 'repository name not known to the registry');
    return isDigest ? findManifest(database, repository.id, reference) : findManifestByTag(database, repository.id, reference);
  }

  async function load(call: Call): Promise<Rendered> {
    const stored = await find(call);
    if (!stored) return await generated(call);
    const known = rendered.get(stored.id);
    if (known) return known;
    const bytes = await manifestBytes(database, stored.id);
    if (!bytes) throw new AppError('manifest_unknown', 'manifest unknown to the repository');
    // Once for each time it is read from the database, so that no bit that was lost there is passed on.
    if (digestOf(bytes, parseDigest(stored.digest)?.algorithm) !== stored.digest) {
      parts.log.error({ digest: stored.digest, repository: call.name }, 'the bytes of a manifest in the database are damaged');
      throw new AppError('manifest_unknown', 'the stored manifest is damaged; push it again');
    }
    const fresh = render(bytes, stored.digest, stored.mediaType);
    rendered.set(stored.id, fresh);
    return fresh;
  }

  async function generated({ name, reference }: Call): Promise<Rendered> {
    const repository = await findRepository(database, name);
    const bytes = repository && (await fallbackIndex(database, repository.id, reference));
    if (!bytes) throw new AppError('manifest_unknown', 'manifest unknown to the repository');
    return render(bytes, digestOf(bytes), MEDIA_TYPE.ociIndex);
  }

  async function get(call: Call): Promise<void> {
    const { request, response } = call;
    const { bytes, text, headers } = await load(call);
    if (options.auditPulls && request.method === 'GET') notePull(call, headers);
    const { 'if-none-match': ifNoneMatch } = request.headers;
    if (ifNoneMatch !== undefined && namesEtag(ifNoneMatch, etagOf(headers))) return answer(response, 304, ['ETag', etagOf(headers)]);
    response.writeHead(200, headers);
    endTogether(response, request.method === 'HEAD' ? undefined : (text ?? bytes));
    // The answer is on its way: what cannot be counted must not touch it.
    await countPull(call, etagOf(headers).slice(1, -1)).catch(() => undefined);
  }

  /** After the answer; nothing is written here. */
  async function countPull({ request, name, reference, identity: { actor, origin } }: Call, digest: string): Promise<void> {
    const repository = await findRepository(database, name);
    if (!repository) return;
    const tag = reference.includes(':') ? undefined : reference;
    const client = `${actor.kind} ${actor.id} ${origin.client}`;
    const pull = { repositoryId: repository.id, digest, tag, client, by: actor.name };
    if (request.method === 'HEAD') parts.pulls.asked(pull);
    else parts.pulls.pulled(pull);
  }

  /** What clients ask before they pull, they ask by HEAD. */
  function notePull({ identity: { actor, origin }, name, reference }: Call, headers: readonly string[]): void {
    const tag = reference.includes(':') ? {} : { tag: reference };
    const resource = { type: 'artifact', project: projectOf(name), repository: name, ...tag, digest: etagOf(headers).slice(1, -1) };
    parts.notes.pulled({ actor, origin, action: 'artifact.pull', resource });
  }

  const tooLarge = () => new AppError('manifest_too_large', `a manifest may have at most ${options.manifestMaxBytes} bytes`);

  async function put(call: Call): Promise<void> {
    const { request, response, name, reference, actor } = call;
    const wanted = reference.includes(':') ? parseDigest(reference) : undefined;
    if (!wanted && reference.includes(':')) throw new AppError('digest_invalid', 'the digest is not a sha256 or sha512 digest');
    const tags = wanted ? [...new Set(call.query.getAll('tag'))] : [reference];
    if (tags.length > MAX_TAGS) throw new AppError('too_many_tags', `at most ${MAX_TAGS} tags can be set at once`);
    for (const tag of tags) if (!isTag(tag)) throw new AppError('tag_invalid', 'a tag is outside the grammar');

    const bytes = await readBody(request, response, { limit: options.manifestMaxBytes, tooLarge });
    const digest = digestOf(bytes, wanted?.algorithm ?? 'sha256');
    if (wanted && digest !== reference) throw new AppError('digest_invalid', `the manifest's digest is ${digest}`);
    const manifest = parse(bytes, request.headers['content-type']);

    const now = clock.now();
    const makeRepository = await repositories.prepare(call);
    const hold = await quotas.forManifest(call, { digest, bytes: bytes.length, tags });
    const change = async (tx: Session) => {
      const room = await hold.take(tx);
      const repository = await makeRepository(tx, room);
      if (!wanted) await requireTagState(tx, repository.id, call);
      const sparse = { children: options.sparseIndexes, blobs: options.sparseImages };
      await putManifest(tx, { repositoryId: repository.id, digest, bytes, manifest, tags, sparse, by: actor, now, room });
      const resource = { type: 'artifact', ...(wanted ? {} : { tag: reference }), digest };
      await call.record(tx, { resource, after: { mediaType: manifest.mediaType, size: bytes.length, tags } });
    };
    const most = { bytes: bytes.length, repositories: 1, tags: tags.length };
    await hold.change(most, () => database.write(change, { scope: [repositoryScope(name)] })).finally(() => hold.release());

    const headers = ['Location', `/v2/${name}/manifests/${digest}`, 'Docker-Content-Digest', digest, 'ETag', `"${digest}"`];
    if (manifest.subject) headers.push('OCI-Subject', manifest.subject.digest);
    if (wanted) for (const tag of tags) headers.push('OCI-Tag', tag);
    if (manifest.mediaType === MEDIA_TYPE.ociArtifact)
      headers.push(...warning('the OCI artifact manifest is deprecated; use an image manifest'));
    answer(response, 201, headers);
  }

  /** Most tags of a manifest that has very many go before it does. */
  async function shed({ name, actor, record }: Call, { id, digest, mediaType }: StoredManifest): Promise<void> {
    const repository = await findRepository(database, name);
    if (!repository) return;
    const doomed = [{ id, digest, mediaType, size: 0, artifactType: null, role: 'self' } as const];
    await shedTags(database, doomed, {
      ...{ repository, by: actor, now: clock.now() },
      record: (tx, of, tags) => record(tx, { action: 'tag.delete-many', resource: { type: 'tag', digest: of }, before: { tags } }),
    });
  }

  async function remove(call: Call): Promise<void> {
    const { name, reference, actor } = call;
    const found = await find(call);
    if (!found) throw new AppError('manifest_unknown', 'manifest unknown to the repository');
    if (reference.includes(':')) await shed(call, found);
    await database.write(async (tx) => {
      const repository = await findRepository(tx, name);
      if (!repository) throw new AppError('name_unknown', 'repository name not known to the registry');
      const now = clock.now();
      const { digest } = found;
      if (reference.includes(':')) {
        await deleteManifest(tx, repository.id, reference, actor, now);
        return await call.record(tx, { resource: { type: 'artifact', digest } });
      }
      await requireTagState(tx, repository.id, call);
      await deleteTag(tx, { repositoryId: repository.id, name: reference, by: actor, now });
      await call.record(tx, { action: 'tag.delete', resource: { type: 'tag', tag: reference }, before: { digest } });
    });
    answer(call.response, 202);
  }

  return { get, put, remove };
}

function render(bytes: Uint8Array, digest: string, mediaType: string): Rendered {
  const headers = [
    ...API_VERSION,
    ...['Content-Type', mediaType],
    ...['Content-Length', String(bytes.length)],
    ...['Docker-Content-Digest', digest],
    ...['ETag', `"${digest}"`],
    ...NOSNIFF,
  ];
  const text = bytes.length <= TEXT_BYTES ? Buffer.from(bytes).toString('latin1') : undefined;
  return { bytes, text, headers };
}

function etagOf(headers: readonly string[]): string {
  return headers[headers.indexOf('ETag') + 1] ?? '';
}

/**
 * `If-Match` and `If-None-Match` against the tag as it is now, inside the transaction that changes it (RFC 9110 section
 * 13). Who read a fallback tag that nobody pushed replaces what was read.
 */
async function requireTagState(tx: Session, repositoryId: number, { request, reference }: Call): Promise<void> {
  const { 'if-match': ifMatch, 'if-none-match': ifNoneMatch } = request.headers;
  if (ifMatch === undefined && ifNoneMatch === undefined) return;
  const generated = async () => {
    const bytes = await fallbackIndex(tx, repositoryId, reference);
    return bytes && digestOf(bytes);
  };
  const current = (await findTag(tx, repositoryId, reference)) ?? (await generated());
  const holds = (header: string, comparison: 'weak' | 'strong') => current !== undefined && namesEtag(header, `"${current}"`, comparison);
  if (ifMatch !== undefined && !holds(ifMatch, 'strong')) throw new AppError('precondition_failed', 'the tag is not what If-Match says');
  if (ifNoneMatch !== undefined && holds(ifNoneMatch, 'weak'))
    throw new AppError('precondition_failed', 'the tag is what If-None-Match excludes');
}

function parse(bytes: Uint8Array, contentType: string | undefined) {
  const mediaType = contentType?.split(';')[0]?.trim();
  try {
    return parseManifest(bytes, mediaType === '' ? undefined : mediaType);
  } catch (error) {
    if (error instanceof ManifestError) throw new AppError('manifest_invalid', error.message, { cause: error });
    throw error;
  }
}

import { createHash } from 'node:crypto';
import { createReadStream, existsSync, readdirSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { pipeline } from 'node:stream/promises';
import { copyOfDatabase, databaseOfRun } from './postgres.ts';

/** What clients were told is stored; a name is a repository's. */
export interface Acknowledged {
  readonly blobs?: Iterable<{ name: string; digest: string; size: number }>;
  readonly manifests?: Iterable<{ name: string; digest: string; bytes: Uint8Array }>;
  readonly tags?: Iterable<{ name: string; tag: string; digest: string }>;
}

/** What was looked at, so that a test can see that it was not nothing. */
export interface Inventory {
  readonly blobs: number;
  readonly manifests: number;
  readonly tags: number;
}

interface ManifestRow {
  id: number;
  repository_id: number;
  digest: string;
  media_type: string;
  size: number;
  subject: string | null;
  bytes: Uint8Array | null;
}

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

const HEX_LENGTH: Readonly<Record<string, number>> = { sha256: 64, sha512: 128 };

/**
 * Opens the data directory of a server that is stopped, or idle, and checks what must always hold (docs/architecture.md).
 * Changes nothing. Throws with every violation found. The database is SQLite's, or PostgreSQL's at an address.
 */
export async function checkInvariants(dataDir: string, acknowledged: Acknowledged = {}, databaseUrl?: string): Promise<Inventory> {
  const problems: string[] = [];
  const url = databaseUrl ?? (await databaseOfRun(dataDir));
  const database = url ? await copyOfDatabase(url) : new DatabaseSync(join(dataDir, 'entrepot.db'), { readOnly: true });
  try {
    database.exec('BEGIN');
    const inventory = { ...checkCatalog(database, problems), blobs: await checkBlobs(database, join(dataDir, 'storage'), problems) };
    checkCollection(database, problems);
    checkAcknowledged(database, acknowledged, problems);
    if (problems.length > 0) throw new Error(`${problems.length} invariants do not hold:\n  ${problems.join('\n  ')}`);
    return inventory;
  } finally {
    database.close();
  }
}

/** Closed graph (invariant 2), exact bytes (invariant 3), edges that say what the manifests say, and a sound database file. */
function checkCatalog(database: DatabaseSync, problems: string[]): { manifests: number; tags: number } {
  const rows = <T>(sql: string) => database.prepare(sql).all() as T[];
  for (const { integrity_check: found } of rows<{ integrity_check: string }>('PRAGMA integrity_check')) {
    if (found !== 'ok') problems.push(`integrity_check: ${found}`);
  }
  for (const broken of rows<{ table: string; parent: string }>('PRAGMA foreign_key_check')) {
    problems.push(`a row of ${broken.table} has no row of ${broken.parent}`);
  }
  const manifests = rows<ManifestRow>('SELECT m.*, c.bytes FROM manifest m LEFT JOIN manifest_content c ON c.manifest_id = m.id');
  const known = new Set(manifests.map((row) => `${row.repository_id} ${row.digest}`));
  const sizes = new Map(
    rows<{ repository_id: number; digest: string; size: number }>('SELECT * FROM repository_blob').map((row) => [
      `${row.repository_id} ${row.digest}`,
      row.size,
    ]),
  );
  const edges = new Map<number, string[]>();
  const stored = rows<{ manifest_id: number; repository_id: number; digest: string; kind: string }>('SELECT * FROM manifest_reference');
  const byId = new Map(manifests.map((row) => [row.id, row]));
  for (const { manifest_id: id, repository_id: repository, digest, kind } of stored) {
    const owner = byId.get(id);
    if (owner?.repository_id !== repository) problems.push(`an edge to ${digest} belongs to no manifest of repository ${repository}`);
    edges.set(id, [...(edges.get(id) ?? []), `${kind} ${digest}`]);
    const there = kind === 'blob' ? sizes.has(`${repository} ${digest}`) : known.has(`${repository} ${digest}`);
    if (!there) problems.push(`${owner?.digest} needs ${kind} ${digest}, which repository ${repository} has not`);
  }
  for (const row of manifests) checkManifest(row, edges.get(row.id) ?? [], sizes, problems);
  const tags = rows<{ repository_id: number; name: string; digest: string }>('SELECT * FROM tag');
  for (const { repository_id: repository, name, digest } of tags) {
    if (!known.has(`${repository} ${digest}`)) problems.push(`tag ${name} leads to ${digest}, which is not there`);
  }
  checkHistory(database, tags, problems);
  checkUsage(database, problems);
  return { manifests: manifests.length, tags: tags.length };
}

function checkManifest(row: ManifestRow, edges: readonly string[], sizes: ReadonlyMap<string, number>, problems: string[]): void {
  const { digest, bytes } = row;
  if (bytes === null) return void problems.push(`manifest ${digest} has no bytes`);
  if (bytes.length !== row.size) problems.push(`manifest ${digest} has ${bytes.length} bytes, its row says ${row.size}`);
  if (hashOf(digest, bytes) !== digest) return void problems.push(`manifest ${digest} has other bytes than it was pushed with`);
  const parsed = JSON.parse(Buffer.from(bytes).toString()) as {
    config?: Descriptor;
    layers?: Descriptor[];
    manifests?: Descriptor[];
    subject?: Descriptor;
  };
  // Layers from elsewhere need not be here; an index may list layers beside manifests, as BuildKit's caches do.
  const members = parsed.manifests ?? [];
  const blobs = [parsed.config, ...(parsed.layers ?? []), ...members.filter((d) => !isManifest(d))].filter(
    (d) => d !== undefined && !d.mediaType.includes('.nondistributable.') && !d.mediaType.includes('.foreign.'),
  ) as Descriptor[];
  const wanted = new Set([...blobs.map((d) => `blob ${d.digest}`), ...members.filter(isManifest).map((d) => `manifest ${d.digest}`)]);
  if (wanted.size !== edges.length || edges.some((edge) => !wanted.has(edge))) {
    problems.push(`manifest ${digest} has the edges [${edges}], its bytes say [${[...wanted]}]`);
  }
  for (const blob of blobs) {
    const size = sizes.get(`${row.repository_id} ${blob.digest}`);
    if (size !== undefined && size !== blob.size)
      problems.push(`manifest ${digest} says ${blob.size} bytes for ${blob.digest}, not ${size}`);
  }
  if ((parsed.subject?.digest ?? null) !== row.subject) problems.push(`manifest ${digest} has the subject ${row.subject}`);
}

function isManifest({ mediaType }: Descriptor): boolean {
  return /\.(manifest|index)\.(list\.)?v\d\+json$/.test(mediaType);
}

/** What is counted per project is what is there (I4): each blob once, manifests, those in the trash too, repositories and tags. */
function checkUsage(database: DatabaseSync, problems: string[]): void {
  const found = database.prepare(`
    SELECT project.name, coalesce((SELECT sum(bytes) FROM project_usage WHERE project_id = project.id), 0) AS bytes,
      coalesce((SELECT sum(repositories) FROM project_usage WHERE project_id = project.id), 0) AS repositories,
      coalesce((SELECT sum(tags) FROM project_usage WHERE project_id = project.id), 0) AS tags,
      coalesce((SELECT sum(size) FROM (SELECT DISTINCT blob.digest, blob.size FROM repository_blob blob JOIN repository r ON r.id = blob.repository_id
        WHERE r.project_id = project.id)), 0) + coalesce((SELECT sum(m.size) FROM manifest m JOIN repository r ON r.id = m.repository_id
        WHERE r.project_id = project.id), 0) + coalesce((SELECT sum(t.size) FROM trash_manifest t JOIN repository r ON r.id = t.repository_id
        WHERE r.project_id = project.id), 0) AS trueBytes,
      (SELECT count(*) FROM repository r WHERE r.project_id = project.id AND r.deleted_at IS NULL) AS trueRepositories,
      (SELECT count(*) FROM tag JOIN repository r ON r.id = tag.repository_id WHERE r.project_id = project.id) AS trueTags
    FROM project`);
  for (const row of found.all() as Record<string, string | number>[]) {
    for (const [counted, real] of [
      ['bytes', 'trueBytes'],
      ['repositories', 'trueRepositories'],
      ['tags', 'trueTags'],
    ] as const) {
      if (row[counted] !== row[real]) problems.push(`project ${row.name} is counted with ${row[counted]} ${counted}, it has ${row[real]}`);
    }
  }
}

/** The newest entry of a tag's history says what the tag is. */
function checkHistory(
  database: DatabaseSync,
  tags: readonly { repository_id: number; name: string; digest: string }[],
  problems: string[],
): void {
  const last = new Map<string, string | null>();
  const history = database.prepare('SELECT * FROM tag_history ORDER BY id').all() as {
    repository_id: number;
    name: string;
    digest: string | null;
    previous_digest: string | null;
  }[];
  for (const change of history) {
    const key = `${change.repository_id} ${change.name}`;
    if ((last.get(key) ?? null) !== change.previous_digest) problems.push(`the history of tag ${change.name} has a gap`);
    last.set(key, change.digest);
  }
  for (const tag of tags) {
    const key = `${tag.repository_id} ${tag.name}`;
    if (last.get(key) !== tag.digest) problems.push(`tag ${tag.name} is ${tag.digest}, its history says ${last.get(key)}`);
    last.delete(key);
  }
  for (const [key, digest] of last) if (digest !== null) problems.push(`tag ${key} is gone, its history says ${digest}`);
}

/** What collection goes by is true: what is needed is marked so, nothing else is, and whatever has a link is known to be stored. */
function checkCollection(database: DatabaseSync, problems: string[]): void {
  const links = database
    .prepare(
      `SELECT link.repository_id AS repository, link.digest, link.unneeded_since IS NULL AS kept, stored.state, stored.size = link.size AS fits,
       EXISTS (SELECT 1 FROM manifest_reference AS need WHERE need.repository_id = link.repository_id AND need.digest = link.digest
               AND need.kind = 'blob')
         OR EXISTS (SELECT 1 FROM trash_reference AS kept WHERE kept.repository_id = link.repository_id AND kept.digest = link.digest
                    AND kept.kind = 'blob') AS needed
       FROM repository_blob AS link LEFT JOIN stored_blob AS stored ON stored.digest = link.digest`,
    )
    .all() as { repository: number; digest: string; kept: number; needed: number; state: string | null; fits: number | null }[];
  for (const { repository, digest, kept, needed, state, fits } of links) {
    if (kept !== needed) problems.push(`${digest} is ${needed ? '' : 'not '}needed in repository ${repository}, its link says otherwise`);
    if (state !== 'live' || fits !== 1) problems.push(`${digest} is in repository ${repository}, its bytes are ${state ?? 'unknown'}`);
  }
}

/** Every membership has its file, and every file at a blob's path, member or not, is whole and what its name says. */
async function checkBlobs(database: DatabaseSync, storage: string, problems: string[]): Promise<number> {
  const root = join(storage, 'docker/registry/v2/blobs');
  const found = new Map<string, number>();
  const files = existsSync(root) ? readdirSync(root, { recursive: true, withFileTypes: true }) : [];
  for (const entry of files) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const [algorithm = '', prefix, hex = '', name, ...rest] = relative(root, path).split('/');
    if (name !== 'data' || rest.length > 0 || hex.length !== HEX_LENGTH[algorithm] || !hex.startsWith(prefix ?? '-')) {
      problems.push(`${relative(storage, path)} is no blob`);
      continue;
    }
    const hash = createHash(algorithm);
    await pipeline(createReadStream(path), hash);
    const digest = `${algorithm}:${hash.digest('hex')}`;
    if (digest !== `${algorithm}:${hex}`)
      problems.push(`the file of ${algorithm}:${hex} holds other bytes, ${statSync(path).size} of them`);
    found.set(`${algorithm}:${hex}`, statSync(path).size);
  }
  const members = database.prepare('SELECT digest, size FROM repository_blob').all() as { digest: string; size: number }[];
  for (const { digest, size } of members) {
    const length = found.get(digest);
    if (length !== size)
      problems.push(`blob ${digest} should have a file of ${size} bytes, ${length === undefined ? 'none' : length} found`);
  }
  return found.size;
}

/** A 2xx is a promise (invariant 1). */
function checkAcknowledged(database: DatabaseSync, { blobs = [], manifests = [], tags = [] }: Acknowledged, problems: string[]): void {
  const blob = database.prepare(
    'SELECT b.size FROM repository_blob b JOIN repository r ON r.id = b.repository_id WHERE r.name = ? AND b.digest = ?',
  );
  const manifest = database.prepare(
    'SELECT c.bytes FROM manifest m JOIN repository r ON r.id = m.repository_id JOIN manifest_content c ON c.manifest_id = m.id WHERE r.name = ? AND m.digest = ?',
  );
  const target = database.prepare('SELECT t.digest FROM tag t JOIN repository r ON r.id = t.repository_id WHERE r.name = ? AND t.name = ?');
  for (const { name, digest, size } of blobs) {
    if (blob.get(name, digest)?.size !== size) problems.push(`acknowledged blob ${digest} is not in ${name}`);
  }
  for (const { name, digest, bytes } of manifests) {
    const stored = manifest.get(name, digest)?.bytes;
    if (!(stored instanceof Uint8Array && Buffer.from(stored).equals(bytes)))
      problems.push(`acknowledged manifest ${digest} is not in ${name}`);
  }
  for (const { name, tag, digest } of tags) {
    const found = target.get(name, tag)?.digest;
    if (found !== digest) problems.push(`acknowledged tag ${name}:${tag} is ${found}, not ${digest}`);
  }
}

function hashOf(like: string, bytes: Uint8Array): string {
  const algorithm = like.split(':')[0] ?? '';
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
}

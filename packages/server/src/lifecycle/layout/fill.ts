import { setImmediate as turn } from 'node:timers/promises';
import { findRepository } from '../../catalog/index.ts';
import { queriesOf, type Session } from '../../platform/index.ts';
import { type LayoutParts, writeManifestFiles, writeTagFiles } from './files.ts';

interface Tables {
  repository: { id: number; name: string; deleted_at: number | null };
  manifest: { id: number; repository_id: number; digest: string };
  tag: { repository_id: number; name: string };
}

const query = queriesOf<Tables>('layout');

const repositoriesAfter = query<{ after: string; limit: number }>()('repositoriesAfter', (db, p) =>
  db
    .selectFrom('repository')
    .select(['id', 'name'])
    .where('name', '>', p('after'))
    .where('deleted_at', 'is', null)
    .orderBy('name')
    .limit(p('limit')),
);
const manifestsAfter = query<{ repositoryId: number; after: number; limit: number }>()('manifestsAfter', (db, p) =>
  db
    .selectFrom('manifest')
    .select(['id', 'digest'])
    .where('repository_id', '=', p('repositoryId'))
    .where('id', '>', p('after'))
    .orderBy('id')
    .limit(p('limit')),
);
const tagsAfter = query<{ repositoryId: number; after: string; limit: number }>()('tagsAfter', (db, p) =>
  db
    .selectFrom('tag')
    .select('name')
    .where('repository_id', '=', p('repositoryId'))
    .where('name', '>', p('after'))
    .orderBy('name')
    .limit(p('limit')),
);

const PAGE = 200;

async function* pages<Row, Key>(first: Key, next: (after: Key) => Row[] | Promise<Row[]>, keyOf: (row: Row) => Key): AsyncIterable<Row> {
  for (let after = first; ; ) {
    const rows = await next(after);
    for (const row of rows) yield row;
    const last = rows.at(-1);
    if (last === undefined) return;
    after = keyOf(last);
  }
}

/** Names of all repositories, in order. */
function repositories(session: Session, after: string) {
  return pages(
    after,
    (last) => session.all(repositoriesAfter, { after: last, limit: PAGE }),
    (row) => row.name,
  );
}

export interface FillOptions {
  /** The last repository that is done. */
  readonly after?: string;
  readonly signal?: AbortSignal;
  onRepository?(name: string, files: { manifests: number; tags: number }): Promise<void> | void;
}

/** Writes the files of one repository, where they are missing or say something else. Gives how much it looked at. */
async function fillOne(
  parts: LayoutParts,
  { id: repositoryId, name }: { readonly id: number; readonly name: string },
  signal?: AbortSignal,
): Promise<{ manifests: number; tags: number }> {
  const { database } = parts;
  let [manifests, tags] = [0, 0];
  const found = pages(
    0,
    (last) => database.all(manifestsAfter, { repositoryId, after: last, limit: PAGE }),
    (row) => row.id,
  );
  for await (const { digest } of found) {
    signal?.throwIfAborted();
    await writeManifestFiles(parts, name, digest);
    manifests++;
    await turn(); // a server that does this has others to serve
  }
  const names = pages(
    '',
    (last) => database.all(tagsAfter, { repositoryId, after: last, limit: PAGE }),
    (row) => row.name,
  );
  for await (const { name: tag } of names) {
    signal?.throwIfAborted();
    await writeTagFiles(parts, name, tag);
    tags++;
    await turn();
  }
  return { manifests, tags };
}

/** Writes the files of a repository that came back from the trash, whole. */
export async function fillRepository(parts: LayoutParts, name: string): Promise<void> {
  const repository = await findRepository(parts.database, name);
  if (repository) await fillOne(parts, repository);
}

/**
 * Writes the files of all that the catalogue has, where they are missing or say something else. Removes nothing: what lies
 * there besides may be what could not be adopted. Gives how much it looked at.
 */
export async function fillLayout(
  parts: LayoutParts,
  { after = '', signal, onRepository }: FillOptions = {},
): Promise<{ manifests: number; tags: number }> {
  const total = { manifests: 0, tags: 0 };
  for await (const repository of repositories(parts.database, after)) {
    const { manifests, tags } = await fillOne(parts, repository, signal);
    total.manifests += manifests;
    total.tags += tags;
    await onRepository?.(repository.name, { ...total });
  }
  return total;
}

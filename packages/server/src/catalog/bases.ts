import { queriesOf, type Session } from '../platform/index.ts';
import { repositoriesWithBlob } from './blobs.ts';
import { findManifest, manifestBytes } from './manifests.ts';
import type { CatalogTables } from './schema.ts';

const query = queriesOf<CatalogTables>('catalog');

const manifestsWith = query<{ repositoryId: number; digest: string; limit: number }>()('manifestsWithLayer', (db, p) =>
  db
    .selectFrom('manifest_reference')
    .select('manifest_id as id')
    .where('repository_id', '=', p('repositoryId'))
    .where('digest', '=', p('digest'))
    .where('kind', '=', 'blob')
    .orderBy('manifest_id')
    .limit(p('limit')),
);

/** What is looked at for one answer; where that does not do, the answer is the careful one. */
const REPOSITORIES = 500;
const MANIFESTS = 500;
const CHILDREN = 50;

interface Parsed {
  readonly layers: readonly string[];
  readonly children: readonly string[];
}

async function parsed(session: Session, id: number): Promise<Parsed> {
  const bytes = await manifestBytes(session, id);
  const { layers, manifests } = JSON.parse(bytes ? Buffer.from(bytes).toString() : '{}') as Record<
    string,
    { digest: string }[] | undefined
  >;
  const digests = (list: { digest: string }[] | undefined) => (Array.isArray(list) ? list.map(({ digest }) => digest) : []);
  return { layers: digests(layers), children: digests(manifests) };
}

/**
 * Whether images of any repository are built on one: their layers begin with all of its layers and go on. An index is a base
 * where one of its children is.
 */
export async function isBaseOfOthers(session: Session, repositoryId: number, digest: string): Promise<boolean> {
  const manifest = await findManifest(session, repositoryId, digest);
  if (!manifest) return false;
  const { layers, children } = await parsed(session, manifest.id);
  if (children.length > CHILDREN) return true;
  for (const child of children) if (await isBaseOfOthers(session, repositoryId, child)) return true;
  const top = layers.at(-1);
  if (top === undefined) return false;
  const repositories = await repositoriesWithBlob(session, top, 0, REPOSITORIES);
  if (repositories.length === REPOSITORIES) return true;
  let looked = 0;
  for (const { id } of repositories) {
    for (const other of await session.all(manifestsWith, { repositoryId: id, digest: top, limit: MANIFESTS })) {
      if (++looked >= MANIFESTS) return true;
      const above = (await parsed(session, other.id)).layers;
      if (above.length > layers.length && layers.every((layer, at) => above[at] === layer)) return true;
    }
  }
  return false;
}

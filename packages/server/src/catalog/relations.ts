import { queriesOf } from '../platform/index.ts';
import type { CatalogTables } from './schema.ts';

const query = queriesOf<CatalogTables>('catalog');

/** Manifests whose subject a digest is, in one repository. */
export const manifestsAbout = query<{ repositoryId: number; digest: string; limit: number }>()('manifestsAbout', (db, p) =>
  db
    .selectFrom('manifest')
    .select('digest')
    .where('repository_id', '=', p('repositoryId'))
    .where('subject', '=', p('digest'))
    .orderBy('digest')
    .limit(p('limit')),
);
/** What a manifest needs, of one kind. */
export const partsOf = query<{ id: number; kind: 'blob' | 'manifest'; limit: number }>()('partsOf', (db, p) =>
  db
    .selectFrom('manifest_reference')
    .select('digest')
    .where('manifest_id', '=', p('id'))
    .where('kind', '=', p('kind'))
    .orderBy('digest')
    .limit(p('limit')),
);

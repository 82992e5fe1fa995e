import { append, type NewEvent, queriesOf, type Session } from '../platform/index.ts';
import type { CatalogTables } from './schema.ts';

/** What this room announces, in the transaction of the change itself. Blobs announce only damage: of all else manifests say what counts. */
export type CatalogEvent =
  | {
      readonly topic: 'manifest.pushed';
      readonly payload: { digest: string; mediaType: string; size: number; tags: readonly string[]; by: string };
    }
  | {
      readonly topic: 'manifest.deleted';
      /** `tags` went with it. */
      readonly payload: { digest: string; mediaType: string; size: number; tags: readonly string[]; by: string };
    }
  | { readonly topic: 'manifest.restored'; readonly payload: { digest: string; mediaType: string; size: number; by: string } }
  /** Together what one client's account pulled within some seconds by one tag, or by no tag. */
  | { readonly topic: 'manifest.pulled'; readonly payload: { digest: string; tags: readonly string[]; pulls: number; by: string } }
  | { readonly topic: 'tag.moved'; readonly payload: { tag: string; digest: string; previous: string | null; by: string } }
  | { readonly topic: 'tag.deleted'; readonly payload: { tag: string; previous: string; by: string } }
  | { readonly topic: 'blob.damaged'; readonly payload: { digest: string; problem: string; by: string } }
  | { readonly topic: 'blob.repaired'; readonly payload: { digest: string; source: string; by: string } }
  | { readonly topic: 'repository.created' | 'repository.deleted' | 'repository.restored'; readonly payload: { by: string } };

const query = queriesOf<CatalogTables>('catalog');
const repositoryName = query<{ id: number }>()('repositoryName', (db, p) =>
  db.selectFrom('repository').select('name').where('id', '=', p('id')),
);

export async function announce(tx: Session, repositoryId: number, event: CatalogEvent, now: number): Promise<void> {
  const repository = await tx.first(repositoryName, { id: repositoryId });
  if (!repository) throw new Error('an event tells of a repository that does not exist');
  const told: NewEvent = { ...event, repository: repository.name };
  await append(tx, told, now);
}

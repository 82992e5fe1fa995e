import { sql } from 'kysely';
import { queriesOf, type Session } from '../platform/index.ts';
import type { CatalogTables } from './schema.ts';

const query = queriesOf<CatalogTables>('catalog');

type Blob = { readonly digest: string; readonly size: number };

/** How long a push has a blob to itself that it is about to commit; milliseconds. */
const CLAIM_MS = 3_600_000;

/** How long after its removal a blob is remembered as gone. */
export const GONE_MS = 3_600_000;
/**
 * How long storing a blob may take until it is linked, by the clock of the process: half of the time for which removals are
 * remembered, so that a push never takes a blob that was removed under its hands for one that was never there.
 */
export const STORE_LIMIT_MS = GONE_MS / 2;

const keepRow = query<Blob & { now: number; generation: number }>()('keepStored', (db, p) =>
  db
    .insertInto('stored_blob')
    .values({ digest: p('digest'), size: p('size'), state: 'live', review_at: null, stored_at: p('now') })
    .onConflict((conflict) =>
      conflict
        .column('digest')
        .doUpdateSet({ review_at: null })
        .where('stored_blob.state', '=', 'live')
        .where((eb) =>
          eb.or([eb('stored_blob.generation', '=', p('generation')), eb(sql<number>`cast(${p('generation')} as integer)`, '<', 0)]),
        ),
    ),
);
const claimRow = query<Blob & { now: number; until: number }>()('claimStored', (db, p) =>
  db
    .insertInto('stored_blob')
    .values({ digest: p('digest'), size: p('size'), state: 'live', review_at: p('until'), stored_at: p('now') })
    .onConflict((conflict) =>
      conflict
        .column('digest')
        .doUpdateSet((eb) => ({
          state: 'live',
          review_at: eb
            .case()
            .when(eb.and([eb('stored_blob.state', '=', 'live'), eb('stored_blob.review_at', '>', eb.ref('excluded.review_at'))]))
            .then(eb.ref('stored_blob.review_at'))
            .else(eb.ref('excluded.review_at'))
            .end(),
        }))
        .where((eb) => eb.or([eb('stored_blob.state', '!=', 'deleting'), eb('stored_blob.review_at', '<=', p('now'))])),
    )
    .returning('generation'),
);
const storedRow = query<{ digest: string }>()('storedBlob', (db, p) =>
  db.selectFrom('stored_blob').select(['state', 'review_at as reviewAt', 'size']).where('digest', '=', p('digest')),
);
const reviewWithoutLinks = query<{ digest: string; now: number }>()('reviewWithoutLinks', (db, p) =>
  db
    .updateTable('stored_blob')
    .set({ review_at: p('now') })
    .where('digest', '=', p('digest'))
    .where('state', '=', 'live')
    .where('review_at', 'is', null) // else a push has claimed it
    .where(({ not, exists, selectFrom }) =>
      not(exists(selectFrom('repository_blob').select('repository_blob.digest').where('repository_blob.digest', '=', p('digest')))),
    ),
);

export interface StoredRow {
  readonly state: 'live' | 'deleting' | 'gone';
  readonly reviewAt: number | null;
  readonly size: number;
}

/** What is known of the bytes of a blob; undefined where none were ever stored or all that is long past. */
export async function findStored(session: Session, digest: string): Promise<StoredRow | undefined> {
  return await session.first(storedRow, { digest });
}

/** Generation of what nobody has ever deleted, and what stands for any. */
export const FIRST_GENERATION = 0;
const ANY_GENERATION = -1;

/**
 * Notes that bytes which were stored are there to stay, in the transaction that links them. `generation` is that of before they
 * were stored. False, without a change, where a deletion of that digest was begun since and may have hit them: then they must
 * be stored again after `claimBlob`.
 */
export async function keepStored(tx: Session, blob: Blob, now: number, generation = ANY_GENERATION): Promise<boolean> {
  return (await tx.run(keepRow, { digest: blob.digest, size: blob.size, now, generation })) === 1;
}

/** Holds collection off a blob that a push is about to store, and gives its generation; undefined while its deletion is under way. */
export async function claimBlob(tx: Session, blob: Blob, now: number, until = now + CLAIM_MS): Promise<number | undefined> {
  return (await tx.first(claimRow, { digest: blob.digest, size: blob.size, now, until }))?.generation;
}

/** After a link was taken away: with the last one gone the bytes may go too. */
export async function reviewStored(tx: Session, digest: string, now: number): Promise<void> {
  await tx.run(reviewWithoutLinks, { digest, now });
}

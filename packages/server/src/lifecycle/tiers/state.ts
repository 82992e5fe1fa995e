import { queriesOf, type Session } from '../../platform/index.ts';
import type { HeatTables } from './schema.ts';

const query = queriesOf<HeatTables>('tiers');

/** How many blobs, and bytes of their content. */
export interface Amount {
  readonly blobs: number;
  readonly bytes: number;
}

/** What lay where when it was last counted. */
export interface TierState {
  readonly countedAt: number;
  readonly hot: Amount;
  /** Of the hot ones, what is too small to be moved. */
  readonly small: Amount;
  readonly cold: Amount;
  readonly archived: Amount;
}

const NAMES = ['hot', 'small', 'cold', 'archived'] as const;

const selectState = query()('tierState', (db) =>
  db
    .selectFrom('tier_state')
    .select(['counted_at', 'hot_blobs', 'hot_bytes', 'small_blobs', 'small_bytes'])
    .select(['cold_blobs', 'cold_bytes', 'archived_blobs', 'archived_bytes'])
    .where('id', '=', 1),
);
const upsertState = query<Omit<HeatTables['tier_state'], 'id'>>()('saveTierState', (db, p) => {
  const names = ['counted_at', ...NAMES.flatMap((name) => [`${name}_blobs`, `${name}_bytes`] as const)] as const;
  const values = Object.fromEntries(names.map((name) => [name, p(name)])) as { [K in (typeof names)[number]]: ReturnType<typeof p<K>> };
  return db
    .insertInto('tier_state')
    .values({ id: 1, ...values })
    .onConflict((conflict) =>
      conflict.column('id').doUpdateSet((eb) => Object.fromEntries(names.map((name) => [name, eb.ref(`excluded.${name}`)]))),
    );
});

export async function findTierState(session: Session): Promise<TierState | undefined> {
  const row = await session.first(selectState, {});
  return (
    row && {
      countedAt: row.counted_at,
      hot: { blobs: row.hot_blobs, bytes: row.hot_bytes },
      small: { blobs: row.small_blobs, bytes: row.small_bytes },
      cold: { blobs: row.cold_blobs, bytes: row.cold_bytes },
      archived: { blobs: row.archived_blobs, bytes: row.archived_bytes },
    }
  );
}

export async function saveTierState(tx: Session, { countedAt, hot, small, cold, archived }: TierState): Promise<void> {
  await tx.run(upsertState, {
    counted_at: countedAt,
    ...{ hot_blobs: hot.blobs, hot_bytes: hot.bytes, small_blobs: small.blobs, small_bytes: small.bytes },
    ...{ cold_blobs: cold.blobs, cold_bytes: cold.bytes, archived_blobs: archived.blobs, archived_bytes: archived.bytes },
  });
}

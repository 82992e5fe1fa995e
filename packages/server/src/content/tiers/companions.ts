import { type Database, queriesOf } from '../../platform/index.ts';
import type { Companions } from '../blob-store.ts';
import { forgetCopies } from '../encryption/rotation-rows.ts';
import type { ContentTables } from '../schema.ts';

const query = queriesOf<ContentTables>('content');
const findMark = query<{ name: string }>()('tierMark', (db, p) =>
  db.selectFrom('encryption_mark').select('at').where('name', '=', p('name')),
);
const insertMark = query<{ name: string; now: number }>()('setTierMark', (db, p) =>
  db
    .insertInto('encryption_mark')
    .values({ name: p('name'), at: p('now') })
    .onConflict((conflict) => conflict.column('name').doNothing()),
);

/** Companions beside both tiers: with the hot disk lost, those of the cold tier still open what lies there. */
export function bothCompanions(hot: Companions, cold: Companions): Companions {
  return {
    read: async (name) => (await hot.read(name)) ?? (await cold.read(name)),
    async write(name, bytes) {
      await hot.write(name, bytes);
      await cold.write(name, bytes);
    },
    async remove(name) {
      await hot.remove(name);
      await cold.remove(name);
    },
  };
}

/** Has the copies of keys that were written beside one tier written beside both, once for each cold tier. */
export async function keepCompanionsTwice(database: Database, tier: string, now: number): Promise<void> {
  const name = `cold-tier:${tier}`;
  if (await database.first(findMark, { name })) return;
  await database.write(async (tx) => {
    await forgetCopies(tx);
    await tx.run(insertMark, { name, now });
  });
}

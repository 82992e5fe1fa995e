import { type Clock, type JobDefinition, queriesOf } from '../../platform/index.ts';
import type { LayoutParts } from './files.ts';
import { fillLayout } from './fill.ts';
import type { LayoutTables } from './schema.ts';

const query = queriesOf<LayoutTables>('layout');

const fillState = query()('fillState', (db) => db.selectFrom('layout_fill').select(['cursor', 'done_at as doneAt']).where('id', '=', 1));
const saveFill = query<{ cursor: string; doneAt: number | null }>()('saveFill', (db, p) =>
  db
    .insertInto('layout_fill')
    .values({ id: 1, cursor: p('cursor'), done_at: p('doneAt') })
    .onConflict((conflict) =>
      conflict.column('id').doUpdateSet((eb) => ({ cursor: eb.ref('excluded.cursor'), done_at: eb.ref('excluded.done_at') })),
    ),
);

const EVERY_MS = 5000;

/** Writes the files of what was there before they were kept, once, beside the events of what comes. */
export function layoutJob(parts: LayoutParts, clock: Clock): JobDefinition {
  const { database } = parts;
  return {
    kind: 'layout.fill',
    schedule: { everyMs: EVERY_MS },
    ready: async () => (await database.first(fillState, {}))?.doneAt == null,
    async run(_, { signal, hold, progress }) {
      const save = (cursor: string, doneAt: number | null) =>
        database.write(
          async (tx) => {
            await hold(tx);
            await tx.run(saveFill, { cursor, doneAt });
          },
          { durable: doneAt !== null },
        );
      let last = (await database.first(fillState, {}))?.cursor ?? '';
      await fillLayout(parts, {
        after: last,
        signal,
        async onRepository(name, files) {
          last = name;
          await save(name, null);
          await progress({ repository: name, ...files });
        },
      });
      await save(last, clock.now());
    },
  };
}

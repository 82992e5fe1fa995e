import { queriesOf, type Session } from '../../platform/index.ts';
import type { ScrubTables } from './schema.ts';

const query = queriesOf<ScrubTables>('lifecycle');

const selectPass = query()('scrubPass', (db) =>
  db
    .selectFrom('scrub_pass')
    .select([
      'number',
      'phase',
      'position',
      'blobs',
      'bytes',
      'manifests',
      'damaged',
      'orphans',
      'started_at as startedAt',
      'updated_at as updatedAt',
      'finished_at as finishedAt',
      'scrubbed_at as scrubbedAt',
    ])
    .where('id', '=', 1),
);
const upsertPass = query<{
  number: number;
  phase: Pass['phase'];
  position: string;
  blobs: number;
  bytes: number;
  manifests: number;
  damaged: number;
  orphans: number;
  startedAt: number;
  updatedAt: number;
  finishedAt: number | null;
  scrubbedAt: number | null;
}>()('saveScrubPass', (db, p) => {
  const values = {
    number: p('number'),
    phase: p('phase'),
    position: p('position'),
    blobs: p('blobs'),
    bytes: p('bytes'),
    manifests: p('manifests'),
    damaged: p('damaged'),
    orphans: p('orphans'),
    started_at: p('startedAt'),
    updated_at: p('updatedAt'),
    finished_at: p('finishedAt'),
    scrubbed_at: p('scrubbedAt'),
  };
  const names = Object.keys(values) as (keyof typeof values)[];
  return db
    .insertInto('scrub_pass')
    .values({ id: 1, ...values })
    .onConflict((conflict) =>
      conflict.column('id').doUpdateSet((eb) => Object.fromEntries(names.map((name) => [name, eb.ref(`excluded.${name}`)]))),
    );
});

/** How far a reading of everything has come, and what it found. */
export interface Pass {
  /** Rises by one from pass to pass. */
  readonly number: number;
  readonly phase: 'blobs' | 'manifests' | 'trash' | 'store' | 'done';
  readonly position: string;
  readonly blobs: number;
  readonly bytes: number;
  readonly manifests: number;
  readonly damaged: number;
  readonly orphans: number;
  readonly startedAt: number;
  readonly updatedAt: number;
  readonly finishedAt: number | null;
  /** When a pass was last through with everything. */
  readonly scrubbedAt: number | null;
}

export async function findPass(session: Session): Promise<Pass | undefined> {
  return await session.first(selectPass, {});
}

export async function savePass(tx: Session, pass: Pass): Promise<void> {
  await tx.run(upsertPass, { ...pass });
}

/** A pass that has read nothing yet. */
export function newPass(last: Pass | undefined, now: number): Pass {
  const counts = { blobs: 0, bytes: 0, manifests: 0, damaged: 0, orphans: 0 };
  return {
    ...{ number: (last?.number ?? 0) + 1, phase: 'blobs', position: '', ...counts },
    ...{ startedAt: now, updatedAt: now, finishedAt: null, scrubbedAt: last?.scrubbedAt ?? null },
  };
}

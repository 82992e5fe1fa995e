import { sql } from 'kysely';
import { queriesOf, type Session } from '../../platform/index.ts';
import { type HeatClock, newHeatClock, withHalfLife } from './heat.ts';
import type { HeatTables } from './schema.ts';

interface Tables extends HeatTables {
  stored_blob: { digest: string; size: number; state: string; stored_at: number };
  manifest: { id: number; repository_id: number; digest: string };
  manifest_reference: { manifest_id: number; digest: string; kind: string };
}

const query = queriesOf<Tables>('tiers');

/** Changes of heat follow each other over all instances. */
export const HEAT_SCOPE = ['heat'];

const selectClock = query()('heatClock', (db) =>
  db.selectFrom('heat_clock').select(['half_life_ms as halfLifeMs', 'at', 'value']).where('id', '=', 1),
);
const saveClock = query<{ halfLifeMs: number; at: number; value: number }>()('saveHeatClock', (db, p) =>
  db
    .insertInto('heat_clock')
    .values({ id: 1, half_life_ms: p('halfLifeMs'), at: p('at'), value: p('value') })
    .onConflict((conflict) =>
      conflict.column('id').doUpdateSet((eb) => ({
        half_life_ms: eb.ref('excluded.half_life_ms'),
        at: eb.ref('excluded.at'),
        value: eb.ref('excluded.value'),
      })),
    ),
);

export async function findHeatClock(session: Session): Promise<HeatClock | undefined> {
  return await session.first(selectClock, {});
}

/** The clock of all scores; goes on with this half-life from now. */
export async function setHalfLife(tx: Session, halfLifeMs: number, now: number): Promise<HeatClock> {
  const before = await findHeatClock(tx);
  if (before?.halfLifeMs === halfLifeMs) return before;
  const after = before ? withHalfLife(before, halfLifeMs, now) : newHeatClock(halfLifeMs, now);
  await tx.run(saveClock, after);
  return after;
}

const blobHeat = query<{ digest: string }>()('blobHeat', (db, p) =>
  db.selectFrom('blob_heat').select(['id', 'score', 'read_score as readScore']).where('digest', '=', p('digest')),
);
const saveReads = query<{ digest: string; score: number; readScore: number; at: number }>()('saveBlobReads', (db, p) =>
  db
    .insertInto('blob_heat')
    .values({ digest: p('digest'), score: p('score'), read_score: p('readScore'), read_at: p('at') })
    .onConflict((conflict) =>
      conflict.column('digest').doUpdateSet((eb) => ({
        score: eb.ref('excluded.score'),
        read_score: eb.ref('excluded.read_score'),
        read_at: eb.ref('excluded.read_at'),
      })),
    )
    .returning('id'),
);
const addAccess = query<{ day: number; id: number; reads: number; bytes: number }>()('addBlobAccess', (db, p) =>
  db
    .insertInto('blob_access')
    .values({ day: p('day'), blob_id: p('id'), reads: p('reads'), bytes: p('bytes'), pulls: 0 })
    .onConflict((conflict) =>
      conflict.columns(['day', 'blob_id']).doUpdateSet((eb) => ({
        reads: eb('blob_access.reads', '+', eb.ref('excluded.reads')),
        bytes: eb('blob_access.bytes', '+', eb.ref('excluded.bytes')),
      })),
    ),
);

export interface BlobHeat {
  readonly id: number;
  readonly score: number;
  readonly readScore: number | null;
}

export async function findBlobHeat(session: Session, digest: string): Promise<BlobHeat | undefined> {
  return await session.first(blobHeat, { digest });
}

/** Writes what is known of a blob's own reads; gives its number. */
export async function saveBlobReads(tx: Session, heat: { digest: string; score: number; readScore: number; at: number }): Promise<number> {
  const row = await tx.first(saveReads, heat);
  if (!row) throw new Error('a row of heat has no number');
  return row.id;
}

export async function addBlobAccess(tx: Session, access: { day: number; id: number; reads: number; bytes: number }): Promise<void> {
  await tx.run(addAccess, access);
}

const imageHeat = query<{ repositoryId: number; digest: string }>()('imageHeat', (db, p) =>
  db
    .selectFrom('image_heat')
    .select(['score', 'pulled_at as pulledAt', 'day', 'day_pulls as dayPulls'])
    .where('repository_id', '=', p('repositoryId'))
    .where('digest', '=', p('digest')),
);
const saveImage = query<{ repositoryId: number; digest: string; score: number; at: number; day: number; pulls: number }>()(
  'saveImageHeat',
  (db, p) =>
    db
      .insertInto('image_heat')
      .values({
        repository_id: p('repositoryId'),
        digest: p('digest'),
        score: p('score'),
        pulled_at: p('at'),
        day: p('day'),
        day_pulls: p('pulls'),
      })
      .onConflict((conflict) =>
        conflict.columns(['repository_id', 'digest']).doUpdateSet((eb) => ({
          score: eb.ref('excluded.score'),
          pulled_at: eb.ref('excluded.pulled_at'),
          day: eb.ref('excluded.day'),
          day_pulls: eb.ref('excluded.day_pulls'),
        })),
      ),
);
/** Blobs of an image that are large enough are at least as hot as the image. */
const warmBlobs = query<{ manifestId: number; score: number; minBytes: number }>()('warmBlobs', (db, p) =>
  db
    .insertInto('blob_heat')
    .columns(['digest', 'score'])
    .expression((eb) =>
      eb
        .selectFrom('manifest_reference as part')
        .innerJoin('stored_blob as stored', 'stored.digest', 'part.digest')
        .select(['part.digest', sql<number>`cast(${p('score')} as double precision)`.as('score')])
        .where('part.manifest_id', '=', p('manifestId'))
        .where('part.kind', '=', 'blob')
        .where('stored.size', '>=', p('minBytes'))
        .orderBy('part.digest'),
    )
    .onConflict((conflict) =>
      conflict
        .column('digest')
        .doUpdateSet((eb) => ({ score: eb.ref('excluded.score') }))
        .whereRef('blob_heat.score', '<', sql.ref('excluded.score')),
    ),
);
/** Of a digest the first four hex digits: spread evenly, so that those below a bound are a sample. */
const sampled = (column: string, bound: ReturnType<typeof sql>) => sql<boolean>`substr(${sql.ref(column)}, 8, 4) < ${bound}`;
const touchBlobs = query<{ manifestId: number; day: number; pulls: number; minBytes: number; bound: string }>()('touchBlobs', (db, p) =>
  db
    .insertInto('blob_access')
    .columns(['day', 'blob_id', 'reads', 'bytes', 'pulls'])
    .expression((eb) =>
      eb
        .selectFrom('manifest_reference as part')
        .innerJoin('blob_heat as heat', 'heat.digest', 'part.digest')
        .innerJoin('stored_blob as stored', 'stored.digest', 'part.digest')
        .select([
          sql<number>`cast(${p('day')} as bigint)`.as('day'),
          'heat.id',
          sql<number>`0`.as('reads'),
          sql<number>`0`.as('bytes'),
          sql<number>`cast(${p('pulls')} as bigint)`.as('pulls'),
        ])
        .where('part.manifest_id', '=', p('manifestId'))
        .where('part.kind', '=', 'blob')
        .where('stored.size', '>=', p('minBytes'))
        .where(sampled('part.digest', p('bound')))
        .orderBy('part.digest'),
    )
    .onConflict((conflict) =>
      conflict
        .columns(['day', 'blob_id'])
        .doUpdateSet((eb) => ({ pulls: eb.ref('excluded.pulls') }))
        .whereRef('blob_access.pulls', '<', sql.ref('excluded.pulls')),
    ),
);

export interface ImageHeat {
  readonly score: number;
  readonly pulledAt: number;
  readonly day: number;
  readonly dayPulls: number;
}

export async function findImageHeat(session: Session, repositoryId: number, digest: string): Promise<ImageHeat | undefined> {
  return await session.first(imageHeat, { repositoryId, digest });
}

export async function saveImageHeat(
  tx: Session,
  heat: { repositoryId: number; digest: string; score: number; at: number; day: number; pulls: number },
): Promise<void> {
  await tx.run(saveImage, heat);
}

/** What an image that was pulled says of its blobs: they are as hot as it, and so often were pulled with it that day. */
export async function warmBlobsOf(
  tx: Session,
  image: { manifestId: number; score: number; minBytes: number; day: number; pulls: number; bound: string },
): Promise<void> {
  const { score, ...touch } = image;
  await tx.run(warmBlobs, { manifestId: image.manifestId, score, minBytes: image.minBytes });
  await tx.run(touchBlobs, touch);
}

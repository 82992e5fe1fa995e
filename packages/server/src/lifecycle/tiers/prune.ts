import { setImmediate as turn } from 'node:timers/promises';
import { type Database, queriesOf, type Session } from '../../platform/index.ts';
import { dayOf, dropOldAccess, RECORD_DAYS } from './access-record.ts';
import { HEAT_SCOPE } from './heat-store.ts';
import type { HeatTables } from './schema.ts';

interface Tables extends HeatTables {
  stored_blob: { digest: string };
  manifest: { id: number; repository_id: number; digest: string };
  repository: { id: number };
  project: { id: number };
}

const query = queriesOf<Tables>('tiers');

const blobsAfter = query<{ after: number; limit: number }>()('heatOfBlobsAfter', (db, p) =>
  db
    .selectFrom('blob_heat as heat')
    .leftJoin('stored_blob as stored', 'stored.digest', 'heat.digest')
    .select(['heat.id', 'stored.digest as stored'])
    .where('heat.id', '>', p('after'))
    .orderBy('heat.id')
    .limit(p('limit')),
);
const dropBlob = query<{ id: number }>()('dropBlobHeat', (db, p) => db.deleteFrom('blob_heat').where('id', '=', p('id')));
const imagesAfter = query<{ repositoryId: number; digest: string; limit: number }>()('heatOfImagesAfter', (db, p) =>
  db
    .selectFrom('image_heat as heat')
    .leftJoin('manifest as image', (join) =>
      join.onRef('image.repository_id', '=', 'heat.repository_id').onRef('image.digest', '=', 'heat.digest'),
    )
    .select(['heat.repository_id as repositoryId', 'heat.digest', 'image.id'])
    .where((eb) =>
      eb.or([
        eb('heat.repository_id', '>', p('repositoryId')),
        eb.and([eb('heat.repository_id', '=', p('repositoryId')), eb('heat.digest', '>', p('digest'))]),
      ]),
    )
    .where('heat.repository_id', '>=', p('repositoryId'))
    .orderBy('heat.repository_id')
    .orderBy('heat.digest')
    .limit(p('limit')),
);
const dropImage = query<{ repositoryId: number; digest: string }>()('dropImageHeat', (db, p) =>
  db.deleteFrom('image_heat').where('repository_id', '=', p('repositoryId')).where('digest', '=', p('digest')),
);
const dropPins = query()('dropTierPins', (db) =>
  db
    .deleteFrom('tier_pin')
    .where((eb) =>
      eb.or([
        eb.not(eb.exists(eb.selectFrom('project').select('project.id').whereRef('project.id', '=', 'tier_pin.project_id'))),
        eb.and([
          eb('tier_pin.repository_id', '!=', 0),
          eb.not(eb.exists(eb.selectFrom('repository').select('repository.id').whereRef('repository.id', '=', 'tier_pin.repository_id'))),
        ]),
      ]),
    ),
);
const dropRuns = query<{ before: number }>()('dropTierRuns', (db, p) => db.deleteFrom('tier_run').where('started_at', '<', p('before')));

const PAGE = 1000;
const RUN_DAYS = 90;
const DAY_MS = 24 * 3_600_000;

/** Forgets the heat of what is stored no more, reads that are older than the record goes back, and old runs. */
export async function pruneHeat(database: Database, now: number, signal: AbortSignal): Promise<{ dropped: number }> {
  let dropped = 0;
  const drop = async (work: (tx: Session) => Promise<number>): Promise<number> => {
    signal.throwIfAborted();
    const count = await database.write(work, { durable: false, scope: HEAT_SCOPE });
    dropped += count;
    return count;
  };
  for (let after = 0; ; ) {
    const page = await database.all(blobsAfter, { after, limit: PAGE });
    const dead = page.filter(({ stored }) => stored === null);
    if (dead.length > 0) {
      await drop(async (tx) => {
        for (const { id } of dead) await tx.run(dropBlob, { id });
        return dead.length;
      });
    }
    after = page.at(-1)?.id ?? after;
    if (page.length < PAGE) break;
    await turn();
  }
  for (let last = { repositoryId: 0, digest: '' }; ; ) {
    const page = await database.all(imagesAfter, { ...last, limit: PAGE });
    const dead = page.filter(({ id }) => id === null);
    if (dead.length > 0) {
      await drop(async (tx) => {
        for (const { repositoryId, digest } of dead) await tx.run(dropImage, { repositoryId, digest });
        return dead.length;
      });
    }
    const end = page.at(-1);
    if (!end || page.length < PAGE) break;
    last = { repositoryId: end.repositoryId, digest: end.digest };
    await turn();
  }
  while ((await drop((tx) => dropOldAccess(tx, dayOf(now) - RECORD_DAYS, PAGE))) > 0);
  await database.write(
    async (tx) => {
      await tx.run(dropPins, {});
      await tx.run(dropRuns, { before: now - RUN_DAYS * DAY_MS });
    },
    { durable: false, scope: HEAT_SCOPE },
  );
  return { dropped };
}

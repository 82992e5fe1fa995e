import { queriesOf, type Session } from '../../platform/index.ts';
import type { ContentTables } from '../schema.ts';
import type { Segment } from './format.ts';

const query = queriesOf<ContentTables>('content');

export interface UploadRow {
  readonly keyId: string;
  readonly writer: string;
  readonly tailRecord: number;
  readonly tail: Uint8Array | null;
  readonly closedRecords: number | null;
  readonly updatedAt: number;
}

const upload = query<{ id: string }>()('encryptedUpload', (db, p) =>
  db
    .selectFrom('encrypted_upload')
    .select([
      ...(['tail', 'writer', 'key_id as keyId', 'tail_record as tailRecord'] as const),
      ...(['closed_records as closedRecords', 'updated_at as updatedAt'] as const),
    ])
    .where('id', '=', p('id')),
);
const insertRow = query<{ id: string; keyId: string; writer: string; now: number }>()('insertEncryptedUpload', (db, p) =>
  db.insertInto('encrypted_upload').values({
    ...{ id: p('id'), key_id: p('keyId'), writer: p('writer'), updated_at: p('now') },
    ...{ tail_record: 0, tail: null, closed_records: null },
  }),
);
const claimRow = query<{ id: string; from: string; writer: string; closed: number | null; now: number }>()(
  'claimEncryptedUpload',
  (db, p) =>
    db
      .updateTable('encrypted_upload')
      .set({ writer: p('writer'), closed_records: p('closed'), updated_at: p('now') })
      .where('id', '=', p('id'))
      .where('writer', '=', p('from')),
);
const saveRow = query<{ id: string; writer: string; record: number; tail: Uint8Array | null; now: number }>()(
  'saveEncryptedTail',
  (db, p) =>
    db
      .updateTable('encrypted_upload')
      .set({ tail_record: p('record'), tail: p('tail'), updated_at: p('now') })
      .where('id', '=', p('id'))
      .where('writer', '=', p('writer')),
);
const deleteRow = query<{ id: string }>()('deleteEncryptedUpload', (db, p) => db.deleteFrom('encrypted_upload').where('id', '=', p('id')));
const oldRows = query<{ before: number; after: string; limit: number }>()('oldEncryptedUploads', (db, p) =>
  db
    .selectFrom('encrypted_upload')
    .select('id')
    .where('updated_at', '<', p('before'))
    .where('id', '>', p('after'))
    .orderBy('id')
    .limit(p('limit')),
);
const holdRow = query<{ id: string; writer: string; now: number }>()('holdEncryptedUpload', (db, p) =>
  db
    .updateTable('encrypted_upload')
    .set({ updated_at: p('now') })
    .where('id', '=', p('id'))
    .where('writer', '=', p('writer')),
);
const dropTail = query<{ id: string; start: number }>()('dropEncryptedTail', (db, p) =>
  db.updateTable('encrypted_upload').set({ tail: null }).where('id', '=', p('id')).where('tail_record', '>', p('start')),
);
const insertSegment = query<{ id: string; start: number; salt: Uint8Array }>()('insertSegment', (db, p) =>
  db.insertInto('encrypted_segment').values({ upload_id: p('id'), start: p('start'), salt: p('salt') }),
);
const deleteSegments = query<{ id: string; from: number }>()('deleteSegments', (db, p) =>
  db.deleteFrom('encrypted_segment').where('upload_id', '=', p('id')).where('start', '>=', p('from')),
);
const segments = query<{ id: string; before: number }>()('segments', (db, p) =>
  db
    .selectFrom('encrypted_segment')
    .select(['start', 'salt'])
    .where('upload_id', '=', p('id'))
    .where('start', '<', p('before'))
    .orderBy('start'),
);

export async function findUploadRow(session: Session, id: string): Promise<UploadRow | undefined> {
  return await session.first(upload, { id });
}

export async function insertUploadRow(tx: Session, row: { id: string; keyId: string; writer: string; now: number }): Promise<void> {
  await tx.run(insertRow, row);
}

/** Passes the right to write from one writer to another; false where somebody else had it passed on before. */
export async function claimUpload(
  tx: Session,
  claim: { id: string; from: string; writer: string; closed: number | null; now: number },
): Promise<boolean> {
  return (await tx.run(claimRow, claim)) === 1;
}

/** Keeps what comes after the last full record; false where the right to write has passed on. */
export async function saveTail(
  tx: Session,
  tail: { id: string; writer: string; record: number; tail: Uint8Array | null; now: number },
): Promise<boolean> {
  return (await tx.run(saveRow, tail)) === 1;
}

/** Says under which salt records are sealed from `start` on; false where the right to write has passed on. */
export async function beginSegment(
  tx: Session,
  { writer, now, ...segment }: { id: string; writer: string; start: number; salt: Uint8Array; now: number },
): Promise<boolean> {
  if ((await tx.run(holdRow, { id: segment.id, writer, now })) === 0) return false;
  // After the store lost what a rest continues: it must not come back behind the records that are written now.
  await tx.run(dropTail, { id: segment.id, start: segment.start });
  await tx.run(deleteSegments, { id: segment.id, from: segment.start });
  await tx.run(insertSegment, segment);
  return true;
}

/** The segments of the first so many records. */
export async function segmentsOf(session: Session, id: string, records: number): Promise<Segment[]> {
  return await session.all(segments, { id, before: records });
}

export async function deleteUploadRow(tx: Session, id: string): Promise<void> {
  await tx.run(deleteSegments, { id, from: 0 });
  await tx.run(deleteRow, { id });
}

/** Uploads without a change since `before`, by id, after one of them. */
export async function oldUploads(session: Session, before: number, after: string, limit: number): Promise<string[]> {
  return (await session.all(oldRows, { before, after, limit })).map(({ id }) => id);
}

import { createHash } from 'node:crypto';
import canonicalize from 'canonicalize';
import type { Clock } from './clock.ts';
import { type Migration, queriesOf, type Session } from './database/index.ts';

/** Who did something, by which proof of identity. */
export interface AuditActor {
  readonly kind: 'user' | 'robot' | 'anonymous' | 'system' | 'command-line';
  /** null for kinds of which there is one. */
  readonly id: number | null;
  readonly name: string;
  /** What proved the identity, such as `password`, `session`, `token`, `access-key`, and which one; null where nothing did. */
  readonly credential: { readonly kind: string; readonly id: string | null } | null;
}

/** Whom nobody knows. */
export const ANONYMOUS: AuditActor = { kind: 'anonymous', id: null, name: 'anonymous', credential: null };

/** From where. */
export interface AuditOrigin {
  readonly client: string;
  readonly userAgent: string;
  readonly requestId: string;
}

/** To what; fields that do not apply are absent. */
export interface AuditResource {
  readonly type: string;
  readonly project?: string;
  readonly repository?: string;
  readonly name?: string;
  readonly tag?: string;
  readonly digest?: string;
}

export interface AuditEntry {
  readonly actor: AuditActor;
  /** null for what the server does by itself. */
  readonly origin: AuditOrigin | null;
  /** `<resource>.<verb>`, such as `member.create`. */
  readonly action: string;
  readonly resource: AuditResource;
  readonly outcome: 'success' | 'denied' | 'failure';
  /** Why it was denied or failed. */
  readonly reason?: string;
  /** How many equal ones the record stands for; absent: one. */
  readonly count?: number;
  /** The resource before and after, without any secret. */
  readonly before?: unknown;
  readonly after?: unknown;
}

/** Something of the record that changes nothing. */
export type AuditNote = Omit<AuditEntry, 'outcome' | 'count' | 'before' | 'after'>;

/** Where denials and pulls are told for the record. Takes them without delay and never throws: nobody waits for a record of them. */
export interface AuditNotes {
  /** `claimed` is the name under which somebody tried to log in. */
  denied(note: AuditNote & { readonly reason: string }, claimed?: string): void;
  pulled(note: AuditNote): void;
}

export interface AuditTables {
  audit_record: {
    /** Rises by one from record to record; no number is missing. */
    seq: number;
    at: number;
    actor: string;
    action: string;
    outcome: string;
    project: string | null;
    repository: string | null;
    /** The record in canonical JSON (RFC 8785), its number and time among it. */
    body: string;
    /** SHA-256 of the hash before and the body, in hex. */
    hash: string;
  };
  /** One row: the end of the chain. */
  audit_head: { id: number; seq: number; hash: string };
}

export const auditMigrations: readonly Migration[] = [
  {
    name: '0001-audit',
    up: ({ db }) => [
      db.schema
        .createTable('audit_record')
        .addColumn('seq', 'bigint', (c) => c.primaryKey())
        .addColumn('at', 'bigint', (c) => c.notNull())
        .addColumn('actor', 'text', (c) => c.notNull())
        .addColumn('action', 'text', (c) => c.notNull())
        .addColumn('outcome', 'text', (c) => c.notNull())
        .addColumn('project', 'text')
        .addColumn('repository', 'text')
        .addColumn('body', 'text', (c) => c.notNull())
        .addColumn('hash', 'text', (c) => c.notNull()),
      db.schema.createIndex('audit_record_project').on('audit_record').columns(['project', 'seq']),
      db.schema.createIndex('audit_record_actor').on('audit_record').columns(['actor', 'seq']),
      db.schema.createIndex('audit_record_action').on('audit_record').columns(['action', 'seq']),
      db.schema
        .createTable('audit_head')
        .addColumn('id', 'integer', (c) => c.primaryKey())
        .addColumn('seq', 'bigint', (c) => c.notNull())
        .addColumn('hash', 'text', (c) => c.notNull()),
    ],
  },
];

const query = queriesOf<AuditTables>('audit');

const head = query()('head', (db) => db.selectFrom('audit_head').select(['seq', 'hash']).where('id', '=', 1));
const insertRecord = query<{
  seq: number;
  at: number;
  actor: string;
  action: string;
  outcome: string;
  project: string | null;
  repository: string | null;
  body: string;
  hash: string;
}>()('insertRecord', (db, p) =>
  db.insertInto('audit_record').values({
    seq: p('seq'),
    at: p('at'),
    actor: p('actor'),
    action: p('action'),
    outcome: p('outcome'),
    project: p('project'),
    repository: p('repository'),
    body: p('body'),
    hash: p('hash'),
  }),
);
const moveHead = query<{ seq: number; hash: string }>()('moveHead', (db, p) =>
  db
    .insertInto('audit_head')
    .values({ id: 1, seq: p('seq'), hash: p('hash') })
    .onConflict((conflict) => conflict.column('id').doUpdateSet((eb) => ({ seq: eb.ref('excluded.seq'), hash: eb.ref('excluded.hash') }))),
);

/** What comes before the first record. */
export const AUDIT_GENESIS = '0'.repeat(64);

/** Hash of a record, from the hash of the one before and its own canonical text. */
export function auditHash(previous: string, body: string): string {
  return createHash('sha256').update(previous).update('\n').update(body).digest('hex');
}

/** The end of the chain; undefined where nothing was recorded yet. */
export async function auditHead(session: Session): Promise<{ seq: number; hash: string } | undefined> {
  return await session.first(head, {});
}

/**
 * Writes an audit record in the transaction of what it tells of: the record exists if and only if the change does. Records
 * are numbered and chained in the order of their transactions.
 */
export async function audit(tx: Session, entry: AuditEntry, clock: Clock): Promise<void> {
  await tx.inOrder(() => record(tx, entry, clock));
}

async function record(tx: Session, entry: AuditEntry, clock: Clock): Promise<void> {
  const last = (await auditHead(tx)) ?? { seq: 0, hash: AUDIT_GENESIS };
  const seq = last.seq + 1;
  const at = clock.now();
  const body = canonicalize({ seq, at: new Date(at).toISOString(), ...entry }) ?? '';
  const hash = auditHash(last.hash, body);
  const { actor, action, outcome, resource } = entry;
  const { project = null, repository = null } = resource;
  await tx.run(insertRecord, { seq, at, actor: `${actor.kind}:${actor.name}`, action, outcome, project, repository, body, hash });
  await tx.run(moveHead, { seq, hash });
}

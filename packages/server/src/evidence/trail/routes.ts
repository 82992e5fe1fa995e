import type { KeyObject } from 'node:crypto';
import Type, { type Static } from 'typebox';
import {
  AppError,
  type Caller,
  cursorOf,
  listOf,
  listQuery,
  PAGE_DEFAULT,
  type Route,
  readCursor,
  routesFor,
  type Session,
} from '../../platform/index.ts';
import { pageOfCheckpoints, toSigned } from './checkpoints.ts';
import { exportLines } from './export.ts';
import { createFollower, type Followed } from './follow.ts';
import { holdRoutes } from './hold-routes.ts';
import { findRecord, firstAt, pageOfRecords, type RecordRow } from './records.ts';

const RecordView = Type.Object({
  seq: Type.Integer({ description: 'rises by one from record to record' }),
  hash: Type.String({ description: 'SHA-256, in hex, of the hash before, a line break, and the record in canonical JSON (RFC 8785)' }),
  record: Type.Object(
    {
      seq: Type.Integer(),
      at: Type.String({ format: 'date-time' }),
      actor: Type.Object({}, { additionalProperties: true }),
      action: Type.String(),
      outcome: Type.String({ description: 'success, denied or failure' }),
      resource: Type.Object({}, { additionalProperties: true }),
    },
    { additionalProperties: true, description: 'besides: origin, reason, before, after, count' },
  ),
});

const CheckpointView = Type.Object({
  checkpoint: Type.Object({ seq: Type.Integer(), hash: Type.String(), at: Type.String({ format: 'date-time' }), previous: Type.String() }),
  signature: Type.String({ description: 'Ed25519 over the checkpoint in canonical JSON, base64' }),
});

const Name = (description: string) => Type.Optional(Type.String({ minLength: 1, maxLength: 256, description }));
const Moment = (description: string) => Type.Optional(Type.String({ maxLength: 40, description: `RFC 3339; ${description}` }));

const FILTERS = {
  actor: Name('`user:ann`, `robot:…`, `anonymous:anonymous`, `system:…`'),
  action: Name('such as member.create'),
  repository: Name('full name'),
  outcome: Type.Optional(Type.Enum(['success', 'denied', 'failure'])),
  from: Moment('records of this time and later'),
  to: Moment('records of this time and before'),
};
const ofSystem = listQuery([], { ...FILTERS, project: Name('project of the resource') });
const ofProject = listQuery([], FILTERS);
const { from: _, to: __, ...WANTED } = FILTERS;
const after = Type.Optional(
  Type.Integer({
    minimum: 0,
    maximum: Number.MAX_SAFE_INTEGER,
    description: 'number of the last record that is known; absent: from now on',
  }),
);
const followProject = Type.Object({ ...WANTED, after }, { additionalProperties: false });
const followSystem = Type.Object(
  { ...followProject.properties, project: Name('project of the resource') },
  { additionalProperties: false },
);
const FOLLOWING =
  'Events `record` carry a record each, `position` how far it came. A stream ends after a minute; a client goes on with Last-Event-ID, as browsers do by themselves.';
const OfProject = Type.Object({ project: Type.String({ maxLength: 128 }) });
const Range = Type.Object(
  {
    from: Type.Optional(Type.Integer({ minimum: 1, default: 1 })),
    to: Type.Optional(Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER })),
    since: Moment('in place of from'),
  },
  { additionalProperties: false },
);

function viewOf({ seq, hash, body }: RecordRow): Static<typeof RecordView> {
  return { seq, hash, record: JSON.parse(body) as Static<typeof RecordView>['record'] };
}

async function* eventsOf(followed: AsyncGenerator<Followed>) {
  for await (const each of followed) {
    const id = String(each.seq);
    yield each.kind === 'record' ? { event: 'record', id, data: viewOf(each.record) } : { event: 'position', id, data: { seq: each.seq } };
  }
}

/** A time as milliseconds. Throws `bad_request` for what is none. */
function momentOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const time = Date.parse(text);
  if (Number.isNaN(time)) throw new AppError('bad_request', `${text.slice(0, 40)} is no time; write it as in RFC 3339`);
  return time;
}

interface Parts {
  readonly database: Session;
  readonly publicKey: KeyObject;
  /** Aborted when the process ends. */
  readonly stopping: AbortSignal;
}

/** Reading the audit trail. */
export function trailRoutes({ database, publicKey, stopping }: Parts): Route[] {
  const { read } = routesFor<Caller>();
  const follower = createFollower({ database, stopping });

  async function follow(
    { after, ...wanted }: Static<typeof followSystem>,
    project: string | undefined,
    headers: Readonly<Record<string, string | string[] | undefined>>,
  ) {
    const known = Number(headers['last-event-id'] ?? Number.NaN);
    const followed = await follower.follow({ ...wanted, project }, Number.isSafeInteger(known) && known >= 0 ? known : after);
    return { events: eventsOf(followed) };
  }

  async function list(query: Static<typeof ofSystem>, project: string | undefined) {
    const { limit = PAGE_DEFAULT, after, from, to, actor, action, repository, outcome } = query;
    const [before] = after === undefined ? [undefined] : readCursor(after, [0]);
    const filter = { limit, before, actor, action, repository, outcome, project, from: momentOf(from), to: momentOf(to) };
    const { records, next } = await pageOfRecords(database, filter);
    return { body: { items: records.map(viewOf) }, next };
  }

  return [
    read({
      method: 'GET',
      path: '/audit',
      summary: 'List audit records, newest first',
      tag: 'Audit',
      permission: 'audit:read',
      query: ofSystem,
      answer: listOf(RecordView),
      handle: ({ query }) => list(query, query.project),
    }),
    read({
      method: 'GET',
      path: '/audit-events',
      summary: 'Follow the audit trail as it grows, by server-sent events',
      description: FOLLOWING,
      tag: 'Audit',
      permission: 'audit:read',
      query: followSystem,
      produces: 'text/event-stream',
      handle: ({ query, headers }) => follow(query, query.project, headers),
    }),
    read({
      method: 'GET',
      path: '/projects/:project/audit-events',
      summary: 'Follow the audit records of a project as they are written, by server-sent events',
      description: FOLLOWING,
      tag: 'Audit',
      permission: 'audit:read',
      params: OfProject,
      query: followProject,
      produces: 'text/event-stream',
      handle: ({ query, params, headers }) => follow(query, params.project, headers),
    }),
    read({
      method: 'GET',
      path: '/audit/:seq',
      summary: 'Read an audit record',
      tag: 'Audit',
      permission: 'audit:read',
      params: Type.Object({ seq: Type.Integer({ minimum: 1 }) }),
      answer: RecordView,
      async handle({ params }) {
        const record = await findRecord(database, params.seq);
        if (!record) throw new AppError('not_found', `there is no audit record ${params.seq}`);
        return { body: viewOf(record) };
      },
    }),
    read({
      method: 'GET',
      path: '/audit-checkpoints',
      summary: 'List signed checkpoints of the audit trail',
      tag: 'Audit',
      permission: 'audit:read',
      query: listQuery([], {}),
      answer: listOf(CheckpointView),
      async handle({ query: { limit = PAGE_DEFAULT, after } }) {
        const [last] = after === undefined ? [0] : readCursor(after, [0]);
        const rows = await pageOfCheckpoints(database, last, limit + 1);
        const items = rows.slice(0, limit);
        return { body: { items: items.map(toSigned) }, next: rows.length > limit ? cursorOf(items.at(-1)?.seq ?? 0) : undefined };
      },
    }),
    read({
      method: 'GET',
      path: '/audit-key',
      summary: 'Read the public key that verifies checkpoints',
      tag: 'Audit',
      permission: 'login',
      answer: Type.Object({ algorithm: Type.String(), publicKey: Type.String({ description: 'PEM' }) }),
      handle: async () => ({
        body: { algorithm: 'Ed25519', publicKey: publicKey.export({ type: 'spki', format: 'pem' }).toString() },
      }),
    }),
    read({
      method: 'GET',
      path: '/audit-export',
      summary: 'Export audit records as lines of JSON, with what verifies them elsewhere',
      tag: 'Audit',
      permission: 'audit:read',
      query: Range,
      async handle({ query: { from = 1, to = Number.MAX_SAFE_INTEGER, since } }) {
        const time = momentOf(since);
        const first = time === undefined ? from : ((await firstAt(database, time)) ?? Number.MAX_SAFE_INTEGER);
        return { text: { type: 'application/x-ndjson', chunks: exportLines(database, { from: first, to }) } };
      },
    }),
    read({
      method: 'GET',
      path: '/projects/:project/audit',
      summary: 'List the audit records of a project, newest first',
      tag: 'Audit',
      permission: 'audit:read',
      params: OfProject,
      query: ofProject,
      answer: listOf(RecordView),
      handle: ({ query, params }) => list(query, params.project),
    }),
    ...holdRoutes({ database }),
  ];
}

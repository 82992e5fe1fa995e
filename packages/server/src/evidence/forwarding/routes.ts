import Type, { type Static } from 'typebox';
import type { Identity } from '../../access/index.ts';
import {
  AppError,
  type Clock,
  type Database,
  listOf,
  listQuery,
  type Outbound,
  PAGE_DEFAULT,
  pageOf,
  type Route,
  readCursor,
  requireMatch,
  routesFor,
  type Seal,
  type Session,
} from '../../platform/index.ts';
import { type ConnectionCheck, checkSink } from './check.ts';
import { openSecretsOf, sealSecrets } from './secrets.ts';
import {
  allSinks,
  changeSink,
  deleteParked,
  deleteSinkRow,
  insertSink,
  newestSeq,
  parkedAfter,
  parkedCounts,
  rowOf,
  type SinkRow,
  setSecrets,
  sinkByName,
} from './store.ts';
import { changedSecrets, placeOf, SecretsInput, Target } from './targets.ts';
import { ParkedView, SinkView, settingsOf, viewOf } from './view.ts';

const MOST_SINKS = 32;
const Name = Type.String({ minLength: 1, maxLength: 64, pattern: '^[a-z0-9][a-z0-9._-]*$' });
const OfSink = Type.Object({ sink: Type.String({ maxLength: 64 }) });
const NewSink = Type.Object(
  {
    name: Name,
    enabled: Type.Optional(Type.Boolean({ default: true })),
    target: Target,
    secrets: Type.Optional(SecretsInput),
    from: Type.Optional(
      Type.Enum(['now', 'oldest'], { default: 'now', description: 'the first record sent: that of this change, or the oldest kept' }),
    ),
  },
  { additionalProperties: false },
);
const SinkChange = Type.Object(
  {
    enabled: Type.Optional(Type.Boolean()),
    target: Type.Optional(Target),
    secrets: Type.Optional(SecretsInput),
    resendFrom: Type.Optional(
      Type.Integer({ minimum: 1, description: 'number of the record that is sent next; parked ones from there on are tried again' }),
    ),
  },
  { additionalProperties: false },
);
const Check = Type.Object({
  ok: Type.Boolean(),
  steps: Type.Array(Type.Object({ step: Type.String(), milliseconds: Type.Integer() })),
  error: Type.Union([Type.String(), Type.Null()]),
});

const { read, change } = routesFor<Identity>();
const COMMON = { tag: 'Audit forwarding' } as const;

export interface ForwardingRouteParts {
  readonly database: Database;
  readonly outbound: Outbound;
  readonly sinkSeal: Seal;
  readonly clock: Clock;
}

/** Sinks that audit records are forwarded to. */
export function forwardingRoutes({ database, outbound, sinkSeal: seal, clock }: ForwardingRouteParts): Route[] {
  const show = async (session: Session, sink: SinkRow): Promise<Static<typeof SinkView>> => {
    const parked = (await parkedCounts(session)).get(sink.id) ?? 0;
    return viewOf(sink, openSecretsOf(seal, sink), { newest: await newestSeq(session), parked });
  };

  return [
    read({
      ...COMMON,
      method: 'GET',
      path: '/audit-sinks',
      summary: 'List the sinks that audit records are forwarded to',
      permission: 'system:read',
      query: listQuery(['name'], {}),
      answer: listOf(SinkView),
      async handle({ query: { limit = PAGE_DEFAULT, after, sort = 'name' } }) {
        const [last] = after === undefined ? [undefined] : readCursor(after, ['']);
        const all = (await database.all(allSinks, {})).map(rowOf); // few, by the limit at creation
        if (sort === '-name') all.reverse();
        const rest = all.filter(({ name }) => last === undefined || (sort === '-name' ? name < last : name > last));
        const { items, next } = pageOf(rest, limit, ({ name }) => [name]);
        const newest = await newestSeq(database);
        const parked = await parkedCounts(database);
        const views = items.map((sink) => viewOf(sink, openSecretsOf(seal, sink), { newest, parked: parked.get(sink.id) ?? 0 }));
        return { body: { items: views }, next };
      },
    }),
    read({
      ...COMMON,
      method: 'GET',
      path: '/audit-sinks/:sink',
      summary: 'Read a sink and how it goes',
      permission: 'system:read',
      params: OfSink,
      answer: SinkView,
      async handle({ params }) {
        const sink = await requireSink(database, params.sink);
        return { body: await show(database, sink), etag: etagOf(sink) };
      },
    }),
    read({
      ...COMMON,
      method: 'GET',
      path: '/audit-sinks/:sink/parked',
      summary: 'List the records that a sink refuses whatever is tried',
      permission: 'system:read',
      params: OfSink,
      query: listQuery(['seq'], {}),
      answer: listOf(ParkedView),
      async handle({ params, query: { limit = PAGE_DEFAULT, after } }) {
        const { id } = await requireSink(database, params.sink);
        const [last] = after === undefined ? [0] : readCursor(after, [0]);
        const rows = await database.all(parkedAfter, { id, after: last, limit: limit + 1 });
        const { items, next } = pageOf(rows, limit, ({ seq }) => [seq]);
        return { body: { items: items.map(({ seq, reason, at }) => ({ seq, reason, at: new Date(at).toISOString() })) }, next };
      },
    }),
    change({
      ...COMMON,
      method: 'POST',
      path: '/audit-sinks',
      summary: 'Forward audit records to one more sink',
      permission: 'system:update',
      audit: 'audit-sink.create',
      body: NewSink,
      answer: SinkView,
      status: 201,
      async change(tx, { body, caller, now }) {
        const { name, enabled = true, target, secrets = {}, from = 'now' } = body;
        const { kind } = target;
        if ((await tx.all(allSinks, {})).length >= MOST_SINKS) throw new AppError('conflict', `there are ${MOST_SINKS} sinks already`);
        const given = changedSecrets(kind, {}, secrets);
        const position = from === 'now' ? await newestSeq(tx) : 0;
        const { actor } = caller;
        const made = await tx.first(insertSink, {
          name,
          kind,
          target: JSON.stringify(target),
          enabled: enabled ? 1 : 0,
          position,
          now,
          by: actor.name,
        });
        if (!made) throw new AppError('conflict', `there is a sink ${name} already`);
        await tx.run(setSecrets, { id: made.id, secrets: sealSecrets(seal, made.id, given) });
        const sink = await requireSink(tx, name);
        return { body: await show(tx, sink), etag: etagOf(sink), resource: resourceOf(sink), after: settingsOf(sink, given) };
      },
    }),
    change({
      ...COMMON,
      method: 'PATCH',
      path: '/audit-sinks/:sink',
      summary: 'Change a sink, or send it records again',
      description: 'Where the target leads to another place, the secrets must be given again: those known are not sent there.',
      permission: 'system:update',
      audit: 'audit-sink.update',
      params: OfSink,
      body: SinkChange,
      answer: SinkView,
      async change(tx, call) {
        const before = await requireSink(tx, call.params.sink);
        requireMatch(call, etagOf(before));
        const { enabled = before.enabled, target = before.target, secrets: given = {}, resendFrom } = call.body;
        const known = openSecretsOf(seal, before);
        const moved = placeOf(target) !== placeOf(before.target);
        if (moved && Object.keys(known).some((name) => !Object.hasOwn(given, name))) {
          throw new AppError('bad_request', 'the sink leads to another place: give its secrets again, or null for those that are to go');
        }
        const secrets = changedSecrets(target.kind, moved ? {} : known, given);
        const { id } = before;
        const newest = await newestSeq(tx);
        if (resendFrom !== undefined && resendFrom > newest + 1) {
          throw new AppError('bad_request', `the newest record has the number ${newest}`);
        }
        await tx.run(changeSink, {
          id,
          kind: target.kind,
          target: JSON.stringify(target),
          secrets: sealSecrets(seal, id, secrets),
          enabled: enabled ? 1 : 0,
          position: resendFrom === undefined ? before.position : resendFrom - 1,
        });
        if (resendFrom !== undefined) await tx.run(deleteParked, { id, from: resendFrom });
        const after = await requireSink(tx, before.name);
        const told = { ...settingsOf(after, secrets), ...(resendFrom === undefined ? {} : { resendFrom }) };
        const resource = resourceOf(after);
        return { body: await show(tx, after), etag: etagOf(after), resource, before: settingsOf(before, known), after: told };
      },
    }),
    change({
      ...COMMON,
      method: 'DELETE',
      path: '/audit-sinks/:sink',
      summary: 'Forward nothing to a sink any more, and forget it',
      permission: 'system:update',
      audit: 'audit-sink.delete',
      params: OfSink,
      async change(tx, call) {
        const sink = await requireSink(tx, call.params.sink);
        requireMatch(call, etagOf(sink));
        await tx.run(deleteParked, { id: sink.id, from: 0 });
        await tx.run(deleteSinkRow, { id: sink.id });
        return { resource: resourceOf(sink), before: settingsOf(sink, openSecretsOf(seal, sink)) };
      },
    }),
    change({
      ...COMMON,
      method: 'POST',
      path: '/audit-sinks/:sink/test',
      summary: 'Send a sink one record of a test, and tell each step',
      description: 'The record has the number 0 and the action `audit-sink.test`. Works for a sink that is not enabled, too.',
      permission: 'system:update',
      audit: 'audit-sink.test',
      params: OfSink,
      answer: Check,
      async prepare({ params, caller, now }): Promise<ConnectionCheck> {
        const sink = await requireSink(database, params.sink);
        return await checkSink({ outbound, clock }, sink, openSecretsOf(seal, sink), caller.actor, now);
      },
      async change(tx, { params }, prepared: ConnectionCheck) {
        const sink = await requireSink(tx, params.sink);
        const { ok, error } = prepared;
        return { body: { ...prepared, steps: [...prepared.steps] }, resource: resourceOf(sink), after: { ok, error } };
      },
    }),
  ];
}

async function requireSink(session: Session, name: string): Promise<SinkRow> {
  const found = await session.first(sinkByName, { name });
  if (!found) throw new AppError('not_found', `there is no sink ${name}`);
  return rowOf(found);
}

function resourceOf({ name }: SinkRow) {
  return { type: 'audit-sink', name };
}

function etagOf({ id, version }: SinkRow): string {
  return `${id}.${version}`;
}

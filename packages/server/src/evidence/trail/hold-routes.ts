import Type, { type Static } from 'typebox';
import {
  AppError,
  type Caller,
  listOf,
  listQuery,
  PAGE_DEFAULT,
  pageOf,
  type Route,
  readCursor,
  routesFor,
  type Session,
} from '../../platform/index.ts';
import { findHold, type Hold, isHeldBy, pageOfHolds, placeHold, releaseHold } from './holds.ts';

const Text = (maxLength: number) => Type.String({ minLength: 1, maxLength, pattern: '^[^\\p{C}]+$' });
const NewHold = Type.Object(
  { name: Text(100), reason: Type.String({ minLength: 1, maxLength: 1000, description: 'such as the number of a case' }) },
  { additionalProperties: false },
);
const Time = Type.String({ format: 'date-time' });
const HoldView = Type.Object({
  id: Type.Integer(),
  name: Type.String(),
  reason: Type.String(),
  placedAt: Time,
  placedBy: Type.String(),
  releasedAt: Type.Union([Time, Type.Null()], { description: 'null: it is in force' }),
  releasedBy: Type.Union([Type.String(), Type.Null()]),
});

function viewOf({ placedAt, releasedAt, ...hold }: Hold): Static<typeof HoldView> {
  return {
    ...hold,
    placedAt: new Date(placedAt).toISOString(),
    releasedAt: releasedAt === null ? null : new Date(releasedAt).toISOString(),
  };
}

async function requireHold(session: Session, id: number): Promise<Hold> {
  const hold = await findHold(session, id);
  if (!hold) throw new AppError('not_found', `there is no hold ${id}`);
  return hold;
}

/** Legal holds: while any is in force, retention gives up no audit record. */
export function holdRoutes({ database }: { readonly database: Session }): Route[] {
  const { read, change } = routesFor<Caller>();
  const common = { tag: 'Audit' } as const;
  return [
    read({
      ...common,
      method: 'GET',
      path: '/audit-holds',
      summary: 'List legal holds on the audit trail, the latest first, released ones too',
      permission: 'audit:read',
      query: listQuery([], {}),
      answer: listOf(HoldView),
      async handle({ query: { limit = PAGE_DEFAULT, after } }) {
        const [last] = after === undefined ? [Number.MAX_SAFE_INTEGER] : readCursor(after, [0]);
        const { items, next } = pageOf(await pageOfHolds(database, last, limit + 1), limit, ({ id }) => [id]);
        return { body: { items: items.map(viewOf) }, next };
      },
    }),
    change({
      ...common,
      method: 'POST',
      path: '/audit-holds',
      summary: 'Place a legal hold: while any is in force, no audit record is given up, whatever its age',
      permission: 'system:update',
      audit: 'audit-hold.place',
      body: NewHold,
      answer: HoldView,
      status: 201,
      async change(tx, { body, caller, now }) {
        if (await isHeldBy(tx, body.name)) throw new AppError('conflict', `the hold ${body.name} is in force already`);
        const hold = await requireHold(tx, await placeHold(tx, body, caller.actor.name, now));
        return { body: viewOf(hold), resource: { type: 'audit-hold', name: hold.name }, after: { id: hold.id, reason: hold.reason } };
      },
    }),
    change({
      ...common,
      method: 'POST',
      path: '/audit-holds/:hold/release',
      summary: 'Release a legal hold; it stays in the list',
      permission: 'system:update',
      audit: 'audit-hold.release',
      params: Type.Object({ hold: Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER }) }),
      body: Type.Object({ reason: Type.String({ minLength: 1, maxLength: 1000 }) }, { additionalProperties: false }),
      answer: HoldView,
      async change(tx, { params, body, caller, now }) {
        const hold = await requireHold(tx, params.hold);
        if (!(await releaseHold(tx, hold.id, caller.actor.name, now)))
          throw new AppError('conflict', `the hold ${hold.name} was released before`);
        const told = { before: { id: hold.id, reason: hold.reason }, after: { released: true, reason: body.reason } };
        return { body: viewOf(await requireHold(tx, hold.id)), resource: { type: 'audit-hold', name: hold.name }, ...told };
      },
    }),
  ];
}

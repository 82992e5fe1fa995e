import { AppError, queriesOf, type Session } from '../../platform/index.ts';
import { touchAccess } from '../rules.ts';
import type { MachineTables } from './schema.ts';

const query = queriesOf<MachineTables>('machines');
const COLUMNS = [
  'trust_rule.id',
  'trust_rule.robot_id as robotId',
  'trust_rule.name',
  'trust_rule.issuer',
  'trust_rule.audience',
  'trust_rule.jwks',
  'trust_rule.condition',
  'trust_rule.disabled',
  'trust_rule.created_at as createdAt',
  'trust_rule.created_by as createdBy',
  'trust_rule.version',
] as const;

const ruleById = query<{ id: number }>()('trustRuleById', (db, p) =>
  db.selectFrom('trust_rule').select(COLUMNS).where('trust_rule.id', '=', p('id')),
);
const rulesOf = query<{ robotId: number }>()('trustRulesOf', (db, p) =>
  db.selectFrom('trust_rule').select(COLUMNS).where('trust_rule.robot_id', '=', p('robotId')).orderBy('trust_rule.name'),
);
const rulesFor = query<{ issuer: string; robot: string; limit: number }>()('trustRulesFor', (db, p) =>
  db
    .selectFrom('trust_rule')
    .innerJoin('robot', 'robot.id', 'trust_rule.robot_id')
    .select(COLUMNS)
    .where('trust_rule.issuer', '=', p('issuer'))
    .where('trust_rule.disabled', '=', 0)
    .where('robot.disabled', '=', 0)
    .where((eb) => eb.or([eb(p('robot'), '=', ''), eb('robot.name', '=', p('robot'))]))
    .orderBy('trust_rule.id')
    .limit(p('limit')),
);
const insertRule = query<{
  robotId: number;
  name: string;
  issuer: string;
  audience: string;
  jwks: string | null;
  condition: string;
  disabled: number;
  now: number;
  by: string;
}>()('insertTrustRule', (db, p) =>
  db
    .insertInto('trust_rule')
    .values({
      robot_id: p('robotId'),
      name: p('name'),
      issuer: p('issuer'),
      audience: p('audience'),
      jwks: p('jwks'),
      condition: p('condition'),
      disabled: p('disabled'),
      created_at: p('now'),
      created_by: p('by'),
      version: 1,
    })
    .onConflict((conflict) => conflict.columns(['robot_id', 'name']).doNothing())
    .returning('id'),
);
const updateRule = query<{ id: number; audience: string; jwks: string | null; condition: string; disabled: number }>()(
  'updateTrustRule',
  (db, p) =>
    db
      .updateTable('trust_rule')
      .set((eb) => ({
        audience: p('audience'),
        jwks: p('jwks'),
        condition: p('condition'),
        disabled: p('disabled'),
        version: eb('version', '+', 1),
      }))
      .where('id', '=', p('id')),
);
const deleteRule = query<{ id: number }>()('deleteTrustRule', (db, p) => db.deleteFrom('trust_rule').where('id', '=', p('id')));
const deleteRulesOf = query<{ robotId: number }>()('deleteTrustRulesOf', (db, p) =>
  db.deleteFrom('trust_rule').where('robot_id', '=', p('robotId')),
);

/** Whose tokens prove to be a robot, and under which condition. */
export interface TrustRule {
  readonly id: number;
  readonly robotId: number;
  readonly name: string;
  readonly issuer: string;
  readonly audience: string;
  /** JSON Web Key Set; null: what the issuer publishes. */
  readonly jwks: string | null;
  /** CEL over `claims`. */
  readonly condition: string;
  readonly disabled: boolean;
  readonly createdAt: number;
  readonly createdBy: string;
  readonly version: number;
}

type Row = Omit<TrustRule, 'disabled'> & { readonly disabled: number };

const toRule = (row: Row): TrustRule => ({ ...row, disabled: row.disabled === 1 });

/** Rules of one robot; more would be no use. */
const MAX_RULES = 20;
/** Rules asked for one token; with more of one issuer a client must say which robot it is. */
export const MAX_ASKED = 100;

export async function findTrustRule(session: Session, id: number): Promise<TrustRule | undefined> {
  const row = await session.first(ruleById, { id });
  return row && toRule(row);
}

/** Enabled rules for an issuer, of one robot or of any; one more than are asked, where there is one. */
export async function trustRulesFor(session: Session, issuer: string, robot = ''): Promise<TrustRule[]> {
  return (await session.all(rulesFor, { issuer, robot, limit: MAX_ASKED + 1 })).map(toRule);
}

export async function trustRulesOf(session: Session, robotId: number): Promise<TrustRule[]> {
  return (await session.all(rulesOf, { robotId })).map(toRule);
}

/** A rule of a robot. Throws `not_found` where it has none of that id. */
export async function requireTrustRule(session: Session, robotId: number, id: number): Promise<TrustRule> {
  const rule = await findTrustRule(session, id);
  if (rule?.robotId !== robotId) throw new AppError('not_found', `there is no trust rule ${id}`);
  return rule;
}

export type NewTrustRule = Omit<TrustRule, 'id' | 'createdAt' | 'createdBy' | 'version'> & { readonly by: string; readonly now: number };

export async function createTrustRule(tx: Session, rule: NewTrustRule): Promise<TrustRule> {
  const { robotId, name } = rule;
  if ((await tx.all(rulesOf, { robotId })).length >= MAX_RULES)
    throw new AppError('conflict', `a robot has at most ${MAX_RULES} trust rules`);
  const made = await tx.first(insertRule, { ...rule, disabled: rule.disabled ? 1 : 0 });
  if (!made) throw new AppError('conflict', `there is a trust rule ${name} already`);
  return await requireTrustRule(tx, robotId, made.id);
}

/** Changes a rule and gives it as it is now; voids what was issued before. */
export async function changeTrustRule(
  tx: Session,
  rule: TrustRule,
  change: Partial<Pick<TrustRule, 'audience' | 'jwks' | 'condition' | 'disabled'>>,
): Promise<TrustRule> {
  const { id, robotId, audience, jwks, condition, disabled } = { ...rule, ...change };
  await tx.run(updateRule, { id, audience, jwks, condition, disabled: disabled ? 1 : 0 });
  await touchAccess(tx);
  return await requireTrustRule(tx, robotId, id);
}

export async function deleteTrustRule(tx: Session, id: number): Promise<void> {
  await tx.run(deleteRule, { id });
  await touchAccess(tx);
}

/** Deletes all rules of a robot: part of its deletion. */
export async function dropTrustRulesOf(tx: Session, robotId: number): Promise<void> {
  await tx.run(deleteRulesOf, { robotId });
}

/** Names a state of a rule, for `ETag`. */
export function trustRuleEtag({ id, version }: TrustRule): string {
  return `${id}.${version}`;
}

import { AppError, newId, queriesOf, type Session } from '../platform/index.ts';
import type { CatalogTables } from './schema.ts';
import { compileSelector, type TagSelector } from './tag-selectors.ts';

const query = queriesOf<CatalogTables>('catalog');
const COLUMNS = [
  'id',
  'project_id as projectId',
  'name',
  'description',
  'selector',
  'enabled',
  'created_at as createdAt',
  'created_by as createdBy',
  'version',
] as const;

/** Rules of one project, or of the system. */
const MOST = 100;

const rulesOfSystem = query()('immutabilityRulesOfSystem', (db) =>
  db.selectFrom('immutability_rule').select(COLUMNS).where('project_id', 'is', null).orderBy('name'),
);
const rulesOfProject = query<{ projectId: number }>()('immutabilityRulesOfProject', (db, p) =>
  db.selectFrom('immutability_rule').select(COLUMNS).where('project_id', '=', p('projectId')).orderBy('name'),
);
const ruleById = query<{ id: number }>()('immutabilityRule', (db, p) =>
  db.selectFrom('immutability_rule').select(COLUMNS).where('id', '=', p('id')),
);
interface Written {
  name: string;
  description: string;
  selector: string;
  enabled: number;
}
const insertRule = query<Written & { projectId: number | null; now: number; by: string }>()('insertImmutabilityRule', (db, p) =>
  db
    .insertInto('immutability_rule')
    .values({
      project_id: p('projectId'),
      name: p('name'),
      description: p('description'),
      selector: p('selector'),
      enabled: p('enabled'),
      created_at: p('now'),
      created_by: p('by'),
      version: 1,
    })
    .returning('id'),
);
const updateRule = query<Written & { id: number }>()('updateImmutabilityRule', (db, p) =>
  db
    .updateTable('immutability_rule')
    .set((eb) => ({
      name: p('name'),
      description: p('description'),
      selector: p('selector'),
      enabled: p('enabled'),
      version: eb('version', '+', 1),
    }))
    .where('id', '=', p('id')),
);
const removeRule = query<{ id: number }>()('deleteImmutabilityRule', (db, p) =>
  db.deleteFrom('immutability_rule').where('id', '=', p('id')),
);
const removeRulesOf = query<{ projectId: number }>()('deleteImmutabilityRulesOf', (db, p) =>
  db.deleteFrom('immutability_rule').where('project_id', '=', p('projectId')),
);
const renewVersion = query<{ version: string }>()('renewImmutabilityVersion', (db, p) =>
  db
    .insertInto('immutability_state')
    .values({ id: 1, version: p('version') })
    .onConflict((conflict) => conflict.column('id').doUpdateSet((eb) => ({ version: eb.ref('excluded.version') }))),
);

export interface ImmutabilityRule {
  readonly id: number;
  /** null: it holds on the whole system. */
  readonly projectId: number | null;
  readonly name: string;
  readonly description: string;
  readonly selector: TagSelector;
  readonly enabled: boolean;
  readonly createdAt: number;
  readonly createdBy: string;
  readonly version: number;
}

/** What somebody sets. */
export type ImmutabilitySettings = Pick<ImmutabilityRule, 'name' | 'description' | 'selector' | 'enabled'>;

type Row = Omit<ImmutabilityRule, 'selector' | 'enabled'> & { selector: string; enabled: number };
const toRule = ({ selector, enabled, ...row }: Row): ImmutabilityRule => ({
  ...row,
  selector: JSON.parse(selector) as TagSelector,
  enabled: enabled === 1,
});

/** Rules of a project, or of the system, by name; few, by the limit at creation. */
export async function immutabilityRulesIn(session: Session, projectId: number | null): Promise<ImmutabilityRule[]> {
  const rows = projectId === null ? await session.all(rulesOfSystem, {}) : await session.all(rulesOfProject, { projectId });
  return rows.map(toRule);
}

/** The rule of an id where it is one of that project, or of the system. */
export async function findImmutabilityRule(session: Session, projectId: number | null, id: number): Promise<ImmutabilityRule | undefined> {
  const row = await session.first(ruleById, { id });
  return row && row.projectId === projectId ? toRule(row) : undefined;
}

/** Makes a rule, which holds from the end of the transaction on, for tags that are there already too. */
export async function addImmutabilityRule(
  tx: Session,
  projectId: number | null,
  settings: ImmutabilitySettings,
  { by, now }: { readonly by: string; readonly now: number },
): Promise<ImmutabilityRule> {
  const others = await immutabilityRulesIn(tx, projectId);
  if (others.length >= MOST) throw new AppError('conflict', `there can be at most ${MOST} rules; one rule can hold several patterns`);
  requireName(others, settings.name);
  const row = await tx.first(insertRule, { ...written(settings), projectId, by, now });
  if (!row) throw new Error('an inserted rule has no id');
  return await changed(tx, row.id);
}

export async function changeImmutabilityRule(
  tx: Session,
  { id, projectId }: ImmutabilityRule,
  settings: ImmutabilitySettings,
): Promise<ImmutabilityRule> {
  requireName(
    (await immutabilityRulesIn(tx, projectId)).filter((other) => other.id !== id),
    settings.name,
  );
  await tx.run(updateRule, { ...written(settings), id });
  return await changed(tx, id);
}

export async function deleteImmutabilityRule(tx: Session, { id }: ImmutabilityRule): Promise<void> {
  await tx.run(removeRule, { id });
  await tx.run(renewVersion, { version: newId() });
}

/** Part of the deletion of a project. */
export async function dropRulesOf(tx: Session, projectId: number): Promise<void> {
  if ((await tx.run(removeRulesOf, { projectId })) > 0) await tx.run(renewVersion, { version: newId() });
}

async function changed(tx: Session, id: number): Promise<ImmutabilityRule> {
  await tx.run(renewVersion, { version: newId() });
  const row = await tx.first(ruleById, { id });
  if (!row) throw new Error('a rule vanished in its own transaction');
  return toRule(row);
}

function written({ name, description, selector, enabled }: ImmutabilitySettings): Written {
  compileSelector(selector);
  return { name, description, selector: JSON.stringify(selector), enabled: enabled ? 1 : 0 };
}

function requireName(others: readonly ImmutabilityRule[], name: string): void {
  if (others.some((other) => other.name === name)) throw new AppError('conflict', `there is a rule ${name} already`);
}

import { sql } from 'kysely';
import { LRUCache } from 'lru-cache';
import { AppError, queriesOf, type Session } from '../platform/index.ts';
import type { CatalogTables } from './schema.ts';
import { type CompiledSelector, compileSelector, type TagSelector } from './tag-selectors.ts';

const query = queriesOf<CatalogTables>('catalog');

const rulesVersion = query()('immutabilityVersion', (db) => db.selectFrom('immutability_state').select('version').where('id', '=', 1));
const placeOf = query<{ id: number }>()('immutabilityPlace', (db, p) =>
  db.selectFrom('repository').select(['name', 'project_id as projectId']).where('id', '=', p('id')),
);
const activeRules = query<{ projectId: number }>()('immutabilityRules', (db, p) =>
  db
    .selectFrom('immutability_rule')
    .select(['id', 'name', 'project_id as projectId', 'selector'])
    .where((eb) => eb.or([eb('project_id', 'is', null), eb('project_id', '=', p('projectId'))]))
    .where('enabled', '=', 1)
    .orderBy('id'),
);
const tagsLike = query<{ repositoryId: number; pattern: string; last: string; limit: number }>()('tagsLike', (db, p) =>
  db
    .selectFrom('tag')
    .select('name')
    .where('repository_id', '=', p('repositoryId'))
    .where(sql<boolean>`name like ${p('pattern')} escape '\\'`)
    .where('name', '>', p('last'))
    .orderBy('name')
    .limit(p('limit')),
);

/** The rule that makes a tag immutable. */
export interface ImmutableBy {
  readonly id: number;
  readonly name: string;
  /** null: it holds on the whole system. */
  readonly projectId: number | null;
}

interface Rule extends ImmutableBy, CompiledSelector {}

/** Which tags of one repository may neither move nor go, by the rules that hold now. */
export interface Immutability {
  /** The rule that holds a tag; undefined where none does. */
  ruleOf(tag: string): ImmutableBy | undefined;
}

const NONE: readonly Rule[] = [];
/**
 * Rules by their version, which is a text that no other state of any database has, and by where they hold. So a change of
 * the rules counts from its transaction on, and what was read before is never asked again.
 */
const KNOWN = new LRUCache<string, readonly Rule[]>({ max: 5000 });

async function rulesFor(session: Session, repositoryId: number): Promise<readonly Rule[]> {
  const version = (await session.first(rulesVersion, {}))?.version;
  const place = version === undefined ? undefined : await session.first(placeOf, { id: repositoryId });
  if (!place) return NONE; // of a registry that never had a rule nothing else is read
  const key = `${version} ${place.projectId} ${place.name}`;
  let rules = KNOWN.get(key);
  if (!rules) {
    const rows = await session.all(activeRules, { projectId: place.projectId });
    rules = rows
      .map(({ selector, ...rule }) => ({ ...rule, ...compileSelector(JSON.parse(selector) as TagSelector) }))
      .filter(({ repository }) => repository(place.name));
    KNOWN.set(key, rules);
  }
  return rules;
}

/** What the rules say of the tags of a repository. */
export async function immutabilityOf(session: Session, repositoryId: number): Promise<Immutability> {
  const rules = await rulesFor(session, repositoryId);
  return { ruleOf: (tag) => rules.find((rule) => rule.tag(tag)) };
}

/** Throws `tag_immutable` where a rule forbids that an existing tag moves or goes. Part of every such change. */
export async function requireMutable(tx: Session, repositoryId: number, tag: string): Promise<void> {
  const rule = (await immutabilityOf(tx, repositoryId)).ruleOf(tag);
  if (rule) throw immutable(tag, rule);
}

const LOOKED_AT = 1000;

/** A tag of the repository that may not go, and why. What no pattern can match is passed over by the database. */
export async function firstImmutable(
  session: Session,
  repositoryId: number,
): Promise<{ readonly tag: string; readonly rule: ImmutableBy } | undefined> {
  for (const rule of await rulesFor(session, repositoryId)) {
    for (const pattern of rule.likes) {
      for (let last: string | undefined = ''; last !== undefined; ) {
        const names: { name: string }[] = await session.all(tagsLike, { repositoryId, pattern, last, limit: LOOKED_AT });
        const found = names.find(({ name }) => rule.tag(name));
        if (found) return { tag: found.name, rule };
        last = names.length < LOOKED_AT ? undefined : names.at(-1)?.name;
      }
    }
  }
  return undefined;
}

/** Throws `tag_immutable` where a rule forbids that a tag of the repository goes. Part of the deletion of a repository. */
export async function requireNoneImmutable(tx: Session, repositoryId: number): Promise<void> {
  const found = await firstImmutable(tx, repositoryId);
  if (found) throw immutable(found.tag, found.rule);
}

/** The refusal of a change of a tag that a rule holds. */
export function immutable(tag: string, { id, name, projectId }: ImmutableBy): AppError {
  const where = projectId === null ? 'of the system' : 'of the project';
  return new AppError('tag_immutable', `tag ${tag} is immutable by rule ${name} ${where}; it can be neither moved nor deleted`, {
    detail: { tag, rule: { id, name, system: projectId === null } },
  });
}

import { type Compiled, collectTables, type Query } from './query.ts';

/** Rows kept before all are dropped. */
const MAX_ROWS = 50_000;

/**
 * Tables whose single rows may be kept in memory, with what counts as a change of them for other processes. Rights and who
 * has them: everything, as their rows are read by joins too. Of the others only single rows by equality are kept, which an
 * insert does not change; so that pushing tells nobody anything. Not here: tags, uploads, jobs, sessions, credentials.
 */
const KEPT: Readonly<Record<string, 'all' | 'single rows'>> = {
  access_state: 'all',
  user: 'all',
  user_group: 'all',
  group_member: 'all',
  robot: 'all',
  role: 'all',
  role_assignment: 'all',
  policy: 'all',
  policy_attachment: 'all',
  project: 'all',
  repository: 'single rows',
  manifest: 'single rows',
};

/** What a statement changes, and whether others are told of it. */
export interface Invalidation {
  readonly changed: string | undefined;
  readonly told: string | undefined;
}

export function invalidationOf({ root, changes }: Compiled): Invalidation {
  if (!changes) return { changed: undefined, told: undefined };
  const { kind, into, table, from, onConflict } = root as Record<'kind' | 'into' | 'table' | 'from' | 'onConflict', unknown>;
  const targets = new Set<string>();
  collectTables(into ?? table ?? from, targets);
  const [target = ''] = targets;
  const kept = KEPT[target];
  if (kept === undefined) return { changed: undefined, told: undefined };
  const updates = kind !== 'InsertQueryNode' || (onConflict as { updates?: unknown } | undefined)?.updates !== undefined;
  const told = kept === 'all' || updates ? target : undefined;
  return { changed: told, told };
}

/** Nodes of Kysely's tree that a read of one row by equality may consist of. */
const PLAIN = new Set([
  ...['SelectQueryNode', 'FromNode', 'TableNode', 'SchemableIdentifierNode', 'IdentifierNode', 'SelectionNode', 'ReferenceNode'],
  ...['ColumnNode', 'AliasNode', 'WhereNode', 'AndNode', 'ParensNode', 'BinaryOperationNode', 'OperatorNode', 'ValueNode', 'RawNode'],
]);

/** Whether rows of a statement may be kept. */
export function isKept({ root, tables, changes }: Compiled): boolean {
  if (changes || tables.size === 0) return false;
  const kinds = Array.from(tables, (table) => KEPT[table]);
  if (kinds.every((kind) => kind === 'all')) return true;
  return tables.size === 1 && kinds[0] === 'single rows' && isPlain(root);
}

function isPlain(node: unknown): boolean {
  if (typeof node !== 'object' || node === null || ArrayBuffer.isView(node)) return true;
  const { kind, operator, sqlFragments } = node as { kind?: string; operator?: unknown; sqlFragments?: readonly string[] };
  if (kind !== undefined && !PLAIN.has(kind)) return false;
  if (kind === 'OperatorNode' && operator !== '=') return false;
  if (sqlFragments?.some((text) => text !== '')) return false;
  return Object.values(node).every(isPlain);
}

/**
 * Single rows read before, valid until a table of theirs is told to have changed and for as long as `isCurrent` says that
 * such news arrive. What is not there is not kept, as an insert tells nobody.
 */
export class TableRows {
  readonly #isCurrent: () => boolean;
  readonly #rows = new Map<Query<never, unknown>, { readonly compiled: Compiled; readonly rows: Map<string, unknown> } | null>();
  readonly #compile: (query: Query<never, unknown>) => Compiled;
  /** Rises with each change that was heard of, by table; what was read before it is not kept. */
  readonly #changes = new Map<string, number>();
  #dropped = 0;
  #count = 0;

  constructor(compile: (query: Query<never, unknown>) => Compiled, isCurrent: () => boolean) {
    this.#compile = compile;
    this.#isCurrent = isCurrent;
  }

  /** The row of a query, from before or by `read`. Rows are shared: nobody changes them. */
  first<P, R>(query: Query<P, R>, params: P, read: () => Promise<R | undefined>): Promise<R | undefined> | R {
    const entry = this.#entryOf(query as unknown as Query<never, unknown>);
    if (entry === null || !this.#isCurrent()) return read();
    const key = JSON.stringify(params);
    const known = entry.rows.get(key);
    return known === undefined ? this.#read(entry, key, read) : (known as R);
  }

  /** These tables have changed. */
  changed(tables: Iterable<string>): void {
    const names = new Set(tables);
    if (names.size === 0) return;
    for (const table of names) this.#changes.set(table, this.#changesOf(table) + 1);
    for (const entry of this.#rows.values()) {
      if (entry === null || entry.compiled.tables.isDisjointFrom(names)) continue;
      this.#count -= entry.rows.size;
      entry.rows.clear();
    }
  }

  /** Nothing kept, or being read at the moment, is known to be true. */
  clear(): void {
    this.#dropped++;
    for (const entry of this.#rows.values()) entry?.rows.clear();
    this.#count = 0;
  }

  async #read<R>(
    { compiled, rows }: { readonly compiled: Compiled; readonly rows: Map<string, unknown> },
    key: string,
    read: () => Promise<R | undefined>,
  ): Promise<R | undefined> {
    const state = () => this.#dropped + [...compiled.tables].reduce((sum, table) => sum + this.#changesOf(table), 0);
    const before = state();
    const row = await read();
    if (row === undefined || state() !== before || rows.has(key)) return row;
    if (++this.#count > MAX_ROWS) this.clear();
    else rows.set(key, row);
    return row;
  }

  #changesOf(table: string): number {
    return this.#changes.get(table) ?? 0;
  }

  #entryOf(query: Query<never, unknown>) {
    let entry = this.#rows.get(query);
    if (entry === undefined) {
      const compiled = this.#compile(query);
      entry = isKept(compiled) ? { compiled, rows: new Map() } : null;
      this.#rows.set(query, entry);
    }
    return entry;
  }
}

import { DatabaseSync } from 'node:sqlite';
import type { Migration } from '../database.ts';
import { applyMigrations, MIGRATION_TABLE } from '../sqlite-migrations.ts';

export type ColumnType = 'integer' | 'real' | 'text' | 'bytes';

export interface Column {
  readonly name: string;
  readonly type: ColumnType;
  readonly nullable: boolean;
}

/** A table as all databases have it. */
export interface Table {
  readonly name: string;
  readonly columns: readonly Column[];
  /** Columns that name a row; of a table without a key none. */
  readonly key: readonly string[];
  /** The column that the database numbers itself. */
  readonly numbered: string | undefined;
}

const TYPES: Readonly<Record<string, ColumnType>> = {
  integer: 'integer',
  bigint: 'integer',
  text: 'text',
  blob: 'bytes',
  'double precision': 'real',
};

/** All tables that migrations make, by name; what a database is copied by. Throws for a type that is not known here. */
export function tablesOf(migrations: readonly Migration[]): Table[] {
  const raw = new DatabaseSync(':memory:');
  try {
    raw.exec(MIGRATION_TABLE);
    applyMigrations(raw, migrations);
    const made = raw.prepare(
      "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~' ORDER BY name",
    );
    return made.all().map(({ name, sql }) => tableOf(raw, String(name), String(sql)));
  } finally {
    raw.close();
  }
}

function tableOf(raw: DatabaseSync, name: string, sql: string): Table {
  const infos = raw.prepare('SELECT name, type, "notnull" AS required, pk FROM pragma_table_info(?) ORDER BY cid').all(name) as unknown as {
    name: string;
    type: string;
    required: number;
    pk: number;
  }[];
  const columns = infos.map(({ name: column, type, required, pk }) => {
    const known = TYPES[type.toLowerCase()];
    if (known === undefined) throw new Error(`column ${name}.${column} has the type ${type}, which cannot be copied`);
    return { name: column, type: known, nullable: required === 0 && pk === 0 };
  });
  const key = infos.filter(({ pk }) => pk > 0).sort((a, b) => a.pk - b.pk);
  return {
    name,
    columns,
    key: key.map((column) => column.name),
    numbered: /\bautoincrement\b/i.test(sql) ? key[0]?.name : undefined,
  };
}

import {
  type ColumnDefinitionNode,
  type DataTypeNode,
  DummyDriver,
  GeneratedNode,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
} from 'kysely';
import { compilerFor } from './query.ts';

/** How PostgreSQL names what migrations say in SQLite's words; all whole numbers have 64 bits, as there. */
const TYPES: Readonly<Record<string, string>> = { integer: 'bigint', blob: 'bytea', text: 'text collate "C"' };

/**
 * The one place where the dialects differ. Texts are compared byte by byte, as SQLite does, whatever the collation of the
 * database: orders, ranges and keyset pages then agree with it.
 */
class Compiler extends PostgresQueryCompiler {
  #isColumn = false;

  protected override visitColumnDefinition(node: ColumnDefinitionNode): void {
    this.#isColumn = true;
    const generated = GeneratedNode.create({ byDefault: true, identity: true });
    super.visitColumnDefinition(node.autoIncrement ? { ...node, autoIncrement: false, generated } : node);
    this.#isColumn = false;
  }

  protected override visitDataType(node: DataTypeNode): void {
    const known = this.#isColumn ? TYPES[node.dataType] : undefined;
    if (known === undefined) super.visitDataType(node);
    else this.append(known);
  }
}

/** Builds and compiles statements; never executes any. */
export const postgresCompiler = new Kysely<never>({
  dialect: {
    createAdapter: () => new PostgresAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: (db) => new PostgresIntrospector(db),
    createQueryCompiler: () => new Compiler(),
  },
});

export const compilePostgres = compilerFor(postgresCompiler);

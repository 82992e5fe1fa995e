/** An object of a document that somebody else wrote: what is in it may be anything. */
export type Fields = Readonly<Record<string, unknown>>;

/** The object that a value is; undefined for all else, lists too. */
export function fieldsOf(value: unknown): Fields | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : undefined;
}

/** The list that a value is; empty for all else. */
export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

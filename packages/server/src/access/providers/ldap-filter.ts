/**
 * Whatever could be read as part of a filter, and control characters, as RFC 4515, section 3, says. Letters beyond ASCII stay: the
 * library reads their escaped bytes one by one, and so as other letters.
 */
export function escapeFilterValue(value: string): string {
  return Array.from(value, (letter) => {
    const code = letter.codePointAt(0) ?? 0;
    return code < 0x20 || code === 0x7f || '*()\\'.includes(letter) ? `\\${code.toString(16).padStart(2, '0')}` : letter;
  }).join('');
}

/** A filter with the values in place of `{user}` and `{dn}`. */
export function fillFilter(template: string, values: { readonly user?: string; readonly dn?: string }): string {
  return template.replaceAll(/\{(user|dn)\}/g, (_, name: 'user' | 'dn') => escapeFilterValue(values[name] ?? ''));
}

/** Rejects with a TypeError for a template that is no filter, or does not ask for what it must. */
export async function checkFilter(template: string, known: readonly string[], needed: string): Promise<void> {
  const named = [...template.matchAll(/\{([^}]*)\}/g)].map(([, name]) => name ?? '');
  const unknown = named.find((name) => !known.includes(name));
  if (unknown !== undefined) throw new TypeError(`a filter knows no {${unknown}}`);
  if (!named.includes(needed)) throw new TypeError(`a filter must ask for {${needed}}`);
  const { FilterParser } = await import('ldapts');
  try {
    FilterParser.parseString(fillFilter(template, { user: 'a', dn: 'cn=a' }));
  } catch (cause) {
    throw new TypeError(`${template} is no filter (RFC 4515)`, { cause });
  }
}

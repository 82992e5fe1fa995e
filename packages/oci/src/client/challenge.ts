/** What a registry asks for (RFC 9110, section 11.6.1). */
export interface Challenge {
  readonly scheme: 'basic' | 'bearer';
  readonly parameters: ReadonlyMap<string, string>;
}

const PARAMETER = /\s*([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))\s*(?:,|$)/y;

/** Reads a `WWW-Authenticate` header; undefined where it asks for neither Basic nor Bearer. Of several Bearer counts. */
export function parseChallenge(header: string): Challenge | undefined {
  if (header.length > 8192) return undefined;
  const bearer = /(?:^|,)\s*bearer\s+/i.exec(header);
  const found = bearer ?? /(?:^|,)\s*basic(?:\s+|$)/i.exec(header);
  if (!found) return undefined;
  const parameters = new Map<string, string>();
  PARAMETER.lastIndex = found.index + found[0].length;
  for (let match = PARAMETER.exec(header); match; match = PARAMETER.exec(header)) {
    const [, name = '', quoted, plain = ''] = match;
    parameters.set(name.toLowerCase(), quoted?.replace(/\\(.)/g, '$1') ?? plain);
  }
  return { scheme: bearer ? 'bearer' : 'basic', parameters };
}

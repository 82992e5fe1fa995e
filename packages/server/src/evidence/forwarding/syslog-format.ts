import type { AuditLine } from './sink.ts';

export interface SyslogOptions {
  readonly facility: number;
  readonly hostname: string;
  readonly enterprise: number;
  /** Of a whole message. */
  readonly maxBytes: number;
}

/** Severities of RFC 5424, table 2. */
const SEVERITY = { success: 6, denied: 4, failure: 3 } as const;

/** The parts of a record that the header and the structured data show. */
interface Shown {
  readonly action?: string;
  readonly outcome?: keyof typeof SEVERITY;
  readonly actor?: { readonly kind?: string; readonly name?: string };
  readonly origin?: { readonly client?: string; readonly requestId?: string } | null;
  readonly resource?: Readonly<Record<string, unknown>>;
}

/**
 * A record as a syslog message (RFC 5424): what is asked for most as structured data, and the whole record as JSON, in
 * visible ASCII. No character of a record can end a message, a line or a parameter.
 */
export function syslogMessage(line: AuditLine, { facility, hostname, enterprise, maxBytes }: SyslogOptions): Buffer {
  const record = JSON.parse(line.body) as Shown & { before?: unknown; after?: unknown };
  const { action = '-', outcome = 'success', actor, origin, resource = {} } = record;
  const parameters = {
    seq: String(line.seq),
    outcome,
    actor: `${actor?.kind ?? '-'}:${actor?.name ?? '-'}`,
    client: origin?.client,
    requestId: origin?.requestId,
    ...Object.fromEntries((['type', 'project', 'repository', 'name', 'tag', 'digest'] as const).map((key) => [key, resource[key]])),
    hash: line.hash,
  };
  const data = Object.entries(parameters)
    .filter(([, value]) => typeof value === 'string')
    .map(([key, value]) => ` ${key}="${parameterValue(value as string)}"`)
    .join('');
  const priority = facility * 8 + SEVERITY[outcome];
  const head = `<${priority}>1 ${new Date(line.at).toISOString()} ${field(hostname, 255)} entrepot - ${field(action, 32)}`;
  const start = `${head} [entrepot@${enterprise}${data}] `;
  const whole = Buffer.from(start + ascii(`${line.body.slice(0, -1)},"hash":${JSON.stringify(line.hash)}}`));
  if (whole.length <= maxBytes) return whole;
  const { before, after, ...rest } = record;
  const omitted = [...(before === undefined ? [] : ['before']), ...(after === undefined ? [] : ['after'])];
  return Buffer.from(start + ascii(JSON.stringify({ ...rest, hash: line.hash, omitted })));
}

/** Octet counting (RFC 6587 section 3.4.1, RFC 5425 section 4.3): the length says where a message ends, nothing in it does. */
export function syslogFrame(message: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${message.length} `), message]);
}

/** A header field: visible ASCII without space, `-` where nothing is left (section 6). */
function field(text: string, most: number): string {
  return text.replace(/[^\x21-\x7e]/g, '?').slice(0, most) || '-';
}

/** Section 6.3.3: `"`, `\` and `]` are escaped. Control characters, and what other programs take for line ends, are written out. */
function parameterValue(text: string): string {
  return text
    .toWellFormed()
    .replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`)
    .replace(/["\\\]]/g, '\\$&');
}

/** JSON in visible ASCII: outside of its strings there is nothing else, and inside them everything can be escaped. */
function ascii(json: string): string {
  return json.replace(/[^\x20-\x7e]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

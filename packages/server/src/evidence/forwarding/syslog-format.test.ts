import canonicalize from 'canonicalize';
import { assert, property, record, string } from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { AuditLine } from './sink.ts';
import { syslogFrame, syslogMessage } from './syslog-format.ts';

const OPTIONS = { facility: 13, hostname: 'registry-1', enterprise: 32_473, maxBytes: 8192 };

function lineOf(entry: object, seq = 7): AuditLine {
  return { seq, at: Date.UTC(2026, 0, 2, 3, 4, 5, 6), body: canonicalize({ seq, ...entry }) ?? '', hash: 'ab'.repeat(32) };
}

const ENTRY = {
  actor: { kind: 'user', id: 1, name: 'alice', credential: null },
  origin: { client: '192.0.2.1', userAgent: 'curl', requestId: 'r-1' },
  action: 'member.create',
  resource: { type: 'member', project: 'demo', name: 'bob' },
  outcome: 'success',
};

/** Reads a message by the grammar of RFC 5424 section 6, and nothing else. */
function parse(message: Buffer) {
  const match = /^<(\d{1,3})>1 (\S+) ([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32}) \[([^ =\]"]{1,32})/.exec(message.toString());
  if (!match) throw new Error(`not a message: ${message}`);
  const [head, priority, timestamp, hostname, app, process, id, element] = match;
  let rest = message.toString().slice(head.length);
  const data: Record<string, string> = {};
  for (
    let next = /^ ([^ =\]"]{1,32})="((?:[^"\\\]]|\\["\\\]])*)"/.exec(rest);
    next;
    next = /^ ([^ =\]"]{1,32})="((?:[^"\\\]]|\\["\\\]])*)"/.exec(rest)
  ) {
    data[next[1] ?? ''] = (next[2] ?? '').replace(/\\(["\\\]])/g, '$1');
    rest = rest.slice(next[0].length);
  }
  if (!rest.startsWith('] ')) throw new Error(`the structured data does not end: ${rest}`);
  return { priority: Number(priority), timestamp, hostname, app, process, id, element, data, text: rest.slice(2) };
}

describe('syslog messages', () => {
  it('have the parts of RFC 5424, and the whole record as JSON', () => {
    const parsed = parse(syslogMessage(lineOf(ENTRY), OPTIONS));
    expect(parsed).toMatchObject({
      ...{ priority: 13 * 8 + 6, timestamp: '2026-01-02T03:04:05.006Z', hostname: 'registry-1', app: 'entrepot' },
      ...{ process: '-', id: 'member.create', element: 'entrepot@32473' },
      data: { seq: '7', outcome: 'success', actor: 'user:alice', client: '192.0.2.1', requestId: 'r-1', project: 'demo', name: 'bob' },
    });
    expect(JSON.parse(parsed.text)).toEqual({ seq: 7, ...ENTRY, hash: 'ab'.repeat(32) });
    const denied = parse(syslogMessage(lineOf({ ...ENTRY, outcome: 'denied', origin: null }), OPTIONS));
    expect(denied.priority).toBe(13 * 8 + 4);
    expect(denied.data).not.toHaveProperty('client');
  });

  it('escape what would end a parameter', () => {
    const name = 'a"] [x@1 y="\\';
    const { data } = parse(syslogMessage(lineOf({ ...ENTRY, resource: { type: 'member', name } }), OPTIONS));
    expect(data.name).toBe(name);
  });

  it('frames count bytes', () => {
    expect(syslogFrame(Buffer.from('<1>1 é')).toString()).toBe('7 <1>1 é');
  });

  it('E2 whatever a record holds, it is one message of one line, and reads back as it was', () => {
    const text = string({ unit: 'binary', maxLength: 60 });
    assert(
      property(
        record({ actor: text, name: text, action: text, hostname: text, before: text }),
        ({ actor, name, action, hostname, before }) => {
          const entry = { ...ENTRY, action, actor: { kind: 'user', id: 1, name: actor }, resource: { type: 'member', name }, before };
          const message = syslogMessage(lineOf(entry), { ...OPTIONS, hostname });
          expect(message.toString()).not.toMatch(/[\p{Cc}\u2028\u2029]/u);
          const parsed = parse(message);
          expect(JSON.parse(parsed.text)).toEqual({ seq: 7, ...entry, hash: 'ab'.repeat(32) });
          expect(parsed.text).toMatch(/^[ -~]*$/);
          expect(Object.keys(parsed.data)).toEqual(['seq', 'outcome', 'actor', 'client', 'requestId', 'type', 'name', 'hash']);
          if (!/[\p{Cc}\p{Cf}\u2028\u2029]/u.test(name)) expect(parsed.data.name).toBe(name);
        },
      ),
      {
        numRuns: 500,
        examples: [[{ actor: 'a\n<1>1 forged', name: '\u2028\x00\r\n', action: 'x\ny', hostname: 'h\n', before: '\x7f\u0085' }]],
      },
    );
  });

  it('too long for the receiver come without what was before and after, and say so', () => {
    const long = lineOf({ ...ENTRY, before: { a: 'x'.repeat(5000) }, after: { a: 'y'.repeat(5000) } });
    const message = syslogMessage(long, OPTIONS);
    expect(message.length).toBeLessThan(2048);
    expect(JSON.parse(parse(message).text)).toEqual({ seq: 7, ...ENTRY, hash: 'ab'.repeat(32), omitted: ['before', 'after'] });
  });
});

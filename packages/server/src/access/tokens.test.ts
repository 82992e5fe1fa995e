import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { SignJWT } from 'jose';
import { describe, expect, it } from 'vitest';
import type { Grant } from './scope.ts';
import { createTokenIssuer, type TokenIssuer } from './tokens.ts';

const START = Date.UTC(2026, 0, 1);
const key = randomBytes(32);
let now = START;
const issuerWith = (secret: Uint8Array): TokenIssuer =>
  createTokenIssuer({ key: secret, clock: { now: () => now }, accessSeconds: 300, refreshSeconds: 86_400 });
/** Each call an issuer that has verified nothing yet. */
const fresh = () => issuerWith(key);
const seconds = () => Math.floor(now / 1000);

const grant: fc.Arbitrary<Grant> = fc.record({
  type: fc.constantFrom('repository', 'registry'),
  name: fc.string({ maxLength: 20 }),
  actions: fc.array(fc.constantFrom('pull', 'push', 'delete', '*'), { maxLength: 3 }),
});
const claims = fc.record({
  subject: fc.option(
    fc.record({
      kind: fc.constantFrom('user', 'robot'),
      id: fc.nat(),
      generation: fc.nat(),
      credential: fc.option(fc.stringMatching(/^[a-z0-9:]{1,20}$/)),
    }),
    { nil: undefined },
  ),
  access: fc.array(grant, { maxLength: 4 }),
  refused: fc.array(grant, { maxLength: 2 }),
});
const pull: Grant[] = [{ type: 'repository', name: 'demo/app', actions: ['pull'] }];
const someone = { kind: 'user', id: 7, generation: 3, credential: null } as const;
const someClaims = { subject: someone, access: pull, refused: [] };

describe('tokens', () => {
  it('say after verification what they were issued for', async () => {
    now = START;
    await fc.assert(
      fc.asyncProperty(claims, async (given) => {
        const issuer = fresh();
        const { token, issuedAt, lifetime } = await issuer.access(given);
        const wanted = { ...given, expires: seconds() + 300 };
        expect({ issuedAt, lifetime }).toEqual({ issuedAt: seconds(), lifetime: 300 });
        expect(await issuer.verifyAccess(token)).toEqual(wanted);
        expect(await issuer.verifyAccess(token)).toEqual(wanted); // from memory
        expect(await fresh().verifyAccess(token)).toEqual(wanted);
        if (given.subject) expect(await fresh().verifyRefresh(await issuer.refresh(given.subject))).toEqual(given.subject);
      }),
      { numRuns: 50 },
    );
  });

  it('end at their time, whether or not they were verified before', async () => {
    now = START + 999;
    const issuer = fresh();
    const { token } = await issuer.access(someClaims);
    const refresh = await issuer.refresh(someone);
    expect(await issuer.verifyAccess(token)).toBeDefined();
    now = START + 300_000 - 1;
    expect(await issuer.verifyAccess(token)).toBeDefined();
    expect(await fresh().verifyAccess(token)).toBeDefined();
    now = START + 300_000;
    expect(await issuer.verifyAccess(token)).toBeUndefined();
    expect(await fresh().verifyAccess(token)).toBeUndefined();
    now = START + 86_400_000 - 1;
    expect(await issuer.verifyRefresh(refresh)).toBeDefined();
    now = START + 86_400_000;
    expect(await issuer.verifyRefresh(refresh)).toBeUndefined();
  });

  it('are void with any one of their characters changed', async () => {
    now = START;
    const issuer = fresh();
    const { token } = await issuer.access(someClaims);
    const refresh = await issuer.refresh(someone);
    const alphabet = 'ABCXYZabcxyz0189-_.=+/ ';
    const read = (text: string) => text.split('.').map((part) => Buffer.from(part, 'base64url').toString('hex'));
    let tried = 0;
    for (const [whole, verify] of [
      [token, (text: string) => fresh().verifyAccess(text)],
      [refresh, (text: string) => fresh().verifyRefresh(text)],
    ] as const) {
      for (let at = 0; at < whole.length; at++) {
        const other = alphabet[(at * 7) % alphabet.length] ?? 'A';
        const changed = whole.slice(0, at) + (other === whole[at] ? 'B' : other) + whole.slice(at + 1);
        if (String(read(changed)) === String(read(whole))) continue; // bits beyond the last byte say nothing
        expect(await verify(changed), `${at} of ${whole}`).toBeUndefined();
        tried++;
      }
    }
    expect(tried).toBeGreaterThan(300);
  });

  it('cannot be read as each other', async () => {
    now = START;
    const issuer = fresh();
    expect(await issuer.verifyAccess(await issuer.refresh(someone))).toBeUndefined();
    expect(await issuer.verifyRefresh((await issuer.access(someClaims)).token)).toBeUndefined();
  });

  it('are void under another key', async () => {
    now = START;
    const { token } = await issuerWith(randomBytes(32)).access(someClaims);
    expect(await fresh().verifyAccess(token)).toBeUndefined();
  });

  describe('made with the right key but not as we make them', () => {
    const header = { alg: 'HS256', typ: 'access+jwt' };
    const payload = { iss: 'entrepot', aud: 'access', sub: 'user:7', gen: 3, access: pull };
    const times = () => ({ iat: seconds(), exp: seconds() + 300 });
    const without = (value: object) => Object.fromEntries(Object.entries(value).filter(([, part]) => part !== undefined));
    const sign = (head: object, body: object) =>
      new SignJWT(without({ ...payload, ...times(), ...body }))
        .setProtectedHeader(without({ ...header, ...head }) as { alg: string })
        .sign(key, { crit: { hostile: true } });

    it('are accepted in the one form that is ours', async () => {
      now = START;
      expect(await fresh().verifyAccess(await sign({}, {}))).toMatchObject({ subject: someone });
    });

    it.each<[string, object, object]>([
      ['another algorithm of the same key', { alg: 'HS512' }, {}],
      ['a longer hash', { alg: 'HS384' }, {}],
      ['the type of refresh tokens', { typ: 'refresh+jwt' }, {}],
      ['the general type', { typ: 'JWT' }, {}],
      ['no type', { typ: undefined }, {}],
      ['an unknown critical header', { crit: ['hostile'], hostile: true }, {}],
      ['the audience of refresh tokens', {}, { aud: 'refresh' }],
      ['a foreign audience', {}, { aud: 'https://elsewhere' }],
      ['no audience', {}, { aud: undefined }],
      ['a foreign issuer', {}, { iss: 'elsewhere' }],
      ['no issuer', {}, { iss: undefined }],
      ['no end', {}, { exp: undefined }],
      ['an end that is text', {}, { exp: '9999999999' }],
      ['an end in the past', {}, { exp: START / 1000 - 1 }],
      ['no beginning', {}, { iat: undefined }],
      ['a beginning later than any clock of ours says', {}, { iat: START / 1000 + 61, exp: START / 1000 + 300 }],
      ['a time before which it does not count', {}, { nbf: START / 1000 + 100 }],
      ['no subject', {}, { sub: undefined }],
    ])('are void with %s', async (_, head, body) => {
      now = START;
      const token = await sign(head, body);
      expect(await fresh().verifyAccess(token)).toBeUndefined();
    });

    it('are void without a signature', async () => {
      now = START;
      const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
      const body = part({ ...payload, ...times() });
      const [, , signature = ''] = (await fresh().access(someClaims)).token.split('.');
      for (const alg of ['none', 'None', 'NONE', '', undefined, 'HS256', 'RS256', 'dir']) {
        for (const end of ['', signature, 'AA']) {
          expect(await fresh().verifyAccess(`${part({ ...header, alg })}.${body}.${end}`)).toBeUndefined();
        }
        expect(await fresh().verifyAccess(`${part({ ...header, alg })}.${body}`)).toBeUndefined();
      }
    });

    it('are void with a key of their own in the header', async () => {
      now = START;
      const own = randomBytes(32);
      const jwk = { kty: 'oct', k: own.toString('base64url') };
      const token = await new SignJWT({ ...payload, ...times() })
        .setProtectedHeader({ ...header, jwk, jku: 'http://127.0.0.1/keys', kid: '../../etc/passwd' } as never)
        .sign(own);
      expect(await fresh().verifyAccess(token)).toBeUndefined();
    });
  });

  it('are void, and throw nothing, whatever the text', async () => {
    const text = fc.oneof(
      fc.string(),
      fc.array(fc.base64String({ maxLength: 30 }), { maxLength: 5 }).map((parts) => parts.join('.')),
    );
    await fc.assert(
      fc.asyncProperty(text, async (token) => {
        expect(await fresh().verifyAccess(token)).toBeUndefined();
        expect(await fresh().verifyRefresh(token)).toBeUndefined();
      }),
    );
    expect(await fresh().verifyAccess('a'.repeat(1_000_000))).toBeUndefined();
    expect(await fresh().verifyAccess(`${'e30.'.repeat(100_000)}`)).toBeUndefined();
  });
});
